//! Weights that `torch.nn.utils.prune` keeps in two parts, `weight_orig` and `weight_mask`: the
//! network computes with their product.

use crate::Tensors;

/// Puts the product in the place of each pair of one shape.
pub fn multiply(tensors: &mut Tensors) {
    let stems: Vec<String> = tensors.keys().filter_map(|name| name.strip_suffix("_orig")).map(str::to_owned).collect();
    for stem in stems {
        let (orig, mask) = (format!("{stem}_orig"), format!("{stem}_mask"));
        let fits = !tensors.contains_key(&stem)
            && tensors.get(&orig).zip(tensors.get(&mask)).is_some_and(|(orig, mask)| {
                orig.shape == mask.shape && orig.values.len() == mask.values.len() && orig.element.is_float()
            });
        if !fits {
            continue;
        }
        if let (Some(mut product), Some(mask)) = (tensors.remove(&orig), tensors.remove(&mask)) {
            product.values.iter_mut().zip(&mask.values).for_each(|(value, mask)| *value *= mask);
            tensors.insert(stem, product);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Element, LoadedTensor};

    fn tensor(values: &[f32], element: Element) -> LoadedTensor {
        LoadedTensor { shape: vec![values.len()], values: values.to_vec(), element }
    }

    #[test]
    fn pairs_become_their_product_and_nothing_else_changes() {
        let mut tensors = Tensors::from([
            ("a.weight_orig".to_owned(), tensor(&[1.5, 2.0, -3.0], Element::F32)),
            ("a.weight_mask".to_owned(), tensor(&[1.0, 0.0, 1.0], Element::Bool)),
            ("b.weight_orig".to_owned(), tensor(&[1.0], Element::F32)),
            ("c.weight_orig".to_owned(), tensor(&[1.0], Element::F32)),
            ("c.weight_mask".to_owned(), tensor(&[1.0, 0.0], Element::F32)),
        ]);
        multiply(&mut tensors);
        assert_eq!(tensors["a.weight"].values, [1.5, 0.0, -3.0]);
        let left: Vec<&str> = tensors.keys().map(String::as_str).collect();
        assert_eq!(left, ["a.weight", "b.weight_orig", "c.weight_mask", "c.weight_orig"]);
    }
}
