//! Weights that a file holds in parts. PyTorch's pruning keeps each as `NAME_orig` and `NAME_mask`,
//! of which the network computes the product; one without the other is left as it is, and is no
//! weight.

use crate::{LoadedTensor, WeightsFile};

const WHOLE: &str = "_orig";
const MASK: &str = "_mask";

/// Puts the product of each pair in its place.
pub fn resolve(file: &mut WeightsFile) {
    let pairs: Vec<String> = file
        .tensors
        .iter()
        .filter_map(|(name, whole)| {
            let name = name.strip_suffix(WHOLE)?;
            let mask = file.tensors.get(&format!("{name}{MASK}"))?;
            (fits(whole, mask) && !file.tensors.contains_key(name)).then(|| name.to_owned())
        })
        .collect();
    for name in pairs {
        let (whole, mask) = (format!("{name}{WHOLE}"), format!("{name}{MASK}"));
        let (Some(mut product), Some(of)) = (file.tensors.remove(&whole), file.tensors.remove(&mask)) else { continue };
        product.values.iter_mut().zip(&of.values).for_each(|(value, mask)| *value *= mask);
        file.order.retain(|other| *other != mask);
        file.order.iter_mut().filter(|other| **other == whole).for_each(|other| other.clone_from(&name));
        file.tensors.insert(name, product);
    }
}

/// Of one shape, and a mask of zeros and ones.
fn fits(whole: &LoadedTensor, mask: &LoadedTensor) -> bool {
    whole.element.is_float() && whole.shape == mask.shape && mask.values.iter().all(|value| [0.0, 1.0].contains(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Element;

    fn file(tensors: &[(&str, &[f32])]) -> WeightsFile {
        let tensor =
            |values: &[f32]| LoadedTensor { shape: vec![values.len()], values: values.to_vec(), element: Element::F32 };
        WeightsFile {
            tensors: tensors.iter().map(|(name, values)| ((*name).into(), tensor(values))).collect(),
            order: tensors.iter().map(|(name, _)| (*name).into()).collect(),
            ..WeightsFile::default()
        }
    }

    #[test]
    fn a_pruned_weight_is_the_product() {
        let mut pruned =
            file(&[("c.weight_orig", &[1.0, 2.0, 3.0]), ("c.weight_mask", &[1.0, 0.0, 1.0]), ("d", &[4.0])]);
        resolve(&mut pruned);
        assert_eq!(pruned, file(&[("c.weight", &[1.0, 0.0, 3.0]), ("d", &[4.0])]));
    }

    #[test]
    fn what_is_no_pair_stays() {
        for tensors in [
            &[("c.weight_orig", &[1.0, 2.0][..])][..],
            &[("c.weight_orig", &[1.0, 2.0]), ("c.weight_mask", &[1.0])],
            &[("c.weight_orig", &[1.0, 2.0]), ("c.weight_mask", &[1.0, 0.5])],
            &[("c.weight", &[1.0]), ("c.weight_mask", &[1.0]), ("c.weight_orig", &[1.0])],
        ] {
            let mut left = file(tensors);
            resolve(&mut left);
            assert_eq!(left, file(tensors));
        }
    }
}
