//! Whether ONNX Runtime's default kernels may saturate on a file. Without VNNI instructions, x86-64
//! processors multiply uint8 values with int8 weights two at a time and add both products in 16
//! bits, which end at 32,767: 2 · 255 · 64 fits, 2 · 255 · 65 does not.

use super::proto::{DataType, Graph, Model, Tensor};

/// The largest int8 weight, either side of zero, of which two products with uint8 values fit into
/// 16 bits.
const LARGEST_SAFE: u8 = 64;

/// Whether the file holds int8 weights with which sums in 16 bits may saturate. Weights that cannot
/// be read here (stored in another file, or in the list of integers) count as such.
pub fn may_saturate(model: &Model) -> bool {
    model.graph.as_ref().is_some_and(any)
}

fn any(graph: &Graph) -> bool {
    let constants = graph.node.iter().flat_map(|node| &node.attribute).filter_map(|attribute| attribute.t.as_ref());
    graph.initializer.iter().chain(constants).any(is_too_wide)
}

fn is_too_wide(tensor: &Tensor) -> bool {
    // Zero points are scalars or lists.
    if tensor.data_type() != DataType::Int8 || tensor.dims.len() < 2 {
        return false;
    }
    match &tensor.raw_data {
        Some(bytes) => bytes.iter().any(|byte| byte.cast_signed().unsigned_abs() > LARGEST_SAFE),
        None => tensor.dims.iter().all(|size| *size != 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::proto::{Attribute, Node};

    fn weights(codes: &[i8]) -> Tensor {
        let raw_data = codes.iter().map(|code| code.cast_unsigned()).collect();
        Tensor {
            dims: vec![1, codes.len() as i64],
            data_type: Some(DataType::Int8 as i32),
            name: Some("weight".into()),
            raw_data: Some(raw_data),
        }
    }

    fn with(tensor: Tensor) -> Model {
        Model { graph: Some(Graph { initializer: vec![tensor], ..Graph::default() }), ..Model::default() }
    }

    #[test]
    fn the_largest_weight_that_is_safe() {
        // 16 bits end at 32,767, and the largest uint8 value is 255.
        assert!(2 * 255 * i32::from(LARGEST_SAFE) <= i32::from(i16::MAX));
        assert!(2 * 255 * (i32::from(LARGEST_SAFE) + 1) > i32::from(i16::MAX));
        for (codes, too_wide) in
            [(&[64, -64, 0][..], false), (&[65, 0, 0], true), (&[0, 0, -65], true), (&[i8::MIN], true), (&[], false)]
        {
            assert_eq!(may_saturate(&with(weights(codes))), too_wide, "{codes:?}");
        }
    }

    #[test]
    fn only_weights_of_int8_count() {
        assert!(!may_saturate(&Model::default()));
        let uint8 = Tensor { data_type: Some(DataType::Uint8 as i32), ..weights(&[127]) };
        assert!(!may_saturate(&with(uint8)), "uint8 times uint8 is exact everywhere");
        assert!(!may_saturate(&with(Tensor { dims: vec![1], ..weights(&[127]) })), "a zero point");
    }

    #[test]
    fn weights_of_other_programs() {
        assert!(may_saturate(&with(Tensor { raw_data: None, ..weights(&[1]) })), "whatever they are");
        let attribute = Attribute { name: Some("value".into()), t: Some(weights(&[100])), ..Attribute::default() };
        let node = Node { op_type: Some("Constant".into()), attribute: vec![attribute], ..Node::default() };
        let graph = Graph { node: vec![node], ..Graph::default() };
        assert!(may_saturate(&Model { graph: Some(graph), ..Model::default() }));
    }
}
