//! The hard swish: one operator in .tflite, with integers; written out in the other formats, whose
//! operators for it are younger than the versions that the files are for.

use super::{Builtin, Export};
use crate::deployed::Operator;
use crate::interpret::Rounding;
use crate::interpret::fixed::{Multiplier, divide_by_power_of_two};
use crate::interpret::kernel::Kernel;
use crate::interpret::pointwise::function;
use crate::interpret::site::{Grid, Site};
use crate::onnx::builder::Values;
use crate::tflite::build::network::Network;
use crate::tflite::model::Kind;
use crate::{onnx, pb};
use pocketflow::Result;
use pocketflow::graph::{HardSwish, Node};

/// `BuiltinOperator.HARD_SWISH`
const CODE: i32 = 117;
/// What 16 bits hold.
const ENDS: [i32; 2] = [i16::MIN as i32, i16::MAX as i32];

impl Export for HardSwish {
    fn builtin() -> Option<Builtin> {
        Some(Builtin { code: CODE, version_for_codes: 1, compile })
    }

    fn tflite(&self, network: &mut Network<'_>, operator: &Operator, from: usize, float: bool) -> Result<usize> {
        network.pointwise(Kind::Other { code: CODE }, operator, from, float)
    }

    fn onnx(&self, writer: &mut onnx::Writer<'_>, operator: &Operator, held: onnx::Held) -> Result<onnx::Held> {
        let name = operator.name.as_str();
        let real = writer.decode(operator.inputs[0], &held.tensor, name)?;
        let mut constant = |suffix: &str, value: f32| {
            writer.builder.constant(format!("{name}/{suffix}"), Values::Floats(&[value]), &[])
        };
        let (three, zero, six) = (constant("three", 3.0)?, constant("zero", 0.0)?, constant("six", 6.0)?);
        let sixth = constant("sixth", 1.0 / 6.0)?;
        let mut node = |suffix: &str, op: &str, inputs: &[&str]| {
            writer.builder.node(format!("{name}{suffix}"), op, inputs, vec![])
        };
        let shifted = node("/shifted", "Add", &[&real, &three]);
        let cut = node("/cut", "Clip", &[&shifted, &zero, &six]);
        let product = node("/product", "Mul", &[&real, &cut]);
        let result = node("", "Mul", &[&product, &sixth]);
        Ok(onnx::Held { tensor: writer.store(operator.output, result)?, row: held.row })
    }

    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        let (name, pb::Held { node: from, row }) = (&node.name, writer.held(node.inputs[0]));
        let file = &mut writer.builder;
        let three = file.floats(&format!("{name}/three"), &[3.0], &[])?;
        let sixth = file.floats(&format!("{name}/sixth"), &[1.0 / 6.0], &[])?;
        let shifted = file.node(&format!("{name}/shifted"), "AddV2", &[&from, &three], Vec::new());
        let cut = file.node(&format!("{name}/cut"), "Relu6", &[&shifted], Vec::new());
        let product = file.node(&format!("{name}/product"), "Mul", &[&from, &cut], Vec::new());
        Ok(pb::Held { node: file.node(name, "Mul", &[&product, &sixth], Vec::new()), row })
    }
}

fn real(x: f32) -> f32 {
    x * (x + 3.0).clamp(0.0, 6.0) / 6.0
}

fn compile(site: &Site) -> Result<Box<dyn Kernel>> {
    function(site, real, |input, output| {
        let fixed = Fixed::new(site, input, output)?;
        Ok(Box::new(move |code: i32| match site.rounding {
            Rounding::Once => (real(input.scale * code as f32) / output.scale).round() as i32,
            Rounding::AsReferenceKernels => fixed.apply(code),
        }))
    })
}

/// TensorFlow Lite's reference arithmetic, in 16 bits.
struct Fixed {
    /// From 128ths of the input's steps to the output's.
    output: Multiplier,
    /// From 128ths of the input's steps to a number of 16 bits that is 1 at 3.
    gate: Multiplier,
}

impl Fixed {
    fn new(site: &Site, input: Grid, output: Grid) -> Result<Self> {
        let fine = input.scale / 128.0;
        let [output, gate] = [fine / output.scale, fine / (3.0 / 32768.0)].map(|real| Multiplier::new(f64::from(real)));
        match (output, gate) {
            (Some(output), Some(gate)) if output.shift <= 0 => Ok(Self { output, gate }),
            _ => Err(site.error("its scales are too far apart")),
        }
    }

    fn apply(&self, code: i32) -> i32 {
        let fine = code * 128;
        let scaled = high_product(fine, halved(self.output.mantissa));
        let left = self.gate.shift.max(0);
        let mut gate = if left > 0 { left_shift(fine, left - 1) } else { fine };
        gate = high_product(gate, halved(self.gate.mantissa));
        gate = if left > 0 { left_shift(gate, 1) } else { divide_by_power_of_two(gate, -self.gate.shift) };
        let gate = (gate + (1 << 15)) >> 1;
        // Towards zero, unlike the other product.
        divide_by_power_of_two(gate * scaled / (1 << 15), -self.output.shift)
    }
}

/// The upper half of a mantissa of 31 bits, rounded.
fn halved(mantissa: i32) -> i32 {
    ((i64::from(mantissa) + (1 << 15)) >> 16).min(i64::from(i16::MAX)) as i32
}

/// Half the upper 16 bits of the doubled product, rounded; neither is −2¹⁵ where both are.
fn high_product(a: i32, b: i32) -> i32 {
    (a * b + (1 << 14)) >> 15
}

fn left_shift(x: i32, by: i32) -> i32 {
    (i64::from(x) << by.min(31)).clamp(i64::from(ENDS[0]), i64::from(ENDS[1])) as i32
}
