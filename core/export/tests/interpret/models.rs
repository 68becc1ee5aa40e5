//! Small models, made by hand of numbers that follow a pattern.

use pocketflow_export::deployed::Activation;
use pocketflow_export::interpret::Data;
use pocketflow_export::tflite::model::{DType, Kind, Operator, Padding, Quantization, Tensor, TfliteModel};

/// A grid: scale and zero point.
pub type Grid = (f32, i64);

/// Codes that look like noise, −125 … 125.
pub fn pattern(index: usize, seed: usize) -> i32 {
    ((index * index * 7 + index * 31 + seed * 17) % 251) as i32 - 125
}

/// Values of a type: codes, or tenths of them.
pub fn values(dtype: DType, count: usize, seed: usize) -> Data {
    let codes = (0..count).map(|index| pattern(index, seed));
    match dtype {
        DType::Float32 => Data::Float(codes.map(|code| code as f32 * 0.1).collect()),
        DType::Int8 => Data::Int8(codes.map(|code| code as i8).collect()),
        DType::Uint8 => Data::Uint8(codes.map(|code| (code + 125) as u8).collect()),
        _ => Data::Int32(codes.map(|code| code * 71).collect()),
    }
}

/// A model that grows tensor by tensor.
#[derive(Default)]
pub struct Builder {
    pub model: TfliteModel,
}

impl Builder {
    fn tensor(
        &mut self,
        shape: &[usize],
        dtype: DType,
        quantization: Option<Quantization>,
        data: Option<Data>,
    ) -> usize {
        let index = self.model.tensors.len();
        let data = data.map(|data| data.to_bytes());
        self.model.tensors.push(Tensor { name: format!("t{index}"), shape: shape.to_vec(), dtype, quantization, data });
        index
    }

    /// A tensor that is computed or given.
    pub fn value(&mut self, shape: &[usize], dtype: DType, grid: Grid) -> usize {
        let quantization = (dtype != DType::Float32).then(|| along(&[grid.0], grid.1, 0));
        self.tensor(shape, dtype, quantization, None)
    }

    pub fn input(&mut self, shape: &[usize], dtype: DType, grid: Grid) -> usize {
        let index = self.value(shape, dtype, grid);
        self.model.inputs.push(index);
        index
    }

    /// A filter with a scale for the tensor or for each slice of `axis`; the pattern's seed is 3.
    pub fn filter(&mut self, shape: &[usize], dtype: DType, scales: &[f32], zero_point: i64, axis: usize) -> usize {
        let quantization = (dtype != DType::Float32).then(|| along(scales, zero_point, axis));
        self.tensor(shape, dtype, quantization, Some(values(dtype, shape.iter().product(), 3)))
    }

    /// The bias of such a filter; the pattern's seed is 4.
    pub fn bias(&mut self, count: usize, dtype: DType, input: Grid, scales: &[f32]) -> usize {
        let dtype = if dtype == DType::Float32 { dtype } else { DType::Int32 };
        let scales: Vec<f32> = scales.iter().map(|scale| scale * input.0).collect();
        let quantization = (dtype != DType::Float32).then(|| along(&scales, 0, 0));
        self.tensor(&[count], dtype, quantization, Some(values(dtype, count, 4)))
    }

    pub fn integers(&mut self, shape: &[usize], values: &[i32]) -> usize {
        self.tensor(shape, DType::Int32, None, Some(Data::Int32(values.to_vec())))
    }

    pub fn operator(&mut self, kind: Kind, inputs: &[usize], output: usize) {
        let inputs = inputs.iter().map(|input| Some(*input)).collect();
        self.model.operators.push(Operator { kind, inputs, outputs: vec![output] });
    }

    /// The model with the outputs of the last operator.
    pub fn finish(mut self) -> TfliteModel {
        self.model.outputs = self.model.operators.last().map(|operator| operator.outputs.clone()).unwrap_or_default();
        self.model
    }
}

fn along(scales: &[f32], zero_point: i64, axis: usize) -> Quantization {
    Quantization {
        scales: scales.to_vec(),
        zero_points: vec![zero_point; scales.len()],
        axis,
        ..Quantization::default()
    }
}

/// A layer with weights: image or features, filter and output.
pub struct Layer<'a> {
    pub kind: Kind,
    pub dtype: DType,
    pub input: (&'a [usize], Grid),
    pub filter: (&'a [usize], &'a [f32], i64),
    pub output: (&'a [usize], Grid),
}

impl Layer<'_> {
    pub fn model(self) -> TfliteModel {
        let mut builder = Builder::default();
        let axis = if matches!(self.kind, Kind::DepthwiseConv2d { .. }) { 3 } else { 0 };
        let input = builder.input(self.input.0, self.dtype, self.input.1);
        let filter = builder.filter(self.filter.0, self.dtype, self.filter.1, self.filter.2, axis);
        let bias = builder.bias(self.filter.0[axis], self.dtype, self.input.1, self.filter.1);
        let output = builder.value(self.output.0, self.dtype, self.output.1);
        builder.operator(self.kind, &[input, filter, bias], output);
        builder.finish()
    }
}

/// An operator on one tensor, with int32 constants behind it.
pub fn plain(
    kind: Kind,
    from: (&[usize], DType, Grid),
    constants: &[(&[usize], &[i32])],
    to: (&[usize], DType, Grid),
) -> TfliteModel {
    let mut builder = Builder::default();
    let mut inputs = vec![builder.input(from.0, from.1, from.2)];
    inputs.extend(constants.iter().map(|(shape, values)| builder.integers(shape, values)));
    let output = builder.value(to.0, to.1, to.2);
    builder.operator(kind, &inputs, output);
    builder.finish()
}

/// The sum of two tensors of one shape.
pub fn sum(dtype: DType, shape: &[usize], grids: [Grid; 3], activation: Activation) -> TfliteModel {
    let mut builder = Builder::default();
    let inputs = [builder.input(shape, dtype, grids[0]), builder.input(shape, dtype, grids[1])];
    let output = builder.value(shape, dtype, grids[2]);
    builder.operator(Kind::Add { activation }, &inputs, output);
    builder.finish()
}

/// The inputs that models are run on: patterns of the seeds 1 and 2.
pub fn inputs(model: &TfliteModel) -> Vec<Data> {
    let tensors = model.inputs.iter().map(|input| &model.tensors[*input]);
    tensors.zip(1..).map(|(tensor, seed)| values(tensor.dtype, tensor.shape.iter().product(), seed)).collect()
}

/// One int8 convolution, to break.
pub fn convolution() -> TfliteModel {
    let kind = Kind::Conv2d { stride: [2, 2], padding: Padding::Same, dilation: [1; 2], activation: Activation::Relu };
    Layer {
        kind,
        dtype: DType::Int8,
        input: (&[1, 4, 5, 3], (0.05, -3)),
        filter: (&[5, 3, 2, 3], &[0.01, 0.02, 0.005, 0.03, 0.015], 0),
        output: (&[1, 2, 3, 5], (0.11, -100)),
    }
    .model()
}
