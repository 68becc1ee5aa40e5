//! The group of workers that train one network together, each on its share of every batch. All of
//! them call each of these functions in the same order; worker 0 keeps what is kept.

mod together;

pub use together::Together;

use pocketflow::Result;
use tch::{Kind, Tensor};

/// How tensors of several workers become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// The sum over all workers.
    Sum,
    /// The smallest, value by value.
    Min,
    /// The largest, value by value.
    Max,
}

/// What the workers of a group do together.
pub trait Workers: Send + Sync {
    /// Returns which worker this is, 0 to `size - 1`.
    fn rank(&self) -> u32;

    /// Returns how many workers there are.
    fn size(&self) -> u32;

    /// Replaces each tensor by what it becomes with the other workers' tensors. They are of one
    /// type.
    ///
    /// # Errors
    /// A worker that does not answer.
    fn reduce(&self, tensors: &mut [Tensor], how: Reduction) -> Result<()>;

    /// Replaces each tensor by worker 0's.
    ///
    /// # Errors
    /// As [`Workers::reduce`].
    fn broadcast(&self, tensors: &mut [Tensor]) -> Result<()>;

    /// Whether this worker keeps files and shows progress.
    fn leads(&self) -> bool {
        self.rank() == 0
    }

    /// Replaces each tensor by its mean over the workers.
    ///
    /// # Errors
    /// As [`Workers::reduce`].
    fn mean(&self, tensors: &mut [Tensor]) -> Result<()> {
        if self.size() > 1 {
            self.reduce(tensors, Reduction::Sum)?;
            for tensor in tensors {
                let _ = tensor.g_div_scalar_(f64::from(self.size()));
            }
        }
        Ok(())
    }

    /// Replaces each number by its sum over the workers.
    ///
    /// # Errors
    /// As [`Workers::reduce`].
    fn sums(&self, numbers: &mut [f64]) -> Result<()> {
        if self.size() > 1 {
            let mut tensor = [Tensor::from_slice(numbers)];
            self.reduce(&mut tensor, Reduction::Sum)?;
            tensor[0].copy_data(numbers, numbers.len());
        }
        Ok(())
    }

    /// Returns whether `value` is true for any worker.
    ///
    /// # Errors
    /// As [`Workers::reduce`].
    fn any(&self, value: bool) -> Result<bool> {
        let mut sum = [f64::from(u8::from(value))];
        self.sums(&mut sum)?;
        Ok(sum[0] > 0.0)
    }

    /// Returns worker 0's bytes.
    ///
    /// # Errors
    /// As [`Workers::reduce`].
    fn share(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        if self.size() <= 1 {
            return Ok(bytes);
        }
        let mut length = [Tensor::from_slice(&[bytes.len() as i64])];
        self.broadcast(&mut length)?;
        let length = length[0].int64_value(&[0]);
        let mut held = [match self.leads() {
            true => Tensor::from_slice(&bytes),
            false => Tensor::zeros([length], (Kind::Uint8, tch::Device::Cpu)),
        }];
        if length > 0 {
            self.broadcast(&mut held)?;
        }
        let mut shared = vec![0; length as usize];
        held[0].copy_data(&mut shared, length as usize);
        Ok(shared)
    }
}

/// A group of one worker.
pub struct Alone;

impl Workers for Alone {
    fn rank(&self) -> u32 {
        0
    }

    fn size(&self) -> u32 {
        1
    }

    fn reduce(&self, _tensors: &mut [Tensor], _how: Reduction) -> Result<()> {
        Ok(())
    }

    fn broadcast(&self, _tensors: &mut [Tensor]) -> Result<()> {
        Ok(())
    }
}
