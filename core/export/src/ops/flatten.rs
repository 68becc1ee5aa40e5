//! Images as features. .tflite and .pb hold channels last, and bring them to the front first.

use super::Export;
use crate::deployed::Operator;
use crate::pb::proto::DataType;
use crate::tflite::build::network::Network;
use crate::{onnx, pb};
use pocketflow::Result;
use pocketflow::graph::{Flatten, Node};

impl Export for Flatten {
    fn tflite(&self, network: &mut Network<'_>, operator: &Operator, from: usize, float: bool) -> Result<usize> {
        let output = network.output(operator.output, 2, float)?;
        let image = network.builder.image(from, output)?;
        let planes = match network.builder.shape(image)[..] {
            [_, height, width, channels] if channels > 1 && height * width > 1 => {
                network.builder.transposed(image, &[0, 3, 1, 2], output)?
            }
            _ => image,
        };
        network.builder.reshape(planes, output)?;
        Ok(output)
    }

    fn onnx(&self, writer: &mut onnx::Writer<'_>, operator: &Operator, held: onnx::Held) -> Result<onnx::Held> {
        let row = held.as_row(&mut writer.builder, &operator.name);
        Ok(onnx::Held { tensor: writer.moved(operator, row)?, row: true })
    }

    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        let name = &node.name;
        let from = node.inputs[0];
        let image = writer.as_image(from, name)?;
        let order = writer.builder.ints(&format!("{name}/order"), &[0, 3, 1, 2], &[4])?;
        let attributes = vec![("Tperm", DataType::Int32.attribute())];
        let planes = writer.builder.node(&format!("{name}/planes"), "Transpose", &[&image, &order], attributes);
        let features = writer.shape(from).iter().fold(1, |count: usize, size| count.saturating_mul(*size));
        Ok(pb::Held { node: writer.reshape(name, &planes, &[-1, pb::writer::i32_of(features)?])?, row: true })
    }
}
