//! A [`TfliteModel`] as bytes.

mod options;
mod version;

use super::model::{DType, Quantization, Tensor, TfliteModel};
use super::schema::table;
use super::{archive, check};
use flatbuffers::{FlatBufferBuilder, ForwardsUOffset, Vector, WIPOffset};
use pocketflow::error::{Error, Result};
use std::collections::BTreeMap;

const IDENTIFIER: &str = "TFL3";
const SCHEMA_VERSION: u32 = 3;
/// Kernels read constants where they lie in the file, with the widest loads that there are.
const ALIGNMENT: usize = 16;
/// FlatBuffers hold 2 GiB; what is not data takes far less than the difference.
const MAX_DATA: usize = (1 << 31) - (1 << 26);

type Tables<'a, T> = WIPOffset<Vector<'a, ForwardsUOffset<T>>>;

/// The file: FlatBuffers tables, and a zip archive behind them where the model has files.
///
/// # Errors
/// A model whose parts do not fit each other (which), an operator that cannot be written, more than
/// 2 GiB.
pub fn write(model: &TfliteModel) -> Result<Vec<u8>> {
    check::model(model).and_then(|()| tables(model)).map_err(|error| {
        let name = if model.description.is_empty() { "the model" } else { &model.description };
        error.context(format!("cannot write {name} as .tflite"))
    })
}

fn tables(model: &TfliteModel) -> Result<Vec<u8>> {
    let data = model.tensors.iter().filter_map(|tensor| tensor.data.as_ref().map(Vec::len));
    let total: usize = data.chain(model.metadata.iter().map(|(_, bytes)| bytes.len())).sum();
    if total > MAX_DATA {
        return Err(Error::failed(format!("its {total} bytes of data are more than the format's 2 GiB")));
    }
    let mut writer = Writer {
        flat: FlatBufferBuilder::with_capacity(total + (64 << 10)),
        buffers: Vec::new(),
        zero_points: BTreeMap::new(),
    };
    // Buffer 0 stands for no data.
    writer.buffer(&[]);
    let mut tensors = Vec::with_capacity(model.tensors.len());
    for tensor in &model.tensors {
        tensors.push(writer.tensor(tensor)?);
    }
    let metadata: Vec<_> = model.metadata.iter().map(|(name, bytes)| writer.metadata(name, bytes)).collect();
    let (codes, operators) = writer.operators(model)?;
    let signature = writer.signature(model);

    let Writer { mut flat, buffers, .. } = writer;
    let tensors = flat.create_vector(&tensors);
    let inputs = flat.create_vector(&indices(model.inputs.iter().copied().map(Some))?);
    let outputs = flat.create_vector(&indices(model.outputs.iter().copied().map(Some))?);
    let name = flat.create_string("main");
    let subgraph = table::SubGraphArgs {
        tensors: Some(tensors),
        inputs: Some(inputs),
        outputs: Some(outputs),
        operators: Some(operators),
        name: Some(name),
    };
    let subgraph = table::SubGraph::create(&mut flat, &subgraph);
    let args = table::ModelArgs {
        version: SCHEMA_VERSION,
        operator_codes: Some(codes),
        subgraphs: Some(flat.create_vector(&[subgraph])),
        description: Some(flat.create_string(&model.description)),
        buffers: Some(flat.create_vector(&buffers)),
        metadata_buffer: None,
        metadata: (!metadata.is_empty()).then(|| flat.create_vector(&metadata)),
        signature_defs: signature,
    };
    let root = table::Model::create(&mut flat, &args);
    // Buffers are aligned to the end; with root offset and identifier in front, this makes them
    // aligned to the start too.
    pad(&mut flat, 8);
    flat.finish(root, Some(IDENTIFIER));
    archive::append(flat.finished_data().to_vec(), &model.files)
}

/// Makes what is written next, `len` bytes, start at a multiple of [`ALIGNMENT`] from the end.
fn pad(flat: &mut FlatBufferBuilder<'_>, len: usize) {
    while !(flat.unfinished_data().len() + len).is_multiple_of(ALIGNMENT) {
        flat.push(0u8);
    }
}

/// Tensor indices as the format has them: −1 where there is none.
fn indices(tensors: impl Iterator<Item = Option<usize>>) -> Result<Vec<i32>> {
    let index = |tensor: Option<usize>| tensor.map_or(Ok(-1), i32::try_from);
    tensors.map(|tensor| index(tensor).map_err(|_| Error::failed("it has more than 2³¹ tensors"))).collect()
}

struct Writer<'a> {
    flat: FlatBufferBuilder<'a>,
    buffers: Vec<WIPOffset<table::Buffer<'a>>>,
    /// The vectors of zero points that are written.
    zero_points: BTreeMap<Vec<i64>, WIPOffset<Vector<'a, i64>>>,
}

impl<'a> Writer<'a> {
    /// Its index.
    fn buffer(&mut self, data: &[u8]) -> u32 {
        let data = (!data.is_empty()).then(|| {
            pad(&mut self.flat, data.len());
            self.flat.create_vector(data)
        });
        let args = table::BufferArgs { data, ..table::BufferArgs::default() };
        self.buffers.push(table::Buffer::create(&mut self.flat, &args));
        (self.buffers.len() - 1) as u32
    }

    fn tensor(&mut self, tensor: &Tensor) -> Result<WIPOffset<table::Tensor<'a>>> {
        let buffer = tensor.data.as_ref().map_or(0, |data| self.buffer(data));
        let shape: Result<Vec<i32>, _> = tensor.shape.iter().map(|size| i32::try_from(*size)).collect();
        let shape = shape.map_err(|_| Error::failed(format!("tensor `{}` is too large", tensor.name)))?;
        let quantization =
            tensor.quantization.as_ref().map(|quantization| self.quantization(quantization)).transpose()?;
        let args = table::TensorArgs {
            shape: Some(self.flat.create_vector(&shape)),
            type_: match tensor.dtype {
                DType::Float32 => table::TensorType::FLOAT32,
                DType::Int8 => table::TensorType::INT8,
                DType::Uint8 => table::TensorType::UINT8,
                DType::Int32 => table::TensorType::INT32,
                DType::Int64 => table::TensorType::INT64,
            },
            buffer,
            name: Some(self.flat.create_string(&tensor.name)),
            quantization,
            is_variable: false,
            sparsity: None,
        };
        Ok(table::Tensor::create(&mut self.flat, &args))
    }

    fn quantization(&mut self, quantization: &Quantization) -> Result<WIPOffset<table::QuantizationParameters<'a>>> {
        let mut floats = |values: &[f32]| (!values.is_empty()).then(|| self.flat.create_vector(values));
        let (min, max, scale) = (floats(&quantization.min), floats(&quantization.max), floats(&quantization.scales));
        // Readers ask for a zero point for each channel, 8 bytes of nothing in symmetric ones;
        // tables may share a vector.
        let zero_points = match self.zero_points.get(&quantization.zero_points) {
            Some(written) => *written,
            None => {
                let written = self.flat.create_vector(&quantization.zero_points);
                self.zero_points.insert(quantization.zero_points.clone(), written);
                written
            }
        };
        let args = table::QuantizationParametersArgs {
            min,
            max,
            scale,
            zero_point: Some(zero_points),
            quantized_dimension: i32::try_from(quantization.axis)
                .map_err(|_| Error::failed(format!("there is no dimension {}", quantization.axis)))?,
            ..table::QuantizationParametersArgs::default()
        };
        Ok(table::QuantizationParameters::create(&mut self.flat, &args))
    }

    fn metadata(&mut self, name: &str, bytes: &[u8]) -> WIPOffset<table::Metadata<'a>> {
        let buffer = self.buffer(bytes);
        let name = Some(self.flat.create_string(name));
        table::Metadata::create(&mut self.flat, &table::MetadataArgs { name, buffer })
    }

    /// The operators, and the codes that they point to: one for each operator and version.
    fn operators(
        &mut self,
        model: &TfliteModel,
    ) -> Result<(Tables<'a, table::OperatorCode<'a>>, Tables<'a, table::Operator<'a>>)> {
        let mut codes: Vec<(table::BuiltinOperator, i32)> = Vec::new();
        let mut operators = Vec::with_capacity(model.operators.len());
        for (index, operator) in model.operators.iter().enumerate() {
            let options = options::create(&mut self.flat, &operator.kind)
                .map_err(|error| error.context(format!("operator {index}")))?;
            let input = operator.inputs.first().copied().flatten().map(|input| &model.tensors[input]);
            let code = (options.code, version::of(&operator.kind, input));
            let opcode = codes.iter().position(|known| *known == code).unwrap_or_else(|| {
                codes.push(code);
                codes.len() - 1
            });
            let inputs = indices(operator.inputs.iter().copied())?;
            let outputs = indices(operator.outputs.iter().copied().map(Some))?;
            let args = table::OperatorArgs {
                opcode_index: opcode as u32,
                inputs: Some(self.flat.create_vector(&inputs)),
                outputs: Some(self.flat.create_vector(&outputs)),
                builtin_options_type: options.kind,
                builtin_options: options.table,
            };
            operators.push(table::Operator::create(&mut self.flat, &args));
        }
        let codes: Vec<_> = codes.into_iter().map(|(code, version)| self.code(code, version)).collect();
        Ok((self.flat.create_vector(&codes), self.flat.create_vector(&operators)))
    }

    fn code(&mut self, builtin_code: table::BuiltinOperator, version: i32) -> WIPOffset<table::OperatorCode<'a>> {
        let greatest = table::BuiltinOperator::PLACEHOLDER_FOR_GREATER_OP_CODES.0;
        let deprecated_builtin_code = builtin_code.0.min(greatest) as i8;
        let args = table::OperatorCodeArgs { deprecated_builtin_code, custom_code: None, version, builtin_code };
        table::OperatorCode::create(&mut self.flat, &args)
    }

    fn signature(&mut self, model: &TfliteModel) -> Option<Tables<'a, table::SignatureDef<'a>>> {
        let signature = model.signature.as_ref()?;
        let mut map = |tensors: &[(String, usize)]| {
            let map: Vec<_> = tensors
                .iter()
                .map(|(name, index)| {
                    let name = Some(self.flat.create_string(name));
                    let args = table::TensorMapArgs { name, tensor_index: *index as u32 };
                    table::TensorMap::create(&mut self.flat, &args)
                })
                .collect();
            Some(self.flat.create_vector(&map))
        };
        let (inputs, outputs) = (map(&signature.inputs), map(&signature.outputs));
        let signature_key = Some(self.flat.create_string(&signature.key));
        let args = table::SignatureDefArgs { inputs, outputs, signature_key, subgraph_index: 0 };
        let signature = table::SignatureDef::create(&mut self.flat, &args);
        Some(self.flat.create_vector(&[signature]))
    }
}

#[cfg(test)]
mod tests;
