//! Average pooling over windows. .tflite and .pb count padding where it is an operator of its own,
//! and do not where it is SAME's; what is neither is divided by the share that counts behind the
//! pool: in .tflite with floats, since codes would be rounded twice.

use super::Export;
use crate::deployed::{Activation, Operator};
use crate::onnx::builder::{Values, int, ints};
use crate::pb::builder::{text, window};
use crate::pb::writer::{SAME, VALID, padding_mode};
use crate::tflite::build::network::Network;
use crate::tflite::model::{Kind, Padding};
use crate::{onnx, pb};
use pocketflow::graph::{AvgPool2d, Node};
use pocketflow::{Error, Result};

/// How TensorFlow says what a pool counts.
enum Counts {
    /// SAME, whose padding is not counted.
    Same,
    /// All of the padding, which is put around the image first.
    All,
    /// A share of each window, `[height, width]`.
    Share(Vec<f32>),
}

/// Where the windows of a pool lie on an image `[channels, height, width]`, and what they count:
/// padding top, left, bottom, right; windows down and to the right.
fn layout(pool: &AvgPool2d, image: [usize; 3]) -> Result<([usize; 4], [usize; 2], Counts)> {
    let windows = pool.windows(image).map_err(Error::failed)?;
    let counted = pool.counted(image).map_err(Error::failed)?;
    let pixels = AvgPool2d { count_padding: false, ..pool.clone() }.counted(image).map_err(Error::failed)?;
    let mode = padding_mode([image[1], image[2]], pool.kernel, pool.stride, windows.padding);
    let counts = match mode {
        Some(SAME) if counted == pixels => Counts::Same,
        _ if counted.iter().all(|share| *share == 1.0) => Counts::All,
        _ => Counts::Share(counted.iter().map(|share| 1.0 / share).collect()),
    };
    Ok((windows.padding, windows.count, counts))
}

impl Export for AvgPool2d {
    fn tflite(&self, network: &mut Network<'_>, operator: &Operator, from: usize, float: bool) -> Result<usize> {
        let [height, width, channels] = network.value(operator.inputs[0])?.shape;
        let (padding, [rows, columns], counts) = layout(self, [channels, height, width])?;
        let (filter, stride, activation) = (self.kernel, self.stride, Activation::None);
        let kind = |padding| Kind::AveragePool2d { filter, stride, padding, activation };
        let float = float || matches!(counts, Counts::Share(_));
        let from = if float { network.read(operator.inputs[0], true)? } else { from };
        let output = network.output(operator.output, 4, float)?;
        let image = network.builder.image(from, output)?;
        if let Counts::Same = counts {
            network.builder.operator(kind(Padding::Same), &[image], output);
            return Ok(output);
        }
        let name = &operator.name;
        let padded = match padding {
            [0, 0, 0, 0] => image,
            [top, left, bottom, right] => {
                let shape = vec![1, height + top + bottom, width + left + right, channels];
                let padded = network.builder.like(image, format!("{name}/padded"), shape);
                network.builder.zeros_around(image, padding, padded)?;
                padded
            }
        };
        let Counts::Share(factors) = counts else {
            network.builder.operator(kind(Padding::Valid), &[padded], output);
            return Ok(output);
        };
        let means = network.builder.like(output, format!("{name}/means"), vec![1, rows, columns, channels]);
        network.builder.operator(kind(Padding::Valid), &[padded], means);
        let factors = network.numbers(format!("{name}/counted"), &factors, vec![1, rows, columns, 1], true)?;
        network.builder.operator(Kind::Mul { activation }, &[means, factors], output);
        Ok(output)
    }

    fn onnx(&self, writer: &mut onnx::Writer<'_>, operator: &Operator, held: onnx::Held) -> Result<onnx::Held> {
        let name = operator.name.as_str();
        let [height, width, channels] = writer.value(operator.inputs[0])?.shape;
        let (padding, count, counts) = layout(self, [channels, height, width])?;
        let image = held.as_image(&mut writer.builder, name)?;
        let real = writer.decode(operator.inputs[0], &image, name)?;
        // All padding counts, or none; what is neither counts all, and is divided behind the pool.
        let attributes = vec![
            ints("kernel_shape", &self.kernel),
            ints("strides", &self.stride),
            ints("pads", &padding),
            int("count_include_pad", usize::from(self.count_padding)),
        ];
        let pooled = match counts {
            Counts::Share(factors) if self.count_padding => {
                let means = writer.builder.node(format!("{name}/means"), "AveragePool", &[&real], attributes);
                let shape = [1, 1, count[0], count[1]];
                let factors = writer.builder.constant(format!("{name}/counted"), Values::Floats(&factors), &shape)?;
                writer.builder.node(name.into(), "Mul", &[&means, &factors], Vec::new())
            }
            _ => writer.builder.node(name.into(), "AveragePool", &[&real], attributes),
        };
        Ok(onnx::Held::image(writer.store(operator.output, pooled)?))
    }

    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        let (name, from) = (node.name.as_str(), writer.as_image(node.inputs[0], &node.name)?);
        let (padding, count, counts) = layout(self, writer.shape(node.inputs[0]))?;
        let mode = if matches!(counts, Counts::Same) { SAME } else { VALID };
        let from = match padding {
            [0, 0, 0, 0] => from,
            _ if mode == SAME => from,
            [top, left, bottom, right] => {
                writer.pad(&format!("{name}/pad"), &from, [[top, bottom], [left, right], [0; 2]], None)?
            }
        };
        let attributes = vec![
            ("ksize", window(self.kernel[0], self.kernel[1])),
            ("strides", window(self.stride[0], self.stride[1])),
            ("padding", text(mode)),
            ("data_format", text("NHWC")),
        ];
        let Counts::Share(factors) = counts else {
            return Ok(pb::Held::image(writer.builder.node(name, "AvgPool", &[&from], attributes)));
        };
        let means = writer.builder.node(&format!("{name}/means"), "AvgPool", &[&from], attributes);
        let factors = writer.builder.floats(&format!("{name}/counted"), &factors, &[1, count[0], count[1], 1])?;
        Ok(pb::Held::image(writer.builder.node(name, "Mul", &[&means, &factors], Vec::new())))
    }
}
