//! What holds for every model that is read or written, so that whoever runs one need not fear it:
//! indices, sizes, the order of execution.

use super::model::{DType, Kind, Operator, Quantization, Tensor, TfliteModel};
use pocketflow::error::{Error, Result};

/// Of one tensor. The largest layer of a known image classifier has 411 MB.
const MAX_TENSOR: usize = 1 << 30;
/// Of all computed tensors; a 224 × 224 classifier has some hundred MB.
const MAX_COMPUTED: usize = 1 << 31;

/// # Errors
/// Names the tensor or operator that is wrong, and how.
pub(super) fn model(model: &TfliteModel) -> Result<()> {
    let mut computed = 0usize;
    for (index, tensor) in model.tensors.iter().enumerate() {
        let fail = |problem: String| Error::failed(format!("tensor {index} `{}` {problem}", tensor.name));
        let bytes = size(tensor).map_err(fail)?;
        match &tensor.data {
            Some(data) if data.len() != bytes => {
                let problem = format!("has {} bytes of data; its shape {:?} needs {bytes}", data.len(), tensor.shape);
                return Err(fail(problem));
            }
            Some(_) => {}
            None => computed = computed.saturating_add(bytes),
        }
        if let Some(quantization) = &tensor.quantization {
            grid(tensor, quantization).map_err(fail)?;
        }
    }
    if computed > MAX_COMPUTED {
        return Err(Error::failed(format!("its values take {computed} bytes, more than {MAX_COMPUTED}")));
    }
    order(model)
}

/// Bytes of a tensor, within bounds.
pub(super) fn size(tensor: &Tensor) -> Result<usize, String> {
    if tensor.shape.contains(&0) {
        return Err(format!("has the shape {:?}, which is empty", tensor.shape));
    }
    let bytes = tensor.shape.iter().try_fold(tensor.dtype.size(), |bytes, size| bytes.checked_mul(*size));
    match bytes {
        Some(bytes) if bytes <= MAX_TENSOR => Ok(bytes),
        _ => Err(format!("has the shape {:?}, more than {MAX_TENSOR} bytes", tensor.shape)),
    }
}

fn grid(tensor: &Tensor, quantization: &Quantization) -> Result<(), String> {
    let Quantization { scales, zero_points, axis, .. } = quantization;
    if scales.is_empty() || scales.len() != zero_points.len() {
        return Err(format!("has {} scales and {} zero points", scales.len(), zero_points.len()));
    }
    if scales.len() > 1 && tensor.shape.get(*axis) != Some(&scales.len()) {
        let count = scales.len();
        return Err(format!("has {count} scales along dimension {axis} of its shape {:?}", tensor.shape));
    }
    if let Some(scale) = scales.iter().find(|scale| !(scale.is_finite() && **scale > 0.0)) {
        return Err(format!("has the scale {scale}"));
    }
    let codes = match tensor.dtype {
        DType::Int8 => i64::from(i8::MIN)..=i64::from(i8::MAX),
        DType::Uint8 => 0..=i64::from(u8::MAX),
        _ => i64::from(i32::MIN)..=i64::from(i32::MAX),
    };
    match zero_points.iter().find(|zero| !codes.contains(zero)) {
        Some(zero) => Err(format!("has the zero point {zero}, which {:?} cannot hold", tensor.dtype)),
        None => Ok(()),
    }
}

/// Every operator reads what is there before it: constants, inputs, outputs of earlier ones;
/// nothing is computed twice.
fn order(model: &TfliteModel) -> Result<()> {
    let count = model.tensors.len();
    let unknown =
        |what: &str, index: usize| Error::failed(format!("{what} tensor {index}, but it has {count} tensors"));
    let mut ready: Vec<bool> = model.tensors.iter().map(|tensor| tensor.data.is_some()).collect();
    if model.inputs.is_empty() || model.outputs.is_empty() {
        return Err(Error::failed("it has no input or no output"));
    }
    for &input in &model.inputs {
        match ready.get_mut(input) {
            None => return Err(unknown("its input is", input)),
            Some(true) => return Err(Error::failed(format!("its input, tensor {input}, has data or is named twice"))),
            Some(ready) => *ready = true,
        }
    }
    for (index, operator) in model.operators.iter().enumerate() {
        let name = format!("operator {index} ({:?})", operator.kind);
        arity(operator).map_err(|problem| Error::failed(format!("{name} {problem}")))?;
        for &input in operator.inputs.iter().flatten() {
            match ready.get(input) {
                None => return Err(unknown(&format!("{name} reads"), input)),
                Some(false) => {
                    let message = format!("{name} reads tensor {input} `{}`", model.tensors[input].name);
                    return Err(Error::failed(format!("{message}, which nothing has computed before it")));
                }
                Some(true) => {}
            }
        }
        for &output in &operator.outputs {
            match ready.get_mut(output) {
                None => return Err(unknown(&format!("{name} computes"), output)),
                Some(true) => return Err(Error::failed(format!("{name} computes tensor {output}, which is there"))),
                Some(ready) => *ready = true,
            }
        }
    }
    for &output in &model.outputs {
        match ready.get(output) {
            None => return Err(unknown("its output is", output)),
            Some(false) => return Err(Error::failed(format!("nothing computes its output, tensor {output}"))),
            Some(true) => {}
        }
    }
    let signature = model.signature.iter().flat_map(|signature| signature.inputs.iter().chain(&signature.outputs));
    match signature.map(|(_, index)| *index).find(|index| *index >= count) {
        Some(index) => Err(unknown("its signature names", index)),
        None => Ok(()),
    }
}

/// How many tensors an operator takes; only a layer's bias may be absent.
fn arity(operator: &Operator) -> Result<(), String> {
    let (least, most) = match operator.kind {
        Kind::Conv2d { .. } | Kind::DepthwiseConv2d { .. } | Kind::FullyConnected { .. } => (2, 3),
        Kind::Add { .. } | Kind::Mul { .. } | Kind::Mean { .. } | Kind::Pad | Kind::Transpose | Kind::Prelu => (2, 2),
        Kind::Concatenation { .. } => (1, usize::MAX),
        Kind::PadV2 => (3, 3),
        Kind::StridedSlice { .. } => (4, 4),
        Kind::Reshape { .. } => (1, 2),
        Kind::Other { .. } => return Ok(()),
        _ => (1, 1),
    };
    let (inputs, outputs) = (operator.inputs.len(), operator.outputs.len());
    let absent = operator.inputs.iter().take(least).any(Option::is_none);
    if !(least..=most).contains(&inputs) || outputs != 1 || absent {
        return Err(format!("has {inputs} inputs and {outputs} outputs, or lacks one that it needs"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[usize], data: Option<Vec<u8>>) -> Tensor {
        Tensor { name: "t".into(), shape: shape.to_vec(), dtype: DType::Int8, quantization: None, data }
    }

    fn relu() -> TfliteModel {
        let operator = Operator { kind: Kind::Relu, inputs: vec![Some(0)], outputs: vec![1] };
        let tensors = vec![tensor(&[1, 4], None), tensor(&[1, 4], None)];
        TfliteModel { tensors, operators: vec![operator], inputs: vec![0], outputs: vec![1], ..TfliteModel::default() }
    }

    #[test]
    fn says_what_is_wrong() {
        model(&relu()).unwrap();
        let message = |change: fn(&mut TfliteModel)| {
            let mut changed = relu();
            change(&mut changed);
            model(&changed).unwrap_err().to_string()
        };
        let quantized = |scales: Vec<f32>, zero_points: Vec<i64>| {
            Some(Quantization { scales, zero_points, axis: 1, ..Quantization::default() })
        };
        assert!(message(|model| model.tensors[0].shape = vec![1, usize::MAX]).contains("more than"));
        assert!(message(|model| model.tensors[0].shape = vec![0]).contains("empty"));
        assert!(message(|model| model.tensors.push(tensor(&[3], Some(vec![0; 2])))).contains("2 bytes of data"));
        assert!(message(|model| model.inputs = vec![9]).contains("input is tensor 9"));
        assert!(message(|model| model.outputs = vec![]).contains("no output"));
        assert!(message(|model| model.operators[0].inputs = vec![Some(5)]).contains("reads tensor 5"));
        assert!(message(|model| model.operators[0].inputs = vec![None]).contains("lacks"));
        assert!(message(|model| model.operators[0].inputs = vec![Some(1)]).contains("nothing has computed"));
        assert!(message(|model| model.operators[0].outputs = vec![0]).contains("which is there"));
        for (scales, zero_points) in
            [(vec![1.0], vec![]), (vec![1.0; 2], vec![0; 2]), (vec![0.0], vec![0]), (vec![1.0], vec![200])]
        {
            let mut changed = relu();
            changed.tensors[0].quantization = quantized(scales, zero_points);
            assert!(model(&changed).unwrap_err().to_string().starts_with("tensor 0 `t` has"));
        }
    }
}
