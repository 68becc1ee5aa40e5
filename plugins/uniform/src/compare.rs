//! The comparison at the end of a search: every allocation found gets the same fine-tuning without
//! the validation images, and the best on these is taken.

use crate::options::Options;
use crate::uniform::{child, training};
use pocketflow::dataset::Split;
use pocketflow::quant::QuantPlan;
use pocketflow::report::search::{Candidate, SearchReport};
use pocketflow::{Error, ErrorKind, Result};
use pocketflow_search::search::allocation_plan;
use pocketflow_torch::evaluate::evaluate;
use pocketflow_torch::parent;
use pocketflow_torch::train::{Training, train_on};
use pocketflow_torch::workflow::{Parent, Workflow};
use std::collections::BTreeMap;

/// What candidates are compared on.
pub struct Comparison<'a> {
    pub work: &'a Workflow<'a>,
    pub parent: &'a Parent,
    pub options: &'a Options,
}

impl Comparison<'_> {
    /// Fills in how good the candidates are after fine-tuning, and which is taken:
    /// [`SearchReport::best`]. A single candidate is taken as it is, and without fine-tuning the
    /// accuracy before it decides. A candidate whose fine-tuning fails (it diverges) counts as
    /// nothing right.
    ///
    /// # Errors
    /// No candidates; the training's, if it fails for all.
    pub fn choose(&self, report: &mut SearchReport) -> Result<Candidate> {
        if report.candidates.len() > 1 && self.options.epochs > 0.0 {
            let mut known: BTreeMap<Vec<u32>, f64> = BTreeMap::new();
            let mut failure = None;
            for index in 0..report.candidates.len() {
                let candidate = &report.candidates[index];
                let top1 = match known.get(&candidate.bits) {
                    Some(top1) => *top1,
                    None => match self.tuned(report, candidate) {
                        Err(error) if error.kind() == ErrorKind::Failed => {
                            self.work.job.warn(format!("`{}` is out of the comparison: {error}", candidate.method));
                            failure = Some(error);
                            0.0
                        }
                        other => other?,
                    },
                };
                known.insert(candidate.bits.clone(), top1);
                report.candidates[index].top1_after = Some(top1);
            }
            if let Some(failure) = failure.filter(|_| known.values().all(|top1| *top1 == 0.0)) {
                return Err(failure);
            }
        }
        let best = report.best().cloned().ok_or_else(|| Error::failed("the search found no allocation"))?;
        for candidate in &report.candidates {
            let Candidate { method, top1_before, top1_after, bytes, .. } = candidate;
            let after = top1_after.map(|top1| format!(", {:.2} % after", 100.0 * top1)).unwrap_or_default();
            let taken = if *method == best.method { ": taken" } else { "" };
            let before = 100.0 * top1_before;
            self.work.job.note(format!("`{method}`: {before:.2} % before fine-tuning{after}, {bytes} bytes{taken}"));
        }
        report.chosen.clone_from(&best.method);
        Ok(best)
    }

    /// The plan that gives each layer a candidate's bits.
    pub fn plan(&self, report: &SearchReport, candidate: &Candidate) -> QuantPlan {
        let Options { quantization, search, .. } = self.options;
        allocation_plan(&self.parent.model.graph, quantization, search, &report.layers, &candidate.bits)
    }

    fn tuned(&self, report: &SearchReport, candidate: &Candidate) -> Result<f64> {
        let work = self.work;
        let mut network = child(work, self.parent, &self.plan(report, candidate), self.options)?;
        let phase = format!("uniform-{}", candidate.method);
        let teacher = parent::teacher(&work.engine, work.job)?;
        let training = Training {
            teacher: teacher.as_ref().map(|(teacher, with)| (teacher, *with)),
            ..training(&phase, (&work.recipe, &self.parent.model.graph), self.options)
        };
        train_on(&mut network, work.job, &training, (Split::Fit, Split::Val))?;
        Ok(evaluate(&network, work.job, Split::Val)?.top1)
    }
}
