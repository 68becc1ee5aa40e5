//! Strided tensors over storages, copied out row by row.

use super::Storages;
use crate::element::count;
use crate::error::WeightsError;
use crate::pickle::{Loaded, StorageKind, StorageRef, TensorRef};
use crate::{LoadedTensor, Tensors};
use std::collections::BTreeMap;

/// Every tensor fits its storage, and all together do not hold more numbers than the file has
/// bytes: storages may be shared by tied weights, but not by so many tensors that a small file
/// fills the memory.
///
/// # Errors
/// The first tensor that does not.
pub fn check(named: &BTreeMap<String, &TensorRef>, loaded: &Loaded, length: u64) -> Result<(), WeightsError> {
    let mut room = length;
    for (name, tensor) in named {
        let wrong = |problem: String| WeightsError::Tensor { name: name.clone(), problem };
        let storage = &loaded.storages[tensor.storage];
        // Strides of 0, of what was expanded, may make more of a storage than it holds.
        let numbers = count(&tensor.shape)
            .ok_or_else(|| wrong(format!("has the shape {:?}, which cannot be counted", tensor.shape)))?;
        let end = if numbers == 0 { Some(0) } else { reach(tensor).and_then(|last| last.checked_add(1)) };
        if end.is_none_or(|end| end > storage.len) {
            return Err(wrong(format!(
                "reaches beyond its storage of {} numbers: offset {}, shape {:?}, strides {:?}",
                storage.len, tensor.offset, tensor.shape, tensor.strides
            )));
        }
        room = room
            .checked_sub(numbers as u64)
            .ok_or_else(|| wrong("holds, with those before it, more numbers than the file has bytes".into()))?;
    }
    Ok(())
}

/// The index of the last number of a tensor that is not empty.
fn reach(tensor: &TensorRef) -> Option<usize> {
    tensor
        .shape
        .iter()
        .zip(&tensor.strides)
        .try_fold(tensor.offset, |last, (size, stride)| last.checked_add((size - 1).checked_mul(*stride)?))
}

/// Reads the storages one after another and copies the tensors out. The tensors have passed
/// [`check`].
///
/// # Errors
/// A storage that the file does not hold.
pub fn gather(
    named: &BTreeMap<String, &TensorRef>,
    loaded: &Loaded,
    storages: &mut impl Storages,
) -> Result<Tensors, WeightsError> {
    // Tied weights name one storage several times.
    let mut by_storage: BTreeMap<&StorageRef, Vec<(&str, &TensorRef)>> = BTreeMap::new();
    for (name, tensor) in named {
        by_storage.entry(&loaded.storages[tensor.storage]).or_default().push((name, tensor));
    }
    let mut tensors = Tensors::new();
    for (storage, sharing) in by_storage {
        let StorageKind::Of(element) = storage.kind else { continue };
        let numbers = element.numbers(&storages.bytes(storage)?);
        for (name, tensor) in sharing {
            let values = copy(tensor, &numbers);
            tensors.insert(name.into(), LoadedTensor { shape: tensor.shape.clone(), values, element });
        }
    }
    Ok(tensors)
}

fn copy(tensor: &TensorRef, storage: &[f32]) -> Vec<f32> {
    if tensor.shape.contains(&0) {
        return Vec::new();
    }
    // The innermost dimensions that lie without gaps are copied as one run.
    let mut run = 1;
    let mut outer = tensor.shape.len();
    while outer > 0 && (tensor.strides[outer - 1] == run || tensor.shape[outer - 1] == 1) {
        run *= tensor.shape[outer - 1];
        outer -= 1;
    }
    let mut values = Vec::new();
    let mut index = vec![0; outer];
    loop {
        let start = index.iter().zip(&tensor.strides).fold(tensor.offset, |at, (index, stride)| at + index * stride);
        values.extend_from_slice(storage.get(start..start + run).unwrap_or_default());
        let Some(next) = (0..outer).rev().find(|axis| index[*axis] + 1 < tensor.shape[*axis]) else { break };
        index[next] += 1;
        index[next + 1..].fill(0);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_in_any_order() {
        let tensor = |offset, shape: &[usize], strides: &[usize]| TensorRef {
            storage: 0,
            offset,
            shape: shape.into(),
            strides: strides.into(),
            of_new_type: false,
        };
        let copied = |tensor: TensorRef| copy(&tensor, &(0..24u8).map(f32::from).collect::<Vec<f32>>());
        assert_eq!(copied(tensor(1, &[2, 3], &[3, 1])), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        // Transposed, a column, a scalar, channels last.
        assert_eq!(copied(tensor(0, &[3, 2], &[1, 3])), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(copied(tensor(2, &[3], &[4])), [2.0, 6.0, 10.0]);
        assert_eq!(copied(tensor(5, &[], &[])), [5.0]);
        assert_eq!(copied(tensor(0, &[1, 2, 2, 2], &[8, 1, 4, 2])), [0.0, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0, 7.0]);
        assert_eq!(copied(tensor(0, &[2, 0], &[1, 1])), [0.0; 0]);
    }
}
