//! PyTorch's files: the zip archive that `torch.save` has written since 1.6, and the run of pickles
//! that it wrote before. Both hold a pickle that describes tensors, and beside it the numbers.

mod archive;
mod legacy;
mod state;
mod tensor;

pub use archive::read as read_archive;
pub use legacy::{is_legacy, read as read_legacy};

use crate::Tensors;
use crate::error::WeightsError;
use crate::pickle::{Loaded, StorageRef};

/// Where the numbers lie.
trait Storages {
    /// All numbers of a storage, little-endian.
    ///
    /// # Errors
    /// The file holds no such storage, or not of that length.
    fn bytes(&mut self, storage: &StorageRef) -> Result<Vec<u8>, WeightsError>;
}

/// The tensors of the pickle's state dictionary, that under `key` where it is given; the file has
/// `length` bytes.
fn collect(
    loaded: &Loaded,
    storages: &mut impl Storages,
    length: u64,
    key: Option<&str>,
) -> Result<Tensors, WeightsError> {
    let named = state::tensors(loaded, key)?;
    tensor::check(&named, loaded, length)?;
    tensor::gather(&named, loaded, storages)
}
