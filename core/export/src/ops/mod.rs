//! Operators on their way into files, one file each: integers where a format has them, and each
//! format's words. What they have in common is in `core/src/ops`, under the same names.

mod add;
mod add_constant;
mod avg_pool;
mod batch_norm;
mod channel_shuffle;
mod concat;
mod conv2d;
mod dropout;
mod flatten;
mod global_avg_pool;
mod global_max_pool;
mod hard_sigmoid;
mod hard_swish;
mod input;
mod leaky_relu;
mod linear;
mod max_pool;
mod max_pool_2d;
mod mul;
mod pad;
mod pad_shortcut;
mod prelu;
mod relu;
mod relu6;
mod sigmoid;
mod silu;
mod slice;
mod softmax;
mod tanh;

use crate::deployed::lowering::{Lowering, Weighed};
use crate::deployed::{Activation, Grid, Operator};
use crate::interpret::kernel::Kernel;
use crate::interpret::site::Site;
use crate::tflite::build::network::Network;
use crate::{onnx, pb};
use pocketflow::graph::{self, Node, NodeId, Op};
use pocketflow::{Error, Result};

/// An operator of .tflite files, on each value alone and without options, that
/// [`Kind`](crate::tflite::model::Kind) has no name for.
pub(crate) struct Builtin {
    /// Of the format's list of operators.
    pub code: i32,
    /// The lowest version that takes codes.
    pub version_for_codes: i32,
    /// Makes the reference interpreter's kernel.
    pub compile: fn(&Site<'_>) -> Result<Box<dyn Kernel>>,
}

/// How an operator gets into files. A format that has no word for it says so in an error.
pub(crate) trait Export {
    /// What .tflite files call it.
    fn builtin() -> Option<Builtin>
    where
        Self: Sized,
    {
        None
    }

    /// The function that it is where it ends the operator before it.
    fn activation(&self) -> Activation {
        Activation::None
    }

    /// What node `id` is in a deployed network, with its weights. `input`: the grid of what it
    /// reads, where it is to compute with integers.
    ///
    /// # Errors
    /// What a deployed network cannot compute.
    fn lower(&self, lowering: &Lowering<'_>, id: NodeId, _input: Option<Grid>) -> Result<(Op, Option<Weighed>)> {
        Ok((lowering.op(id).clone(), None))
    }

    /// The numbers that an operator without weights computes with, if it has some.
    ///
    /// # Errors
    /// Parameters that are missing or not finite.
    fn constants(&self, _: &Lowering<'_>, _: NodeId) -> Result<Vec<f32>> {
        Ok(Vec::new())
    }

    /// Writes it to a .tflite file; gives the tensor that it computes. `from`: the tensor of what
    /// it reads first. `float`: whether it computes with floats.
    ///
    /// # Errors
    /// What the format cannot express.
    fn tflite(&self, _: &mut Network<'_>, _: &Operator, _from: usize, _float: bool) -> Result<usize> {
        Err(Error::failed("the format has no operator for it"))
    }

    /// Writes it to an .onnx file; gives what holds the codes, or floats, of its value. `held`:
    /// what holds those of what it reads first.
    ///
    /// # Errors
    /// What the format cannot express.
    fn onnx(&self, _: &mut onnx::Writer<'_>, _: &Operator, _held: onnx::Held) -> Result<onnx::Held> {
        Err(Error::failed("the format has no operator for it"))
    }

    /// Writes it to a .pb file, without the grid of its value.
    ///
    /// # Errors
    /// What the format cannot express.
    fn pb(&self, _: &mut pb::Writer<'_>, _: &Node) -> Result<pb::Held> {
        Err(Error::failed("the format has no operator for it"))
    }
}

macro_rules! exports {
    ($($name:ident),*) => {
        /// An operator's way into files.
        pub(crate) fn export(op: &Op) -> &dyn Export {
            match op { $(Op::$name(op) => op),* }
        }

        /// The operator of ours that .tflite files call that.
        pub(crate) fn builtin(code: i32) -> Option<Builtin> {
            [$(<graph::$name as Export>::builtin()),*].into_iter().flatten().find(|builtin| builtin.code == code)
        }
    };
}

pocketflow::for_each_operator!(exports);
