//! The reference interpreter of .tflite models: the arithmetic of the TensorFlow Lite
//! specification, in Rust, bit by bit.
//!
//! What it computes with int8 and uint8 equals TensorFlow Lite's own reference kernels
//! (`BUILTIN_REF`) to the last bit under [`Rounding::AsReferenceKernels`]; each operator is within
//! one step of that under [`Rounding::Once`]. LOGISTIC and TANH are tables of rounded real values,
//! as in its optimized kernels. In float32 it sums in one fixed order, the same on every machine
//! (only SOFTMAX's exponential is the platform's). It exists to check what was exported, to
//! calibrate, and to evaluate where no runtime is installed. Images go through one by one, several
//! at a time on threads.
//!
//! | module | what it holds |
//! |---|---|
//! | `fixed` | fixed-point multipliers, exponential and reciprocal: gemmlowp's arithmetic |
//! | `check`, `site`, `program` | validation, and the model as a list of kernels with shared buffers |
//! | `arithmetic`, `weights`, `window` | what the layers with weights have in common |
//! | the others | one family of operators each |

mod add;
mod arithmetic;
mod broadcast;
mod check;
mod concatenation;
mod convolution;
pub(crate) mod data;
mod depthwise;
pub(crate) mod fixed;
pub(crate) mod kernel;
mod mean;
mod moving;
mod mul;
pub(crate) mod pointwise;
mod pool;
mod program;
pub(crate) mod site;
mod slopes;
mod softmax;
mod threads;
mod transpose;
mod values;
mod weights;
mod window;

pub use data::Data;

use crate::tflite::model::{Tensor, TfliteModel};
use kernel::Scratch;
use pocketflow::{Error, Result};
use program::{Place, Program};
use std::sync::Arc;

/// How the sums of an integer layer are brought to its output's grid. The specification defines
/// real values; kernels differ in how they round them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rounding {
    /// As TensorFlow Lite's reference kernels: mostly in fixed point, rounded twice. Bit for bit
    /// theirs.
    AsReferenceKernels,
    /// The real value to the nearest code, as XNNPACK, which phones run, and as learners train.
    #[default]
    Once,
}

/// A model ready to run. A clone shares the compiled model and has buffers of its own: one for each
/// thread.
pub struct Interpreter {
    program: Arc<Program>,
    slots: Vec<Data>,
    scratch: Scratch,
}

impl Clone for Interpreter {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.program))
    }
}

impl std::fmt::Debug for Interpreter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interpreter").field("operators", &self.program.steps.len()).finish_non_exhaustive()
    }
}

impl Interpreter {
    /// Compiles a model: recomputes all shapes and compares them with the file's, checks types,
    /// quantization, indices and constants, and packs the weights.
    ///
    /// # Errors
    /// `Failed`, naming the tensor or operator, where the model contradicts itself, has an operator
    /// that is not known or one that is not done here (more than one image at a time).
    pub fn new(model: &TfliteModel) -> Result<Self> {
        Self::with_rounding(model, Rounding::default())
    }

    /// As [`Interpreter::new`], rounding as told.
    ///
    /// # Errors
    /// As there.
    pub fn with_rounding(model: &TfliteModel, rounding: Rounding) -> Result<Self> {
        Ok(Self::of(Arc::new(Program::new(model, rounding)?)))
    }

    fn of(program: Arc<Program>) -> Self {
        let slots = vec![Data::default(); program.slots];
        Self { program, slots, scratch: Scratch::default() }
    }

    /// The model's inputs and outputs as indices of tensors.
    pub fn inputs(&self) -> &[usize] {
        &self.program.inputs
    }

    /// The model's outputs as indices of tensors.
    pub fn outputs(&self) -> &[usize] {
        &self.program.outputs
    }

    /// All tensors of the model by index, without the data of constants.
    pub fn tensors(&self) -> &[Tensor] {
        &self.program.tensors
    }

    /// Runs the model on its inputs; gives its outputs.
    ///
    /// # Errors
    /// `Failed` where an input is missing or has another type or number of values than the model
    /// says.
    pub fn run(&mut self, inputs: &[Data]) -> Result<Vec<Data>> {
        self.run_watched(inputs, &mut |_, _| {})
    }

    /// [`Interpreter::run`] that shows the inputs and then every tensor as it is computed: index
    /// and values. Constants that were decoded beforehand are not among them.
    ///
    /// # Errors
    /// As of [`Interpreter::run`].
    pub fn run_watched(&mut self, inputs: &[Data], watch: &mut dyn FnMut(usize, &Data)) -> Result<Vec<Data>> {
        let program = Arc::clone(&self.program);
        if inputs.len() != program.inputs.len() {
            return Err(Error::failed(format!(
                "the model has {} inputs, {} were given",
                program.inputs.len(),
                inputs.len()
            )));
        }
        for ((tensor, slot), input) in program.inputs.iter().zip(&program.input_slots).zip(inputs) {
            expect(&program.tensors[*tensor], input)?;
            self.slots[*slot].clone_from(input);
            watch(*tensor, input);
        }
        for (step, slot) in program.steps.iter().filter_map(|step| Some((step, step.slot?))) {
            let mut output = std::mem::take(&mut self.slots[slot]);
            let activations: Vec<&Data> = step.inputs.iter().map(|(_, place)| at(&self.slots, place)).collect();
            step.kernel.run(&activations, &mut output, &mut self.scratch)?;
            watch(step.tensor, &output);
            self.slots[slot] = output;
        }
        Ok(program.output_places.iter().map(|place| at(&self.slots, place).clone()).collect())
    }

    /// Runs operator number `operator` of the model alone on activations that are given, such as
    /// another runtime computed them.
    ///
    /// # Errors
    /// `Failed` where there is no such operator or an activation does not fit.
    pub fn run_operator(&mut self, operator: usize, activations: &[&Data]) -> Result<Data> {
        let program = Arc::clone(&self.program);
        let step = program
            .steps
            .get(operator)
            .ok_or_else(|| Error::failed(format!("the model has no operator {operator}")))?;
        if activations.len() != step.inputs.len() {
            let count = step.inputs.len();
            return Err(Error::failed(format!(
                "operator {operator} reads {count} activations, {} were given",
                activations.len()
            )));
        }
        for ((tensor, _), data) in step.inputs.iter().zip(activations) {
            expect(&program.tensors[*tensor], data)?;
        }
        let mut output = Data::default();
        step.kernel.run(activations, &mut output, &mut self.scratch)?;
        Ok(output)
    }
}

fn at<'a>(slots: &'a [Data], place: &'a Place) -> &'a Data {
    match place {
        Place::Slot(slot) => &slots[*slot],
        Place::Constant(data) => data,
    }
}

/// Checks that values are of a tensor's type and as many as its shape says.
fn expect(tensor: &Tensor, data: &Data) -> Result<()> {
    let values = tensor.shape.iter().product::<usize>();
    if tensor.dtype == data.dtype() && values == data.len() {
        return Ok(());
    }
    Err(Error::failed(format!(
        "{:?} is {values} values of {:?}, {} of {:?} were given",
        tensor.name,
        tensor.dtype,
        data.len(),
        data.dtype()
    )))
}
