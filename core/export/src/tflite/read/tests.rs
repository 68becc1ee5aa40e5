use super::*;
use crate::tflite::model::{Kind, TfliteModel};
use crate::tflite::write;
use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, WIPOffset};
use proptest::prelude::*;

/// A file that our own writer does not make.
struct Odd {
    code: table::BuiltinOperator,
    dimension: i32,
    dtype: table::TensorType,
    variable: bool,
    buffer: u32,
    offset: u64,
    graphs: usize,
    output: i32,
}

impl Default for Odd {
    fn default() -> Self {
        Self {
            code: table::BuiltinOperator::RELU,
            dimension: 4,
            dtype: table::TensorType::INT8,
            variable: false,
            buffer: 0,
            offset: 0,
            graphs: 1,
            output: 1,
        }
    }
}

type Options = (table::BuiltinOptions, Option<WIPOffset<UnionWIPOffset>>);

/// One operator from tensor 0 to tensor 1.
fn file(odd: &Odd, options: impl FnOnce(&mut FlatBufferBuilder<'_>) -> Options) -> Vec<u8> {
    let mut flat = FlatBufferBuilder::new();
    let buffer = table::Buffer::create(
        &mut flat,
        &table::BufferArgs { data: None, offset: odd.offset, ..table::BufferArgs::default() },
    );
    let (kind, table) = options(&mut flat);
    let inputs = flat.create_vector(&[0i32]);
    let outputs = flat.create_vector(&[odd.output]);
    let args = table::OperatorArgs {
        opcode_index: 0,
        inputs: Some(inputs),
        outputs: Some(outputs),
        builtin_options_type: kind,
        builtin_options: table,
    };
    let operator = table::Operator::create(&mut flat, &args);
    let shape = flat.create_vector(&[1, odd.dimension]);
    let args = table::TensorArgs {
        shape: Some(shape),
        type_: odd.dtype,
        buffer: odd.buffer,
        is_variable: odd.variable,
        ..table::TensorArgs::default()
    };
    let tensors = [table::Tensor::create(&mut flat, &args), table::Tensor::create(&mut flat, &args)];
    let args = table::SubGraphArgs {
        tensors: Some(flat.create_vector(&tensors)),
        inputs: Some(inputs),
        outputs: Some(outputs),
        operators: Some(flat.create_vector(&[operator])),
        name: None,
    };
    let graph = table::SubGraph::create(&mut flat, &args);
    // As files from before 2021 have it.
    let args =
        table::OperatorCodeArgs { deprecated_builtin_code: odd.code.0 as i8, ..table::OperatorCodeArgs::default() };
    let code = table::OperatorCode::create(&mut flat, &args);
    let args = table::ModelArgs {
        version: 3,
        operator_codes: Some(flat.create_vector(&[code])),
        subgraphs: Some(flat.create_vector(&vec![graph; odd.graphs])),
        buffers: Some(flat.create_vector(&[buffer])),
        ..table::ModelArgs::default()
    };
    let root = table::Model::create(&mut flat, &args);
    flat.finish(root, Some("TFL3"));
    flat.finished_data().to_vec()
}

fn bare(odd: &Odd) -> Vec<u8> {
    file(odd, |_| (table::BuiltinOptions::NONE, None))
}

fn message(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

#[test]
fn old_codes_and_unknown_operators_are_read() {
    assert_eq!(read(&bare(&Odd::default())).unwrap().operators[0].kind, Kind::Relu);
    let custom = Odd { code: table::BuiltinOperator(32), ..Odd::default() };
    assert_eq!(read(&bare(&custom)).unwrap().operators[0].kind, Kind::Other { code: 32 });
}

#[test]
fn says_what_cannot_be_read() {
    for (odd, part) in [
        (Odd { dimension: -1, ..Odd::default() }, "tensor 0 `` has a dimension of -1"),
        (Odd { dimension: 0, ..Odd::default() }, "empty"),
        (Odd { dimension: i32::MAX, dtype: table::TensorType::FLOAT32, ..Odd::default() }, "more than 1073741824"),
        (Odd { dtype: table::TensorType::FLOAT16, ..Odd::default() }, "FLOAT16"),
        (Odd { dtype: table::TensorType(77), ..Odd::default() }, "77"),
        (Odd { variable: true, ..Odd::default() }, "variable"),
        (Odd { buffer: 9, ..Odd::default() }, "has buffer 9 of 1"),
        (Odd { offset: 4096, ..Odd::default() }, "behind the tables"),
        (Odd { graphs: 2, ..Odd::default() }, "2 subgraphs"),
        (Odd { graphs: 0, ..Odd::default() }, "0 subgraphs"),
        (Odd { output: 7, ..Odd::default() }, "tensor 7, but it has 2 tensors"),
        (Odd { output: -1, ..Odd::default() }, "tensor -1"),
        (Odd { output: -2, ..Odd::default() }, "tensor -2"),
        (Odd { code: table::BuiltinOperator::CONV_2D, ..Odd::default() }, "no table of options"),
    ] {
        let message = message(&bare(&odd));
        assert!(message.contains(part), "{message}");
    }
    assert!(message(b"PK\x03\x04 and more").contains("TFL3"));
    assert!(message(b"").contains("TFL3"));
}

#[test]
fn options_that_cannot_be_kept_are_errors() {
    let conv = |dilation: i32, stride: i32, activation| {
        let odd = Odd { code: table::BuiltinOperator::CONV_2D, ..Odd::default() };
        message(&file(&odd, |flat| {
            let args = table::Conv2DOptionsArgs {
                stride_w: stride,
                stride_h: 1,
                dilation_h_factor: dilation,
                fused_activation_function: activation,
                ..table::Conv2DOptionsArgs::default()
            };
            let options = table::Conv2DOptions::create(flat, &args).as_union_value();
            (table::BuiltinOptions::Conv2DOptions, Some(options))
        }))
    };
    let none = table::ActivationFunctionType::NONE;
    assert!(conv(2, 1, none).contains("has 1 inputs"), "dilation is kept");
    assert!(conv(0, 1, none).contains("a stride, window, dilation or multiplier of 0"));
    assert!(conv(1, 0, none).contains("a stride, window, dilation or multiplier of 0"));
    assert!(conv(1, 1, table::ActivationFunctionType::TANH).contains("TANH"));
    assert!(conv(1, 1, none).contains("has 1 inputs"), "what is left is its missing filter");
    let odd = Odd { code: table::BuiltinOperator::FULLY_CONNECTED, ..Odd::default() };
    let shuffled = file(&odd, |flat| {
        let args =
            table::FullyConnectedOptionsArgs { keep_num_dims: true, ..table::FullyConnectedOptionsArgs::default() };
        let options = table::FullyConnectedOptions::create(flat, &args).as_union_value();
        (table::BuiltinOptions::FullyConnectedOptions, Some(options))
    });
    assert!(message(&shuffled).contains("keeps dimensions"));
}

#[test]
fn a_buffer_cannot_be_given_out_without_end() {
    let data = vec![1u8; 1 << 16];
    let tensor =
        Tensor { name: "t".into(), shape: vec![1 << 16], dtype: DType::Int8, quantization: None, data: Some(data) };
    let input = Tensor { data: None, ..tensor.clone() };
    let model =
        TfliteModel { tensors: vec![input, tensor], inputs: vec![0], outputs: vec![1], ..TfliteModel::default() };
    let bytes = write(&model).unwrap();
    let root = table::root_as_model(&bytes).unwrap();
    let mut buffers = Buffers { all: root.buffers(), room: 3 << 16 };
    let taken = (0..9).take_while(|_| buffers.take(1).is_ok()).count();
    assert_eq!(taken, 3);
}

proptest! {
    #[test]
    fn garbage_makes_errors_at_most(mut bytes in prop::collection::vec(any::<u8>(), 0..400), sign: bool) {
        if sign && bytes.len() >= 8 {
            bytes[4..8].copy_from_slice(b"TFL3");
        }
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn damage_makes_errors_at_most(at in any::<prop::sample::Index>(), to: u8, cut in any::<prop::sample::Index>()) {
        let mut bytes = bare(&Odd::default());
        let at = at.index(bytes.len());
        bytes[at] = to;
        let _ = read(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        let _ = read(&bytes);
    }
}
