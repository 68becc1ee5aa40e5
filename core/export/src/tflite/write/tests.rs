use super::*;
use crate::deployed::Activation;
use crate::tflite::model::{Kind, Operator, Padding, Signature};
use crate::tflite::read;
use proptest::prelude::*;
use proptest::sample::select;

fn kinds() -> impl Strategy<Value = Kind> {
    let pair = || [1usize..5, 1..5];
    let activation = || select(vec![Activation::None, Activation::Relu, Activation::Relu6]);
    let padding = || select(vec![Padding::Same, Padding::Valid]);
    prop_oneof![
        (pair(), pair(), padding(), activation()).prop_map(|(stride, dilation, padding, activation)| Kind::Conv2d {
            stride,
            padding,
            dilation,
            activation
        }),
        (pair(), pair(), padding(), 1usize..4, activation()).prop_map(
            |(stride, dilation, padding, multiplier, activation)| {
                Kind::DepthwiseConv2d { stride, padding, dilation, multiplier, activation }
            }
        ),
        activation().prop_map(|activation| Kind::FullyConnected { activation }),
        activation().prop_map(|activation| Kind::Add { activation }),
        activation().prop_map(|activation| Kind::Mul { activation }),
        (-2i32..4, activation()).prop_map(|(axis, activation)| Kind::Concatenation { axis, activation }),
        (-0.5f32..2.0).prop_map(|alpha| Kind::LeakyRelu { alpha }),
        (pair(), pair(), padding(), activation()).prop_map(|(filter, stride, padding, activation)| {
            Kind::AveragePool2d { filter, stride, padding, activation }
        }),
        (pair(), pair(), padding(), activation()).prop_map(|(filter, stride, padding, activation)| Kind::MaxPool2d {
            filter,
            stride,
            padding,
            activation
        }),
        any::<bool>().prop_map(|keep_dims| Kind::Mean { keep_dims }),
        (0..16i32, 0..16i32).prop_map(|(begin_mask, end_mask)| Kind::StridedSlice { begin_mask, end_mask }),
        prop::collection::vec(1..9i32, 0..4).prop_map(|shape| Kind::Reshape { shape }),
        (0.1f32..2.0).prop_map(|beta| Kind::Softmax { beta }),
        select(vec![
            Kind::Pad,
            Kind::PadV2,
            Kind::Transpose,
            Kind::Prelu,
            Kind::Relu,
            Kind::Relu6,
            Kind::Quantize,
            Kind::Dequantize
        ]),
    ]
}

/// A chain of operators, each with the constants that its kind takes.
fn chain(kinds: Vec<Kind>, dtype: DType) -> TfliteModel {
    let value = |index: usize| Tensor {
        name: format!("value {index}"),
        shape: vec![1, 2, 3, 4],
        dtype,
        quantization: (dtype != DType::Float32).then(|| Quantization {
            scales: vec![0.5, 0.25],
            zero_points: vec![3, 4],
            min: vec![-1.0],
            max: vec![2.0],
            axis: 1,
        }),
        data: None,
    };
    let mut model = TfliteModel { description: "chain".into(), inputs: vec![0], ..TfliteModel::default() };
    model.tensors.push(value(0));
    let mut last = 0;
    for (index, kind) in kinds.into_iter().enumerate() {
        let constants = match kind {
            Kind::Conv2d { .. } | Kind::DepthwiseConv2d { .. } | Kind::FullyConnected { .. } => 2,
            Kind::StridedSlice { .. } => 3,
            Kind::PadV2 => 2,
            Kind::Add { .. } | Kind::Mul { .. } | Kind::Mean { .. } | Kind::Pad | Kind::Transpose | Kind::Prelu => 1,
            _ => 0,
        };
        let mut inputs = vec![Some(last)];
        for constant in 0..constants {
            let len = index + constant + 1;
            let data = (0..4 * len).map(|byte| byte as u8).collect();
            let name = format!("constant {index} {constant}");
            let tensor = Tensor { name, shape: vec![len], dtype: DType::Int32, quantization: None, data: Some(data) };
            model.tensors.push(tensor);
            inputs.push(Some(model.tensors.len() - 1));
        }
        // A layer's bias may be absent.
        let layer = matches!(kind, Kind::Conv2d { .. } | Kind::DepthwiseConv2d { .. } | Kind::FullyConnected { .. });
        if layer && index % 2 == 1 {
            inputs[2] = None;
        }
        model.tensors.push(value(index + 1));
        last = model.tensors.len() - 1;
        model.operators.push(Operator { kind, inputs, outputs: vec![last] });
    }
    model.outputs = vec![last];
    model
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_comes_back(
        kinds in prop::collection::vec(kinds(), 1..8),
        dtype in select(vec![DType::Float32, DType::Int8, DType::Uint8]),
        extras: bool,
    ) {
        let mut model = chain(kinds, dtype);
        if extras {
            model.signature = Some(Signature {
                key: "serving_default".into(),
                inputs: vec![("image".into(), 0)],
                outputs: vec![("logits".into(), model.outputs[0])],
            });
            model.metadata = vec![("TFLITE_METADATA".into(), vec![1; 21]), ("more".into(), vec![2; 3])];
            model.files = vec![("labels.txt".into(), b"cat\ndog\n".to_vec())];
        }
        let bytes = write(&model).unwrap();
        prop_assert_eq!(read(&bytes).unwrap(), model);
        let root = table::root_as_model(&bytes).unwrap();
        for (index, buffer) in root.buffers().unwrap().iter().enumerate() {
            let data = buffer.data().map(|data| data.bytes().as_ptr() as usize - bytes.as_ptr() as usize);
            prop_assert_eq!(data.is_none(), index == 0);
            prop_assert_eq!(data.unwrap_or(0) % ALIGNMENT, 0);
        }
    }
}

#[test]
fn codes_are_listed_once_with_the_version_of_their_type() {
    let kinds = vec![
        Kind::Conv2d { stride: [1; 2], padding: Padding::Same, dilation: [1; 2], activation: Activation::Relu },
        Kind::Conv2d { stride: [2; 2], padding: Padding::Valid, dilation: [1; 2], activation: Activation::None },
        Kind::Relu,
        Kind::Quantize,
        Kind::FullyConnected { activation: Activation::None },
        Kind::Add { activation: Activation::None },
    ];
    // As TensorFlow 2.21's converter lists them.
    for (dtype, versions) in
        [(DType::Float32, [1, 1, 1, 1, 1]), (DType::Int8, [3, 2, 1, 4, 2]), (DType::Uint8, [1, 2, 1, 1, 1])]
    {
        let bytes = write(&chain(kinds.clone(), dtype)).unwrap();
        let codes = table::root_as_model(&bytes).unwrap().operator_codes().unwrap();
        let listed: Vec<_> = codes.iter().map(|code| (code.builtin_code().0, code.version())).collect();
        let expected: Vec<_> = [3, 19, 114, 9, 0].into_iter().zip(versions).collect();
        assert_eq!(listed, expected);
        assert!(codes.iter().all(|code| i32::from(code.deprecated_builtin_code()) == code.builtin_code().0));
    }
}

#[test]
fn says_what_cannot_be_written() {
    let message = |model: &TfliteModel| write(model).unwrap_err().to_string();
    let other = chain(vec![Kind::Relu, Kind::Other { code: 32 }], DType::Int8);
    assert!(
        message(&other).starts_with("cannot write chain as .tflite: operator 1: the operator with the builtin code 32")
    );
    let still =
        Kind::MaxPool2d { filter: [2; 2], stride: [0, 1], padding: Padding::Same, activation: Activation::None };
    assert!(message(&chain(vec![still], DType::Int8)).contains("a stride, window, dilation or multiplier of 0"));
    let mut short = chain(vec![Kind::Pad], DType::Int8);
    short.tensors[1].data = Some(vec![0]);
    assert!(message(&short).contains("`constant 0 0` has 1 bytes of data"));
}
