//! What the workers of a group do so that their networks stay one: each sees its own images, and
//! what was learnt and tracked becomes that of all.

use super::Network;
use crate::quantizer::Merging;
use crate::workers::Reduction;
use pocketflow::Result;
use pocketflow::graph::Role;
use tch::{Kind, Tensor};

impl Network {
    /// Gives every worker worker 0's parameters and all that its quantizers keep and learn.
    ///
    /// # Errors
    /// A worker that does not answer; libtorch's.
    pub fn take_first(&mut self) -> Result<()> {
        let workers = self.engine.workers();
        if workers.size() > 1 {
            let parameters = (0..self.parameters.params().len()).map(|index| self.parameters.tensor(index));
            let mut tensors: Vec<Tensor> = parameters.map(Tensor::shallow_clone).collect();
            tensors.extend(self.quantizers.state(&self.graph, &self.parameters).into_values());
            tensors.extend(self.learned_tensors().into_values());
            workers.broadcast(&mut tensors)?;
        }
        self.quantize_weights()
    }

    /// Returns the tensors that move by their own images on every worker and of which the mean over
    /// the workers counts: running statistics, and what quantizers keep ([`Merging::Mean`]).
    pub fn averaged(&self) -> Vec<Tensor> {
        let params = self.parameters.params().iter().enumerate();
        let running = params.filter(|(_, param)| matches!(param.role, Role::RunningMean | Role::RunningVar));
        let running = running.map(|(index, _)| self.parameters.tensor(index).shallow_clone());
        running.chain(self.quantizers.merged(&self.graph, &self.parameters, Merging::Mean)).collect()
    }

    /// Widens the ranges that this worker tracked to those of all workers: minimum of the minima,
    /// maximum of the maxima. As all of them move a range by the same share, the result is the
    /// range of one worker that saw all the images.
    ///
    /// # Errors
    /// A worker that does not answer; libtorch's.
    pub fn widen_ranges(&self) -> Result<()> {
        let workers = self.engine.workers();
        let ranges = self.quantizers.merged(&self.graph, &self.parameters, Merging::Range);
        if workers.size() == 1 || ranges.is_empty() {
            return Ok(());
        }
        tch::no_grad(|| {
            let sign = Tensor::from_slice(&[1.0_f32, -1.0]).to_device(self.engine.device());
            let ends: Vec<Tensor> = ranges.iter().map(|range| range.narrow(0, 0, 2)).collect();
            // The largest maximum is the smallest of the negated ones.
            let mut all = [Tensor::stack(&ends, 0).to_kind(Kind::Float) * &sign];
            workers.reduce(&mut all, Reduction::Min)?;
            let all = &all[0] * &sign;
            for (index, mut end) in ends.into_iter().enumerate() {
                end.copy_(&all.get(index as i64));
            }
            Ok(())
        })
    }
}
