//! Models that contradict themselves: an error that names the place, never a panic.

use crate::cases::cases;
use crate::models::{convolution, inputs, plain};
use pocketflow::error::ErrorKind;
use pocketflow_export::interpret::Interpreter;
use pocketflow_export::tflite::model::{DType, Kind, Padding, TfliteModel};
use proptest::prelude::*;

/// The error of a convolution after `change`.
fn refusal(change: impl FnOnce(&mut TfliteModel)) -> String {
    let mut model = convolution();
    change(&mut model);
    let error = Interpreter::new(&model).map(|_| ()).expect_err("a broken model compiled");
    assert_eq!(error.kind(), ErrorKind::Failed);
    error.to_string()
}

#[test]
fn errors_name_the_tensor_or_the_operator() {
    let operator = "operator 0 (CONV_2D, output \"t3\")";
    let wrong_shape = refusal(|model| model.tensors[3].shape = vec![1, 3, 3, 5]);
    assert!(wrong_shape.contains(operator) && wrong_shape.contains("[1, 2, 3, 5]"), "{wrong_shape}");
    let zero_point = refusal(|model| model.tensors[1].quantization.as_mut().unwrap().zero_points[2] = 1);
    assert!(zero_point.contains("zero point 0"), "{zero_point}");
    let scale = refusal(|model| model.tensors[0].quantization.as_mut().unwrap().scales[0] = f32::NAN);
    assert!(scale.contains("tensor 0 (\"t0\")"), "{scale}");
    let bias_scale = refusal(|model| model.tensors[2].quantization.as_mut().unwrap().scales[0] = 0.1);
    assert!(bias_scale.contains("bias") && bias_scale.contains(operator), "{bias_scale}");
    let unquantized = refusal(|model| model.tensors[3].quantization = None);
    assert!(unquantized.contains("needs one scale"), "{unquantized}");
    let short = refusal(|model| model.tensors[1].data.as_mut().unwrap().truncate(7));
    assert!(short.contains("tensor 1") && short.contains("7 bytes"), "{short}");
    let computed_filter = refusal(|model| {
        model.tensors[1].data = None;
        model.inputs.push(1);
    });
    assert!(computed_filter.contains("constant"), "{computed_filter}");
    let index = refusal(|model| model.operators[0].inputs[1] = Some(77));
    assert!(index.contains("no tensor 77"), "{index}");
    let early = refusal(|model| model.inputs.clear());
    assert!(early.contains("before anything computes it"), "{early}");
    let twice = refusal(|model| model.operators[0].outputs = vec![0]);
    assert!(twice.contains("written twice"), "{twice}");
    let batch = refusal(|model| model.tensors[0].shape = vec![3, 4, 5, 1]);
    assert!(batch.contains("one image"), "{batch}");
    let types = refusal(|model| model.tensors[3].dtype = DType::Uint8);
    assert!(types.contains("zero point -100"), "{types}");
    let huge = refusal(|model| model.tensors[3].shape = vec![usize::MAX, 2]);
    assert!(huge.contains("tensor 3"), "{huge}");
    let other = refusal(|model| model.operators[0].kind = Kind::Other { code: 97 });
    assert!(other.contains("builtin operator 97"), "{other}");
    let still = refusal(|model| {
        let activation = Default::default();
        model.operators[0].kind = Kind::Conv2d { stride: [0, 1], padding: Padding::Same, dilation: [1; 2], activation };
    });
    assert!(still.contains("does not move"), "{still}");
}

#[test]
fn what_only_moves_codes_keeps_their_grid() {
    let image: &[usize] = &[1, 2, 2, 1];
    let reshape = Kind::Reshape { shape: vec![1, 4] };
    let model = plain(reshape, (image, DType::Int8, (0.1, 0)), &[], (&[1, 4], DType::Int8, (0.2, 0)));
    assert!(Interpreter::new(&model).unwrap_err().to_string().contains("one scale and zero point"));
}

proptest! {
    /// One number of one case is changed: it compiles and runs, or is refused.
    #[test]
    fn changed_models_run_or_are_refused(
        case in 0usize..23,
        place in any::<usize>(),
        what in 0usize..9,
        to in prop_oneof![-3i64..10, any::<i64>()],
    ) {
        let (_, mut model) = cases().swap_remove(case);
        let given = inputs(&model);
        let count = model.tensors.len();
        let tensor = &mut model.tensors[place % count];
        match what {
            0 => {
                let dimension = place % tensor.shape.len().max(1);
                if let Some(size) = tensor.shape.get_mut(dimension) {
                    *size = to as usize;
                }
            }
            1 => tensor.shape.truncate(place % 4),
            2 => tensor.shape.push(to as usize),
            3 => tensor.dtype = [DType::Int8, DType::Uint8, DType::Int32, DType::Int64, DType::Float32][place % 5],
            4 => if let Some(quantization) = &mut tensor.quantization {
                quantization.scales.iter_mut().for_each(|scale| *scale *= (to as f32).exp2());
            }
            5 => if let Some(quantization) = &mut tensor.quantization {
                quantization.zero_points.iter_mut().for_each(|zero_point| *zero_point = to);
            }
            6 => if let Some(data) = &mut tensor.data {
                let at = place % data.len();
                data[at] = to as u8;
            }
            7 => model.operators[0].inputs[0] = Some(place % (count + 1)),
            _ => {
                let (_, other) = cases().swap_remove(to.unsigned_abs() as usize % 23);
                model.operators[0].kind = other.operators[0].kind.clone();
            }
        }
        if let Ok(mut interpreter) = Interpreter::new(&model) {
            // The inputs may no longer fit; that is an error too.
            let _ = interpreter.run(&given);
        }
    }
}
