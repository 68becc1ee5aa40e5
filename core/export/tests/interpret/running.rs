//! How models run: what is shown while they do, operators alone, clones and threads, and what real
//! numbers become.

use crate::models::{Builder, inputs};
use pocketflow_export::deployed::Activation;
use pocketflow_export::interpret::{Data, Interpreter, Rounding};
use pocketflow_export::tflite::model::{DType, Kind, TfliteModel};

/// x → relu → sum with x → sum with the relu: buffers are shared, and some live long.
fn chain() -> TfliteModel {
    let shape: &[usize] = &[1, 2, 3, 2];
    let mut builder = Builder::default();
    let input = builder.input(shape, DType::Int8, (0.1, 3));
    let mut value = || builder.value(shape, DType::Int8, (0.2, -10));
    let (relu, first, second) = (value(), value(), value());
    let sum = || Kind::Add { activation: Activation::None };
    builder.operator(Kind::Relu, &[input], relu);
    builder.operator(sum(), &[relu, input], first);
    builder.operator(sum(), &[first, relu], second);
    builder.finish()
}

#[test]
fn every_tensor_is_shown_and_is_what_its_operator_gives_alone() {
    let model = chain();
    let mut interpreter = Interpreter::new(&model).unwrap();
    let mut seen: Vec<(usize, Data)> = Vec::new();
    let outputs =
        interpreter.run_watched(&inputs(&model), &mut |tensor, data| seen.push((tensor, data.clone()))).unwrap();
    assert_eq!(seen.iter().map(|(tensor, _)| *tensor).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(outputs, [seen[3].1.clone()]);
    for (index, operator) in model.operators.iter().enumerate() {
        let activations: Vec<&Data> = operator.inputs.iter().flatten().map(|input| &seen[*input].1).collect();
        assert_eq!(interpreter.run_operator(index, &activations).unwrap(), seen[operator.outputs[0]].1);
    }
    assert!(interpreter.run_operator(3, &[]).is_err());
    assert!(interpreter.run_operator(0, &[]).is_err());
}

#[test]
fn threads_give_what_one_thread_gives_in_order() {
    let model = chain();
    let mut interpreter = Interpreter::new(&model).unwrap();
    let image = |seed: usize| vec![crate::models::values(DType::Int8, 12, seed)];
    let images: Vec<_> = (0..20).map(image).collect();
    let alone: Vec<_> = images.iter().map(|image| interpreter.run(image).unwrap()).collect();
    for threads in [0, 1, 3, 50] {
        assert_eq!(interpreter.run_many(&images, threads).unwrap(), alone);
    }
    assert!(interpreter.run_many(&[], 2).unwrap().is_empty());
    let mut bad = images.clone();
    bad[7] = Vec::new();
    assert!(interpreter.run_many(&bad, 3).is_err());
    let copy = interpreter.clone().run(&images[4]).unwrap();
    assert_eq!(copy, alone[4]);
}

#[test]
fn real_numbers_go_in_and_out() {
    let interpreter = Interpreter::new(&chain()).unwrap();
    let reals = [0.0, 0.14, -0.16, 100.0, -100.0, f32::NAN, 0.05, -0.05, 1.0, 2.0, 3.0, 4.0];
    let codes = interpreter.encode(0, &reals).unwrap();
    assert_eq!(codes, Data::Int8(vec![3, 4, 1, 127, -128, 3, 4, 2, 13, 23, 33, 43]));
    assert_eq!(interpreter.decode(0, &codes).unwrap()[..3], [0.0, 0.1, -0.2]);
    assert!(interpreter.encode(0, &reals[..3]).is_err());
    assert!(interpreter.decode(0, &Data::Float(vec![0.0; 12])).is_err());
    assert!(interpreter.encode(99, &reals).is_err());
}

#[test]
fn inputs_of_the_wrong_number_type_or_size_are_refused() {
    let mut interpreter = Interpreter::new(&chain()).unwrap();
    for bad in [vec![], vec![Data::Int8(vec![0; 11])], vec![Data::Uint8(vec![0; 12])], vec![Data::Int8(vec![0; 12]); 2]]
    {
        assert!(interpreter.run(&bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_softmax_over_many_equal_logits_gives_the_lowest_code() {
    let shape: &[usize] = &[1, 1000];
    let grid = (1.0 / 256.0, -128);
    let kind = Kind::Softmax { beta: 1.0 };
    let model = crate::models::plain(kind, (shape, DType::Int8, (0.1, 0)), &[], (shape, DType::Int8, grid));
    let outputs = Interpreter::new(&model).unwrap().run(&[Data::Int8(vec![9; 1000])]).unwrap();
    assert_eq!(outputs, [Data::Int8(vec![-128; 1000])]);
}

/// MobileNet-v1 0.25 of 128 pixels as TensorFlow's authors published it, where it is at hand: what
/// LiteRT 2.3.0 computes with `BUILTIN_REF`.
#[test]
fn a_real_model_gives_what_the_reference_kernels_give() {
    let Some(path) = pocketflow_tests::samples::sample("mobilenet_v1_0.25_128_quant.tflite") else { return };
    let bytes = std::fs::read(path).unwrap();
    let model = pocketflow_export::tflite::read(&bytes).unwrap();
    let mut interpreter = Interpreter::with_rounding(&model, Rounding::AsReferenceKernels).unwrap();
    let outputs = interpreter.run(&inputs(&model)).unwrap();
    let [Data::Uint8(codes)] = &outputs[..] else { panic!("one uint8 output is expected") };
    let found = [859, 534, 912, 490, 444, 825, 736, 475].map(|class| codes[class]);
    assert_eq!(found, [101, 36, 24, 16, 12, 10, 10, 10]);
    assert_eq!(codes.iter().map(|code| u32::from(*code)).sum::<u32>(), 239);
}
