//! PyTorch's files: the zip archive that `torch.save` has written since 1.6, and the run of pickles
//! that it wrote before. Both hold a pickle that describes tensors, and beside it the numbers.

mod archive;
mod legacy;
mod state;
mod tensor;

pub use archive::read as read_archive;
pub use legacy::{is_legacy, read as read_legacy};

use crate::WeightsFile;
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

/// The tensors of the pickle's state dictionary, or of the one that `key` names; the file has
/// `length` bytes.
fn collect(
    loaded: &Loaded,
    storages: &mut impl Storages,
    length: u64,
    key: Option<&str>,
) -> Result<WeightsFile, WeightsError> {
    let found = state::find(loaded, key)?;
    tensor::check(&found.tensors, loaded, length)?;
    let tensors = tensor::gather(&found.tensors, loaded, storages)?;
    let order = found.order.into_iter().filter(|name| tensors.contains_key(name)).collect();
    Ok(WeightsFile { tensors, order, unread: found.unread, others: found.others, ..WeightsFile::default() })
}
