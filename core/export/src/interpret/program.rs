//! A model compiled: kernels in order, and the buffers that they share.

use super::data::Data;
use super::kernel::{Kernel, Scratch};
use super::pool::Reduction;
use super::site::Site;
use super::{
    Rounding, add, check, concatenation, convolution, depthwise, mean, moving, mul, pointwise, pool, slopes, softmax,
    transpose,
};
use crate::deployed::Activation;
use crate::ops::builtin;
use crate::tflite::model::{DType, Kind, Tensor, TfliteModel};
use pocketflow::Result;

/// Where the values of an operator's activation are.
pub(super) enum Place {
    /// A buffer of the interpreter.
    Slot(usize),
    Constant(Data),
}

/// An operator to run.
pub(super) struct Step {
    pub kernel: Box<dyn Kernel>,
    /// Its activations: tensors and where their values are.
    pub inputs: Vec<(usize, Place)>,
    /// The tensor it computes, and the buffer for it; none where that is a constant, decoded once
    /// for all.
    pub tensor: usize,
    pub slot: Option<usize>,
}

/// Everything about a model that does not change while it runs.
pub(super) struct Program {
    pub steps: Vec<Step>,
    /// Of all tensors: without the constants' data.
    pub tensors: Vec<Tensor>,
    pub inputs: Vec<usize>,
    pub outputs: Vec<usize>,
    /// The buffers of inputs, in their order; what outputs are.
    pub input_slots: Vec<usize>,
    pub output_places: Vec<Place>,
    pub slots: usize,
}

impl Program {
    /// Compiles a model.
    ///
    /// # Errors
    /// `Failed`, naming the tensor or operator, where the model contradicts itself or has an
    /// operator that is not known.
    pub fn new(model: &TfliteModel, rounding: Rounding) -> Result<Self> {
        check::check(model)?;
        let decoded = decoded_constants(model, rounding)?;
        let model = decoded.as_ref().unwrap_or(model);
        let mut buffers = Buffers::new(model);
        let input_slots = model.inputs.iter().map(|input| buffers.take(model, *input)).collect();
        let mut steps = Vec::with_capacity(model.operators.len());
        for (index, operator) in model.operators.iter().enumerate() {
            let site = Site::new(model, index, operator, rounding);
            let kernel = compile(&site)?;
            site.output()?;
            let tensor = operator.outputs[0];
            let activations = match operator.kind {
                Kind::Add { .. } | Kind::Mul { .. } => 2,
                Kind::Concatenation { .. } => operator.inputs.len(),
                _ => 1,
            };
            let inputs = operator.inputs.iter().take(activations).flatten();
            let inputs = inputs.map(|input| Ok((*input, buffers.place(model, *input)?))).collect::<Result<_>>()?;
            // The output's buffer is chosen while the inputs hold theirs: they are never the same.
            let slot = model.tensors[tensor].data.is_none().then(|| buffers.take(model, tensor));
            steps.push(Step { kernel, inputs, tensor, slot });
            buffers.release(model, index);
        }
        let output_places = model.outputs.iter().map(|output| buffers.place(model, *output)).collect::<Result<_>>()?;
        Ok(Self {
            steps,
            tensors: model.tensors.iter().map(|tensor| Tensor { data: None, ..tensor.clone() }).collect(),
            inputs: model.inputs.clone(),
            outputs: model.outputs.clone(),
            input_slots,
            output_places,
            slots: buffers.count,
        })
    }
}

/// The model with the results of DEQUANTIZE on constants as constants, for the layers whose weights
/// they are; `None`: there are none.
fn decoded_constants(model: &TfliteModel, rounding: Rounding) -> Result<Option<TfliteModel>> {
    let mut decoded: Option<TfliteModel> = None;
    for (index, operator) in
        model.operators.iter().enumerate().filter(|(_, operator)| operator.kind == Kind::Dequantize)
    {
        let site = Site::new(model, index, operator, rounding);
        let (input, output) = (site.input(0)?, operator.outputs.first());
        if let (Some(_), Some(output)) = (&input.data, output) {
            let mut values = Data::default();
            pointwise::dequantize(&site)?.run(&[&site.constant(input)?], &mut values, &mut Scratch::default())?;
            decoded.get_or_insert_with(|| model.clone()).tensors[*output].data = Some(values.to_bytes());
        }
    }
    Ok(decoded)
}

/// Which tensors hold which buffers while operators are placed one after the other.
struct Buffers {
    /// The last operator that reads each tensor; none for what is never read, beyond all for
    /// outputs.
    last_reads: Vec<usize>,
    held: Vec<Option<usize>>,
    /// How many buffers there are.
    count: usize,
    /// By type: those that nothing holds.
    free: [Vec<usize>; DType::COUNT],
}

impl Buffers {
    fn new(model: &TfliteModel) -> Self {
        let mut last_reads = vec![0; model.tensors.len()];
        for (index, operator) in model.operators.iter().enumerate() {
            operator.inputs.iter().flatten().for_each(|input| last_reads[*input] = index);
        }
        model.outputs.iter().for_each(|output| last_reads[*output] = usize::MAX);
        Self { last_reads, held: vec![None; model.tensors.len()], count: 0, free: Default::default() }
    }

    /// A buffer for a tensor: one of its type that nothing holds, else a new one.
    fn take(&mut self, model: &TfliteModel, tensor: usize) -> usize {
        let slot = self.free[model.tensors[tensor].dtype as usize].pop().unwrap_or_else(|| {
            self.count += 1;
            self.count - 1
        });
        self.held[tensor] = Some(slot);
        slot
    }

    /// Gives back the buffers of all that no operator after `index` reads.
    fn release(&mut self, model: &TfliteModel, index: usize) {
        let operator = &model.operators[index];
        for tensor in operator.inputs.iter().flatten().chain(&operator.outputs) {
            if self.last_reads[*tensor] <= index {
                self.free[model.tensors[*tensor].dtype as usize].extend(self.held[*tensor].take());
            }
        }
    }

    fn place(&self, model: &TfliteModel, tensor: usize) -> Result<Place> {
        match (self.held[tensor], &model.tensors[tensor]) {
            (Some(slot), _) => Ok(Place::Slot(slot)),
            (None, Tensor { data: Some(bytes), dtype, .. }) => Ok(Place::Constant(Data::from_bytes(*dtype, bytes)?)),
            (None, Tensor { name, .. }) => {
                Err(pocketflow::Error::failed(format!("{name:?} is read after its last use")))
            }
        }
    }
}

fn compile(site: &Site) -> Result<Box<dyn Kernel>> {
    match &site.operator.kind {
        Kind::Conv2d { stride, padding, dilation, activation } => {
            convolution::convolution(site, *stride, *dilation, *padding, *activation)
        }
        Kind::DepthwiseConv2d { stride, padding, dilation, multiplier, activation } => {
            depthwise::depthwise(site, [*stride, *dilation], *padding, *multiplier, *activation)
        }
        Kind::FullyConnected { activation } => convolution::fully_connected(site, *activation),
        Kind::Add { activation } => add::add(site, *activation),
        Kind::Mul { activation } => mul::mul(site, *activation),
        Kind::Concatenation { axis, activation } => concatenation::concatenation(site, *axis, *activation),
        Kind::PadV2 => moving::pad_with(site),
        Kind::Transpose => transpose::transpose(site),
        Kind::LeakyRelu { alpha } => slopes::leaky_relu(site, *alpha),
        Kind::Prelu => slopes::prelu(site),
        Kind::AveragePool2d { filter, stride, padding, activation } => {
            pool::pool(site, Reduction::Average, *filter, *stride, *padding, *activation)
        }
        Kind::MaxPool2d { filter, stride, padding, activation } => {
            pool::pool(site, Reduction::Max, *filter, *stride, *padding, *activation)
        }
        Kind::Mean { keep_dims } => mean::mean(site, *keep_dims),
        Kind::Pad => moving::pad(site),
        Kind::StridedSlice { begin_mask, end_mask } => moving::strided_slice(site, *begin_mask, *end_mask),
        Kind::Reshape { shape } => moving::reshape(site, shape),
        Kind::Softmax { beta } => softmax::softmax(site, *beta),
        Kind::Relu => pointwise::activation(site, Activation::Relu),
        Kind::Relu6 => pointwise::activation(site, Activation::Relu6),
        Kind::Quantize => pointwise::quantize(site),
        Kind::Dequantize => pointwise::dequantize(site),
        Kind::Other { code } => match builtin(*code) {
            Some(builtin) => (builtin.compile)(site),
            None => Err(site.error(format!("the reference interpreter does not know builtin operator {code}"))),
        },
    }
}
