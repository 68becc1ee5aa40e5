//! The rectified linear unit whose leak is learnt. In .tflite its slopes are codes where its values
//! are; TensorFlow has no operator for it, and its converter makes one of what is written out here.

use super::Export;
use crate::deployed::Operator;
use crate::deployed::lowering::Lowering;
use crate::onnx::builder::Values;
use crate::tflite::build::network::Network;
use crate::tflite::model::Kind;
use crate::{onnx, pb};
use pocketflow::graph::{Node, NodeId, Prelu};
use pocketflow::{Error, Result};

impl Export for Prelu {
    /// A slope for each channel.
    fn constants(&self, lowering: &Lowering<'_>, id: NodeId) -> Result<Vec<f32>> {
        let slopes = lowering.values(id, "weight")?;
        if slopes.iter().any(|slope| !slope.is_finite()) {
            return Err(lowering.fail(id, "its slopes are not finite"));
        }
        spread(slopes, lowering.input_shape(id)[0])
    }

    fn tflite(&self, network: &mut Network<'_>, operator: &Operator, from: usize, float: bool) -> Result<usize> {
        let output = network.output(operator.output, 4, float)?;
        let from = network.builder.image(from, output)?;
        let (name, shape) = (format!("{}.slopes", operator.name), vec![1, 1, operator.constants.len()]);
        let slopes = network.numbers(name, &operator.constants, shape, float)?;
        network.builder.operator(Kind::Prelu, &[from, slopes], output);
        Ok(output)
    }

    fn onnx(&self, writer: &mut onnx::Writer<'_>, operator: &Operator, held: onnx::Held) -> Result<onnx::Held> {
        let (name, slopes) = (operator.name.as_str(), &operator.constants);
        let image = held.as_image(&mut writer.builder, name)?;
        let real = writer.decode(operator.inputs[0], &image, name)?;
        let slopes =
            writer.builder.constant(format!("{name}.slopes"), Values::Floats(slopes), &[slopes.len(), 1, 1])?;
        let result = writer.builder.node(name.into(), "PRelu", &[&real, &slopes], Vec::new());
        Ok(onnx::Held::image(writer.store(operator.output, result)?))
    }

    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        let (name, pb::Held { node: from, row }) = (&node.name, writer.held(node.inputs[0]));
        let slopes = writer.model.values(&format!("{name}.weight"))?;
        let slopes: Vec<f32> = spread(slopes, writer.shape(node.inputs[0])[0])?.iter().map(|slope| -slope).collect();
        let file = &mut writer.builder;
        let slopes = file.floats(&format!("{name}/slopes"), &slopes, &[slopes.len()])?;
        let above = file.node(&format!("{name}/above"), "Relu", &[&from], Vec::new());
        let negated = file.node(&format!("{name}/negated"), "Neg", &[&from], Vec::new());
        let below = file.node(&format!("{name}/below"), "Relu", &[&negated], Vec::new());
        let leaked = file.node(&format!("{name}/leaked"), "Mul", &[&slopes, &below], Vec::new());
        Ok(pb::Held { node: file.node(name, "AddV2", &[&above, &leaked], Vec::new()), row })
    }
}

/// One slope for each channel, of one or of as many.
fn spread(slopes: Vec<f32>, channels: usize) -> Result<Vec<f32>> {
    match slopes[..] {
        [slope] => Ok(vec![slope; channels]),
        _ if slopes.len() == channels => Ok(slopes),
        _ => Err(Error::failed(format!("{} slopes for {channels} channels", slopes.len()))),
    }
}
