//! One operator as a model of its own: a runtime and the reference compute it on the same input, so
//! that a difference is its own and not inherited from those before it.

use super::model::{Operator, TfliteModel};
use std::collections::BTreeMap;

/// A model of the operator `index` of `model`: its computed inputs are the inputs, in its order and
/// each once; its outputs the outputs; its constants come along.
///
/// # Panics
/// If there is no such operator; those of a model that was read or written have tensors that exist.
pub fn single_operator(model: &TfliteModel, index: usize) -> TfliteModel {
    let operator = &model.operators[index];
    let mut part = TfliteModel { description: format!("operator {index}"), ..TfliteModel::default() };
    let mut moved: BTreeMap<usize, usize> = BTreeMap::new();
    let mut take = |part: &mut TfliteModel, old: usize| {
        *moved.entry(old).or_insert_with(|| {
            part.tensors.push(model.tensors[old].clone());
            part.tensors.len() - 1
        })
    };
    let inputs: Vec<Option<usize>> =
        operator.inputs.iter().map(|input| input.map(|input| take(&mut part, input))).collect();
    for &input in inputs.iter().flatten() {
        if part.tensors[input].data.is_none() && !part.inputs.contains(&input) {
            part.inputs.push(input);
        }
    }
    let outputs: Vec<usize> = operator.outputs.iter().map(|output| take(&mut part, *output)).collect();
    part.outputs.clone_from(&outputs);
    part.operators = vec![Operator { kind: operator.kind.clone(), inputs, outputs }];
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployed::Activation;
    use crate::tflite::model::{DType, Kind, Tensor};
    use crate::tflite::{read, write};

    #[test]
    fn takes_what_the_operator_needs() {
        let tensor = |name: &str, data: Option<Vec<u8>>| Tensor {
            name: name.into(),
            shape: vec![1, 2],
            dtype: DType::Uint8,
            quantization: None,
            data,
        };
        let tensors = vec![
            tensor("input", None),
            tensor("ones", Some(vec![1; 2])),
            tensor("sum", None),
            tensor("twice", None),
            tensor("relu", None),
        ];
        let add = Kind::Add { activation: Activation::None };
        let operator = |kind: &Kind, inputs: &[usize], output| Operator {
            kind: kind.clone(),
            inputs: inputs.iter().copied().map(Some).collect(),
            outputs: vec![output],
        };
        let operators = vec![operator(&add, &[0, 1], 2), operator(&add, &[2, 2], 3), operator(&Kind::Relu, &[3], 4)];
        let model = TfliteModel { tensors, operators, inputs: vec![0], outputs: vec![4], ..TfliteModel::default() };
        let names = |index: usize| {
            let part = single_operator(&model, index);
            let part = read(&write(&part).unwrap()).unwrap();
            let names: Vec<String> = part.tensors.into_iter().map(|tensor| tensor.name).collect();
            (names.join(" "), part.inputs, part.outputs)
        };
        assert_eq!(names(0), ("input ones sum".into(), vec![0], vec![2]));
        assert_eq!(names(1), ("sum twice".into(), vec![0], vec![1]));
        assert_eq!(names(2), ("twice relu".into(), vec![0], vec![1]));
    }
}
