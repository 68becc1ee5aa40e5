//! Networks as operators of TensorFlow Lite.

pub(crate) mod builder;
mod finish;
pub(crate) mod layout;
pub(crate) mod network;
mod pixels;
mod window;

pub use finish::finish;
pub use pixels::{deployed_normalisation, normalisation};

use super::model::TfliteModel;
use crate::deployed::{DeployedNet, Operator, lower_to_floats};
use crate::ops::export;
use network::Network;
use pocketflow::error::{Error, Result};
use pocketflow::graph::Op;
use pocketflow::integer::Target;
use pocketflow::model::Model;

/// The model with float32 values, its weights as the learner left them. Its input is the normalised
/// image `[1, h, w, c]`, named after the input node; its output the logits, named after the last.
/// Batch normalisations are folded; an activation function that alone reads a layer or a sum is
/// fused into it.
///
/// # Errors
/// A node that the format cannot express (which, and what to do); a model whose parts do not fit
/// each other.
pub fn from_model(model: &Model) -> Result<TfliteModel> {
    from_net(&lower_to_floats(model)?)
}

/// The network as operators. Its input takes pixels, 0 to 255 (int8: less 128), named after the
/// input value. int8: the output holds the logits. uint8: the output holds probabilities, code
/// / 256.
///
/// What is float in the network is so in the file: an input that takes the normalised image, an
/// output of logits, and operators on floats with QUANTIZE and DEQUANTIZE around them; their
/// weights, where they are codes, with DEQUANTIZE behind them, which runtimes do once.
///
/// # Errors
/// An operator that the format cannot express (which); a network whose parts do not fit each other.
pub fn from_net(net: &DeployedNet) -> Result<TfliteModel> {
    let mut network = Network::new(net);
    let value = network.value(net.input)?;
    let (input, normalised) = pixels::input(&mut network.builder, net, value)?;
    network.tensors[net.input] = Some(normalised);
    for operator in &net.operators {
        write(&mut network, operator).map_err(|error| error.context(format!("cannot express `{}`", operator.name)))?;
    }
    let output = match network.value(net.output)?.grid {
        Some(_) if net.target == Target::Uint8 && !ends_in_softmax(net) => network.probabilities()?,
        _ => network.row(net.output)?,
    };
    let mut result = network.builder.model;
    result.description.clone_from(&net.name);
    result.inputs = vec![input];
    result.outputs = vec![output];
    Ok(result)
}

fn ends_in_softmax(net: &DeployedNet) -> bool {
    net.operators.last().is_some_and(|operator| matches!(operator.op, Op::Softmax(_)))
}

fn write(network: &mut Network<'_>, operator: &Operator) -> Result<()> {
    let float = network.net.computes_in_float(operator)?;
    let first = *operator.inputs.first().ok_or_else(|| Error::failed("it has no input"))?;
    let from = network.read(first, float)?;
    let computed = export(&operator.op).tflite(network, operator, from, float)?;
    network.store(operator, computed)
}

#[cfg(test)]
mod tests;
