//! Bytes as a [`TfliteModel`]. The bytes may be anything: what FlatBuffers' verifier, [`check`] and
//! the limits here let pass can be used without fear, and no length in the file makes reading
//! allocate more than a multiple of the file's own size.

mod options;

use super::model::{DType, Operator, Quantization, Signature, Tensor, TfliteModel};
use super::schema::table;
use super::{archive, check};
use flatbuffers::{ForwardsUOffset, Vector, VerifierOptions};
use pocketflow::error::{Error, Result};

/// How far tables may share parts: the size of everything, counted as often as it is used, in sizes
/// of the file.
const MAX_SHARING: usize = 8;
/// Tables nest five deep.
const MAX_DEPTH: usize = 16;
/// What a small file may take, whatever [`MAX_SHARING`] says.
const SMALL: usize = 1 << 16;

/// Reads and checks a model.
///
/// # Errors
/// What is no .tflite file, is damaged, or says what [`TfliteModel`] cannot: says where and what.
pub fn read(bytes: &[u8]) -> Result<TfliteModel> {
    if !table::model_buffer_has_identifier(bytes.get(..8).unwrap_or(&[0; 8])) {
        return Err(Error::failed("it is not a .tflite model: its identifier TFL3 is missing"));
    }
    let room = bytes.len().saturating_mul(MAX_SHARING).saturating_add(SMALL);
    let options = VerifierOptions {
        max_depth: MAX_DEPTH,
        max_tables: room / 4,
        max_apparent_size: room,
        ..VerifierOptions::default()
    };
    let root = table::root_as_model_with_opts(&options, bytes).map_err(|error| {
        let trace = error.to_string();
        Error::failed(format!("it is damaged or cut: {}", trace.lines().next().unwrap_or_default().trim()))
    })?;
    let subgraphs = root.subgraphs();
    let count = subgraphs.map_or(0, |graphs| graphs.len());
    let Some(graph) = subgraphs.filter(|graphs| graphs.len() == 1).map(|graphs| graphs.get(0)) else {
        return Err(Error::failed(format!("it has {count} subgraphs; models with one can be read")));
    };
    let mut buffers = Buffers { all: root.buffers(), room };
    let tensors = graph.tensors().into_iter().flatten().enumerate().map(|(index, tensor)| {
        let name = tensor.name().unwrap_or_default().to_owned();
        read_tensor(tensor, name, &mut buffers)
            .map_err(|(name, problem)| Error::failed(format!("tensor {index} `{name}` {problem}")))
    });
    let tensors = tensors.collect::<Result<Vec<Tensor>>>()?;
    let metadata = root.metadata().into_iter().flatten().map(|entry| {
        let name = entry.name().unwrap_or_default().to_owned();
        let contents = buffers.take(entry.buffer()).map_err(|problem| Error::failed(format!("`{name}` {problem}")))?;
        Ok((name, contents.unwrap_or_default()))
    });
    let metadata = metadata.collect::<Result<Vec<_>>>()?;
    let model = TfliteModel {
        description: root.description().unwrap_or_default().to_owned(),
        tensors,
        operators: operators(&root, &graph)?,
        inputs: indices(graph.inputs())
            .and_then(all)
            .map_err(|problem| Error::failed(format!("its inputs: {problem}")))?,
        outputs: indices(graph.outputs())
            .and_then(all)
            .map_err(|problem| Error::failed(format!("its outputs: {problem}")))?,
        signature: signature(&root),
        metadata,
        files: archive::files(bytes)?,
    };
    check::model(&model)?;
    Ok(model)
}

/// The data of all tensors, given out as long as there is room: tensors of a forged file may share
/// a buffer a million times.
struct Buffers<'a> {
    all: Option<Vector<'a, ForwardsUOffset<table::Buffer<'a>>>>,
    room: usize,
}

impl Buffers<'_> {
    /// The contents of that buffer, if it has any.
    fn take(&mut self, index: u32) -> Result<Option<Vec<u8>>, String> {
        let count = self.all.map_or(0, |buffers| buffers.len());
        let Some(buffer) = self.all.filter(|_| (index as usize) < count).map(|all| all.get(index as usize)) else {
            return Err(format!("has buffer {index} of {count}"));
        };
        if buffer.offset() > 1 || buffer.size() > 1 {
            return Err("has its data behind the tables, as files beyond 2 GiB do; these cannot be read".into());
        }
        let Some(data) = buffer.data().map(|data| data.bytes()).filter(|data| !data.is_empty()) else {
            return Ok(None);
        };
        self.room = self.room.checked_sub(data.len()).ok_or("shares its data with too many others")?;
        Ok(Some(data.to_vec()))
    }
}

fn read_tensor(tensor: table::Tensor<'_>, name: String, buffers: &mut Buffers<'_>) -> Result<Tensor, (String, String)> {
    match parts(tensor, buffers) {
        Ok((shape, dtype, quantization, data)) => Ok(Tensor { name, shape, dtype, quantization, data }),
        Err(problem) => Err((name, problem)),
    }
}

type Parts = (Vec<usize>, DType, Option<Quantization>, Option<Vec<u8>>);

fn parts(tensor: table::Tensor<'_>, buffers: &mut Buffers<'_>) -> Result<Parts, String> {
    let dtype = match tensor.type_() {
        table::TensorType::FLOAT32 => DType::Float32,
        table::TensorType::INT8 => DType::Int8,
        table::TensorType::UINT8 => DType::Uint8,
        table::TensorType::INT32 => DType::Int32,
        table::TensorType::INT64 => DType::Int64,
        other => return Err(format!("is of the type {other:?}, which cannot be read")),
    };
    if tensor.is_variable() || tensor.sparsity().is_some() {
        return Err("is a variable or sparse, which cannot be read".into());
    }
    let size = |size: i32| usize::try_from(size).map_err(|_| format!("has a dimension of {size}"));
    let shape = tensor.shape().into_iter().flatten().map(size).collect::<Result<Vec<usize>, String>>()?;
    let quantization = tensor.quantization().map(quantization).transpose()?.flatten();
    Ok((shape, dtype, quantization, buffers.take(tensor.buffer())?))
}

/// `None` where the table is empty, as converters write it for what is not quantized.
fn quantization(table: table::QuantizationParameters<'_>) -> Result<Option<Quantization>, String> {
    if table.details_type() != table::QuantizationDetails::NONE {
        return Err("is quantized in a way that is not by scale and zero point".into());
    }
    let floats = |values: Option<Vector<'_, f32>>| values.into_iter().flatten().collect::<Vec<f32>>();
    let scales = floats(table.scale());
    let zero_points: Vec<i64> = table.zero_point().into_iter().flatten().collect();
    if scales.is_empty() && zero_points.is_empty() {
        return Ok(None);
    }
    let axis = table.quantized_dimension();
    let axis = usize::try_from(axis).map_err(|_| format!("is quantized along dimension {axis}"))?;
    Ok(Some(Quantization { scales, zero_points, min: floats(table.min()), max: floats(table.max()), axis }))
}

fn operators(root: &table::Model<'_>, graph: &table::SubGraph<'_>) -> Result<Vec<Operator>> {
    let codes: Vec<i32> = root
        .operator_codes()
        .into_iter()
        .flatten()
        .map(|code| code.builtin_code().0.max(i32::from(code.deprecated_builtin_code())))
        .collect();
    let read = |(index, operator): (usize, table::Operator<'_>)| {
        let opcode = operator.opcode_index();
        let code = codes.get(opcode as usize).copied();
        let code =
            code.ok_or_else(|| Error::failed(format!("operator {index} has code {opcode} of {}", codes.len())))?;
        let fail = |problem: String| {
            let name = table::BuiltinOperator(code).variant_name().unwrap_or("unknown");
            Error::failed(format!("operator {index} ({name}, builtin code {code}) {problem}"))
        };
        Ok(Operator {
            kind: options::kind(code, &operator).map_err(fail)?,
            inputs: indices(operator.inputs()).map_err(fail)?,
            outputs: indices(operator.outputs()).and_then(all).map_err(fail)?,
        })
    };
    graph.operators().into_iter().flatten().enumerate().map(read).collect()
}

/// Tensor indices, `None` for −1; whether there are such tensors is for [`check`] to say.
fn indices(list: Option<Vector<'_, i32>>) -> Result<Vec<Option<usize>>, String> {
    let index = |index: i32| match index {
        -1 => Ok(None),
        index => usize::try_from(index).map(Some).map_err(|_| format!("names tensor {index}")),
    };
    list.into_iter().flatten().map(index).collect()
}

fn all(indices: Vec<Option<usize>>) -> Result<Vec<usize>, String> {
    indices.into_iter().collect::<Option<Vec<usize>>>().ok_or_else(|| "names tensor -1".into())
}

/// The first one of the subgraph.
fn signature(root: &table::Model<'_>) -> Option<Signature> {
    let signature = root.signature_defs()?.into_iter().find(|signature| signature.subgraph_index() == 0)?;
    let map = |list: Option<Vector<'_, ForwardsUOffset<table::TensorMap<'_>>>>| {
        let entries = list.into_iter().flatten();
        entries.map(|entry| (entry.name().unwrap_or_default().to_owned(), entry.tensor_index() as usize)).collect()
    };
    Some(Signature {
        key: signature.signature_key().unwrap_or_default().to_owned(),
        inputs: map(signature.inputs()),
        outputs: map(signature.outputs()),
    })
}

#[cfg(test)]
mod tests;
