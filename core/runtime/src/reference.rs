//! .tflite files in the reference interpreter: needs no library, exact, one thread for each image.

use pocketflow::Result;
use pocketflow_export::interpret::{Data, Interpreter};
use pocketflow_export::tflite::model::TfliteModel;

use crate::io::{Io, Normalisation};
use crate::{Runtime, tflite};

/// A .tflite model in the reference interpreter.
pub struct Reference {
    io: Io,
    interpreter: Interpreter,
}

impl Reference {
    /// # Errors
    /// What the interpreter cannot run, by operator; damaged metadata.
    pub fn new(model: &TfliteModel, fallback: &Normalisation) -> Result<Self> {
        Ok(Self { io: tflite::io(model, fallback)?, interpreter: Interpreter::new(model)? })
    }
}

impl Runtime for Reference {
    fn name(&self) -> &str {
        "reference interpreter"
    }

    fn io(&self) -> &Io {
        &self.io
    }

    fn run_raw(&mut self, inputs: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        self.io.check_inputs(inputs)?;
        let given = inputs.iter().zip(&self.io.inputs);
        let data = given.map(|(bytes, info)| Data::from_bytes(info.dtype, bytes)).collect::<Result<Vec<_>>>()?;
        Ok(self.interpreter.run(&data)?.iter().map(Data::to_bytes).collect())
    }
}
