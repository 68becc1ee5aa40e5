//! A network as .onnx: quantize–dequantize pairs around float operators, in the one form that ONNX
//! Runtime fuses to integer kernels everywhere.
//!
//! Found by reading what ONNX Runtime 1.32 makes of it (its `optimized_model_filepath`) on x86-64:
//! - Values are uint8 for both targets; int8 codes are written + 128. Around int8 values it keeps
//!   most convolutions in float.
//! - Each reader has a DequantizeLinear of its own.
//! - An activation function is never written in float. A grid that starts at zero saturates as ReLU
//!   does, and where saturation does not do it all, a Clip of the codes does; it leaves
//!   QuantizeLinear behind its layer.
//! - What only moves or selects codes works on codes: MaxPool, Slice, Pad, Flatten.
//!
//! What the network leaves in float has no pairs around it, and activation functions of its own.

use super::OnnxInfo;
use super::builder::{Builder, Values, int};
use super::writer::{Writer, value_count};
use crate::deployed::{Activation, DeployedNet, FloatWeights, Layer, Operator};
use crate::ops::export;
use pocketflow::{Error, Result};

/// The network such that ONNX Runtime runs in integers what lies on grids. Input and output of the
/// file are float, whatever is within.
///
/// # Errors
/// A network whose parts do not fit each other: indices, shapes, codes beyond the target's (the
/// operator is named); one beyond the 2 GiB of the format.
pub fn from_net(net: &DeployedNet, info: &OnnxInfo) -> Result<Vec<u8>> {
    let mut writer = Writer::new(net);
    let input = writer.store(net.input, super::INPUT.into())?;
    writer.hold(net.input, input, false);
    for operator in &net.operators {
        writer
            .operator(operator)
            .map_err(|error| error.context(format!("cannot write operator `{}` to .onnx", operator.name)))?;
    }
    writer.finish(info)
}

impl Writer<'_> {
    fn operator(&mut self, operator: &Operator) -> Result<()> {
        let wanted = operator.op.arity();
        if !wanted.takes(operator.inputs.len()) {
            return Err(Error::failed(format!("it takes {wanted} inputs, got {}", operator.inputs.len())));
        }
        // Every operator is written in float between its pairs; only what cannot be is of interest.
        self.net.computes_in_float(operator)?;
        let held = self.held(operator.inputs[0])?;
        let written = export(&operator.op).onnx(self, operator, held)?;
        let codes = self.activate(operator, written.tensor)?;
        self.hold(operator.output, codes, written.row);
        Ok(())
    }

    /// Cuts values as the activation function does; codes where saturation has not.
    fn activate(&mut self, operator: &Operator, held: String) -> Result<String> {
        let name = self.value(operator.output)?.name.clone();
        let Some((scale, zero)) = self.grid_of(operator.output)? else {
            let name = format!("{name}/activation");
            return match operator.activation {
                Activation::None => Ok(held),
                Activation::Relu => Ok(self.builder.node(name, "Relu", &[&held], Vec::new())),
                Activation::Relu6 => relu6(&mut self.builder, &name, &held),
            };
        };
        let six = f32::from(zero) + (6.0 / scale).round_ties_even();
        let (low, high) = match operator.activation {
            Activation::None => (0, u8::MAX),
            Activation::Relu => (zero, u8::MAX),
            // A float beyond the type's range becomes its end.
            Activation::Relu6 => (zero, six as u8),
        };
        if (low, high) == (0, u8::MAX) {
            return Ok(held);
        }
        let name = format!("{name}/clipped");
        let low = self.builder.constant(format!("{name}.low"), Values::Uint8(vec![low]), &[])?;
        let high = self.builder.constant(format!("{name}.high"), Values::Uint8(vec![high]), &[])?;
        Ok(self.builder.node(name, "Clip", &[&held, &low, &high], Vec::new()))
    }

    fn finish(mut self, info: &OnnxInfo) -> Result<Vec<u8>> {
        let net = self.net;
        let classes = value_count(&self.value(net.output)?.shape);
        let images = self.value(net.input)?.shape;
        let held = self.held(net.output)?;
        match self.grid_of(net.output)? {
            Some(grid) => {
                let row = held.as_row(&mut self.builder, super::LOGITS);
                let [scale, zero] = self.grid(grid, super::LOGITS)?;
                self.builder.logits("DequantizeLinear", &[&row, &scale, &zero], Vec::new());
            }
            None if held.row => self.builder.logits("Identity", &[&held.tensor], Vec::new()),
            None => self.builder.logits("Flatten", &[&held.tensor], vec![int("axis", 1)]),
        }
        let coded = |layer: &Layer| !matches!(layer, Layer::Float { weights: FloatWeights::Values { .. }, .. });
        let quantized = net.values.iter().any(|value| value.grid.is_some())
            || net.operators.iter().filter_map(|operator| operator.layer.as_ref()).any(coded);
        let quantization = if quantized { net.target.name() } else { "none" };
        let metadata = info.metadata(&net.mean, &net.std, quantization);
        self.builder.finish(images, classes, metadata)
    }
}

/// Floats cut at 0 and 6.
///
/// # Errors
/// None but those of constants.
fn relu6(builder: &mut Builder, name: &str, input: &str) -> Result<String> {
    let low = builder.constant(format!("{name}/low"), Values::Floats(&[0.0]), &[])?;
    let high = builder.constant(format!("{name}/high"), Values::Floats(&[6.0]), &[])?;
    Ok(builder.node(name.into(), "Clip", &[input, &low, &high], Vec::new()))
}
