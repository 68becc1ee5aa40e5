//! Channels in another order: groups and the channels of a group change places.

use super::Export;
use crate::deployed::Operator;
use crate::onnx::builder::{Values, ints};
use crate::pb::proto::DataType;
use crate::pb::writer::i32_of;
use crate::tflite::build::network::Network;
use crate::{onnx, pb};
use pocketflow::Result;
use pocketflow::graph::{ChannelShuffle, Node};

impl Export for ChannelShuffle {
    fn tflite(&self, network: &mut Network<'_>, operator: &Operator, from: usize, float: bool) -> Result<usize> {
        let [height, width, channels] = network.value(operator.inputs[0])?.shape;
        let output = network.output(operator.output, 4, float)?;
        let each = channels / self.groups;
        let divided = network.builder.reshaped(from, vec![height * width, self.groups, each], output)?;
        let shuffled = network.builder.transposed(divided, &[0, 2, 1], output)?;
        network.builder.reshape(shuffled, output)?;
        Ok(output)
    }

    fn onnx(&self, writer: &mut onnx::Writer<'_>, operator: &Operator, held: onnx::Held) -> Result<onnx::Held> {
        let name = operator.name.as_str();
        let [height, width, channels] = writer.value(operator.inputs[0])?.shape;
        let image = held.as_image(&mut writer.builder, name)?;
        let mut shape = |suffix: &str, sizes: [usize; 4]| {
            // 0 keeps the number of samples.
            let sizes = sizes.map(|size| size as i64);
            writer.builder.constant(format!("{name}/{suffix}"), Values::Int64(&sizes), &[4])
        };
        let divided = shape("groups", [0, self.groups, channels / self.groups, height * width])?;
        let whole = shape("whole", [0, channels, height, width])?;
        let divided = writer.builder.node(format!("{name}/divided"), "Reshape", &[&image, &divided], Vec::new());
        let order = vec![ints("perm", &[0, 2, 1, 3])];
        let shuffled = writer.builder.node(format!("{name}/shuffled"), "Transpose", &[&divided], order);
        let joined = writer.builder.node(name.into(), "Reshape", &[&shuffled, &whole], Vec::new());
        Ok(onnx::Held::image(writer.moved(operator, joined)?))
    }

    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        let (name, from) = (node.name.as_str(), writer.as_image(node.inputs[0], &node.name)?);
        let [channels, height, width] = writer.shape(node.inputs[0]);
        let [pixels, groups, each] = [height * width, self.groups, channels / self.groups].map(i32_of);
        let divided = writer.reshape(&format!("{name}/divided"), &from, &[-1, pixels?, groups?, each?])?;
        let order = writer.builder.ints(&format!("{name}/order"), &[0, 1, 3, 2], &[4])?;
        let attributes = vec![("Tperm", DataType::Int32.attribute())];
        let shuffled = writer.builder.node(&format!("{name}/shuffled"), "Transpose", &[&divided, &order], attributes);
        let [height, width, channels] = [height, width, channels].map(i32_of);
        Ok(pb::Held::image(writer.reshape(name, &shuffled, &[-1, height?, width?, channels?])?))
    }
}
