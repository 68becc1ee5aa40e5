//! Exported files in the runtimes that people use: LiteRT for .tflite, ONNX Runtime for .onnx,
//! loaded from the libraries that the user has installed; and the exact reference interpreter for
//! .tflite, which needs none.
//!
//! | module | what it holds |
//! |---|---|
//! | [`open`](mod@open) | a file and the runtime for it |
//! | [`io`] | pixels to input bytes, output bytes to logits, the same for every runtime |
//! | [`litert`], [`onnxruntime`], [`reference`](mod@reference) | the runtimes |
//! | [`find`](mod@find) | where a runtime's library is |
//! | [`precision`] | the session option that makes ONNX Runtime's sums exact, and where it matters |
//! | [`measure`] | how long an image takes |

#![deny(unsafe_code)]

mod ffi;
pub mod find;
pub mod io;
pub mod litert;
pub mod measure;
pub mod onnxruntime;
pub mod open;
pub mod precision;
pub mod reference;
mod tflite;

use pocketflow::Result;

pub use find::LibraryPaths;
pub use io::{Io, Normalisation};
pub use open::{Choice, Opened, open};
pub use precision::Precision;

/// A model that is ready to run, one image at a time.
pub trait Runtime: Send {
    /// The runtime with its version: `LiteRT 2.3.0 (XNNPACK)`.
    fn name(&self) -> &str;

    /// What goes in and comes out.
    fn io(&self) -> &Io;

    /// The network on raw tensors, one slice for each of `io().inputs`, little endian; the bytes of
    /// each of `io().outputs`.
    ///
    /// # Errors
    /// Another number of inputs or other sizes; what the runtime reports.
    fn run_raw(&mut self, inputs: &[&[u8]]) -> Result<Vec<Vec<u8>>>;

    /// One image: pixels `[height, width, channels]`, 0 to 255. The first output's real numbers
    /// replace `logits`.
    ///
    /// # Errors
    /// A network that does not take one image; pixels of another size; what the runtime reports.
    fn infer(&mut self, pixels: &[u8], logits: &mut Vec<f32>) -> Result<()> {
        let input = self.io().encode(pixels)?;
        let outputs = self.run_raw(&[&input])?;
        self.io().decode(&outputs, logits)
    }
}
