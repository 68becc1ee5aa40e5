//! What an operator becomes when a model is compiled, and the one way in which its inner loops use
//! wider vectors.

use super::data::{Data, Element};
use pocketflow::{Error, Result};

/// An operator with its constants, ready to run. Construction has checked every shape and type.
pub(crate) trait Kernel: Send + Sync {
    /// From the operator's activations, in their order, to its output. Writes the output whole,
    /// whatever it held.
    fn run(&self, inputs: &[&Data], output: &mut Data, scratch: &mut Scratch) -> Result<()>;
}

/// Memory that kernels use while they run: images with their borders.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub floats: Vec<f32>,
    pub integers: Vec<i32>,
}

/// The activation number `index`.
pub(crate) fn read<'a, T: Element>(inputs: &[&'a Data], index: usize) -> Result<&'a [T]> {
    inputs.get(index).and_then(|data| T::slice(data)).ok_or_else(|| {
        Error::failed(format!("input {index} of an operator is missing or has another type than its model says"))
    })
}

/// The output with room for `length` values; all are to be written.
pub(crate) fn write<T: Element>(output: &mut Data, length: usize) -> &mut [T] {
    let values = T::vector(output);
    values.resize(length, T::default());
    values
}

/// Defines a function twice, plain and for processors with AVX2, and calls the one that this
/// processor can run. Both give the same bits: Rust never fuses a product and a sum, so only the
/// width of the vectors differs.
macro_rules! wide {
    (fn $name:ident <$generic:ident : $bound:ident> ($($argument:ident : $type:ty),* $(,)?) $body:block) => {
        fn $name<$generic: $bound>($($argument: $type),*) {
            #[inline(always)]
            fn plain<$generic: $bound>($($argument: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn avx2<$generic: $bound>($($argument: $type),*) {
                    plain($($argument),*);
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor was just asked, and has what the function is compiled
                    // for.
                    return unsafe { avx2($($argument),*) };
                }
            }
            plain($($argument),*);
        }
    };
}
pub(crate) use wide;
