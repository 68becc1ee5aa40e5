//! The whole search: uniform bits, the exact solver, the agent, each at the same budget; judged
//! alike, resumed exactly.

use crate::budget::{BitBudget, BudgetError};
use crate::evaluator::{self, Evaluator, RANGE_BYTES};
use crate::knapsack::minimise;
use crate::options::{Method, Options};
use crate::plan::BitPlan;
use crate::quantization::Quantization;
use crate::reward::Judge;
use crate::rollout::{Plan, Rollout, Search, SearchState, space};
use crate::sensitivity::measure;
use crate::state::{self, State};
use crate::tune::Tuning;
use pocketflow::checkpoints::{Checkpoints, Found};
use pocketflow::dataset::Split;
use pocketflow::dataset::options::DatasetOptions;
use pocketflow::graph::Graph;
use pocketflow::job::{Event, Job};
use pocketflow::model::Model;
use pocketflow::option::HostOptions;
use pocketflow::packing::packed_len;
use pocketflow::quant::QuantPlan;
use pocketflow::report::search::{Candidate, FrontPoint, RolloutReport, SearchReport, Sensitivity};
use pocketflow::{Error, Result};
use pocketflow_torch::checkpoint::share;
use pocketflow_torch::engine::Engine;
use pocketflow_torch::images::ImageSet;
use pocketflow_torch::network::{Network, Statistics};
use std::path::Path;
use std::time::Instant;

/// The phase's name in progress and curves.
pub const PHASE: &str = "search";
/// Of the agent's allocations, those that get the whole tuning at the end.
const FINALISTS: usize = 5;

/// The budget of a search, and those of the front.
pub struct Budgets {
    /// What the search is asked for.
    pub main: BitBudget,
    /// Bits of a weight, and what they come to.
    pub front: Vec<(f64, BitBudget)>,
}

/// What can be wrong is found here, before anything is trained. `trains`: what is found is
/// fine-tuned without the validation images. `blame` puts why there is no budget into the words of
/// the learner's options: that of the search, or of the front the one of so many bits.
///
/// # Errors
/// No validation images, or too few others to train on; a budget that the net's layers cannot keep;
/// an agent that there is not, or whose settings do not go with the search.
pub fn budgets(
    job: &Job,
    graph: &Graph,
    quantization: &Quantization,
    options: &Options,
    trains: bool,
    blame: &dyn Fn(BudgetError, Option<f64>) -> Error,
) -> Result<Budgets> {
    let info = job.dataset.info();
    let (judged, fitted) = (info.samples(Split::Val), info.samples(Split::Fit));
    if judged == 0 {
        return Err(job.settings.invalid(
            &DatasetOptions::nb_smpls_val(),
            "a search judges by training images that are held out: it needs some",
        ));
    }
    let batch = job.settings.get(DatasetOptions::batch_size())? as u64;
    let searches = options.methods.contains(&Method::Agent);
    if (trains || searches && options.global > 0) && fitted < batch {
        let problem =
            format!("without the {judged} validation images there are {fitted} training images, less than a batch");
        return Err(job.settings.invalid(&DatasetOptions::batch_size(), &problem));
    }
    let layers = evaluator::layers(graph, quantization)?;
    let budget = |bits| BitBudget::new(layers.clone(), options.min, options.max, bits);
    let front = options.budgets.iter().map(|bits| {
        let made = budget(*bits).map_err(|error| blame(error, Some(*bits)))?;
        Ok((*bits, made))
    });
    let front = front.collect::<Result<_>>()?;
    let budgets = Budgets { main: budget(options.equivalent_bits).map_err(|error| blame(error, None))?, front };
    if searches {
        // This agent is not used: one that does not go with the search says so before anything is
        // measured.
        let plan = plan(job, options, Vec::new())?;
        job.host.agent(&options.agent)?.prepare(&space(&budgets.main, &plan))?;
    }
    Ok(budgets)
}

/// How a search tunes networks, as far as its learner decides when it knows the net.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tuned {
    /// Adam's first learning rate, which falls to zero along half a cosine.
    pub lrn_rate: f64,
    /// Where roll-outs are tuned, all candidates are judged after the whole tuning, too; for
    /// learners that do not fine-tune them.
    pub candidates: bool,
}

/// Finds an allocation by each of the options' methods. The report holds them as candidates, in the
/// order of the methods, none chosen.
///
/// # Errors
/// [`pocketflow::ErrorKind::Interrupted`] when the host asked to stop: the search is saved and goes
/// on with `resume`. What the data set, libtorch and the disk report; an agent that fails before
/// its first reward.
pub fn search(
    (job, engine, pool): (&Job, &Engine, &ImageSet),
    parent: &Model,
    quantization: &Quantization,
    options: &Options,
    budgets: &Budgets,
    tuned: Tuned,
) -> Result<SearchReport> {
    let mut evaluator = Evaluator::new(engine, job, parent, quantization, pool)?;
    let budget = &budgets.main;
    let checkpoints = state::checkpoints(&job.run_dir);
    let found = match job.settings.get(HostOptions::resume())? {
        true => {
            share(engine.workers(), &checkpoints)?;
            State::load(&checkpoints, budget)?
        }
        false => None,
    };
    let state = match found {
        Some(Found { state, warning }) => {
            if let Some(warning) = warning {
                job.warn(warning);
            }
            state
        }
        None => State::new(budget),
    };
    let teacher = Network::from_model(engine, parent)?;
    let recipe = job.net.recipe(job.dataset.info().samples(Split::Fit));
    let tuning = Tuning {
        layerwise: options.layerwise,
        global: options.global,
        display: options.display,
        rate: tuned.lrn_rate,
        weight_decay: recipe.weight_decay,
    };
    let (images, layers) = (evaluator.images(), evaluator.layers().to_vec());
    let judge = Judge {
        evaluator: &mut evaluator,
        teacher: &teacher,
        tuning: tuning.at_most(options.short),
        best: None,
        images,
    };
    let mut run = Run { job, options, budget, tuning, judge, state, checkpoints };
    let mut report = SearchReport {
        layers: layers.iter().map(|layer| layer.name.clone()).collect(),
        params: layers.iter().map(|layer| layer.params()).collect(),
        split: "val".into(),
        images,
        equivalent_bits: options.equivalent_bits,
        bits_min: options.min,
        bits_max: options.max,
        ..SearchReport::default()
    };
    let mut found: Vec<(Method, Vec<u32>)> = Vec::new();
    for method in &options.methods {
        let bits = match method {
            Method::Uniform => budget.uniform(),
            Method::Sensitivity => minimise(&run.sensitivity()?.loss, budget)?,
            Method::Agent => {
                let starts: Vec<Vec<u32>> = found.iter().map(|(_, bits)| bits.clone()).collect();
                report.starts = starts.len().min(options.rollouts);
                match run.agent(starts)? {
                    Some(bits) => bits,
                    None => continue,
                }
            }
        };
        found.push((*method, bits));
    }
    for (method, bits) in found {
        let top1_before = run.plain(&bits)?;
        let (name, mean) = (method.name(), mean_bits(budget, &bits));
        tracing::info!("{name}: {mean:.2} bits a weight, {:.2} % before fine-tuning: {bits:?}", 100.0 * top1_before);
        let top1_after = if tuned.candidates && !run.tuning.is_none() { Some(run.tuned(&bits)?) } else { None };
        let bytes = bytes(budget, &bits);
        report.candidates.push(Candidate { method: name.into(), bits, bytes, top1_before, top1_after });
    }
    report.front = run.front(&budgets.front, &report.candidates)?;
    let State { sensitivity, search, images, .. } = run.state;
    report.sensitivity = Some(sensitivity).filter(|table| !table.loss.is_empty());
    let search = search.unwrap_or_default();
    report.first_learning = space(budget, &plan(job, options, Vec::new())?).filling;
    report.rollouts = rollouts(&search.done, &images);
    Ok(report)
}

fn plan(job: &Job, options: &Options, starts: Vec<Vec<u32>>) -> Result<Plan> {
    let Options { rollouts, random_layers, .. } = *options;
    Ok(Plan { rollouts, random_layers, seed: job.settings.get(HostOptions::seed())?, starts })
}

/// Writes the bits of a candidate as a plan that is complete. `usage` says in the file how it is
/// read.
///
/// # Errors
/// A folder that cannot be written.
pub fn write_plan(path: &Path, net: &str, report: &SearchReport, candidate: &Candidate, usage: &str) -> Result<()> {
    let weight_bits = report.layers.iter().cloned().zip(candidate.bits.iter().copied()).collect();
    let comment = format!(
        "Bits per layer of {net}, found by the search `{}` under a budget of {} bits a weight.\n{usage}",
        candidate.method, report.equivalent_bits
    );
    BitPlan { complete: true, weight_bits, ..BitPlan::default() }.write(path, &comment)
}

/// Returns the plan that gives each layer of a search its bits.
pub fn allocation_plan(
    graph: &Graph,
    quantization: &Quantization,
    options: &Options,
    layers: &[String],
    bits: &[u32],
) -> QuantPlan {
    let mut plan = quantization.plan(graph, options.max);
    for (layer, bits) in layers.iter().zip(bits) {
        if let Some(quant) = plan.weights.get_mut(layer) {
            quant.bits = *bits;
        }
    }
    plan
}

fn mean_bits(budget: &BitBudget, bits: &[u32]) -> f64 {
    let sizes = budget.layers().iter().map(|layer| layer.params() as f64);
    let sum: f64 = sizes.clone().zip(bits).map(|(size, bits)| size * f64::from(*bits)).sum();
    sum / sizes.sum::<f64>()
}

/// Of the layers' weights in the model's file.
fn bytes(budget: &BitBudget, bits: &[u32]) -> u64 {
    let layers = budget.layers().iter().zip(bits);
    layers
        .map(|(layer, bits)| {
            let ranges = (layer.overhead_bits / 8).max(RANGE_BYTES);
            packed_len(layer.params(), *bits).unwrap_or(u64::MAX).saturating_add(ranges)
        })
        .sum()
}

fn rollouts(done: &[Rollout], images: &[u64]) -> Vec<RolloutReport> {
    let mut best = f64::NEG_INFINITY;
    let each = done.iter().zip(images).map(|(rollout, images)| {
        best = best.max(rollout.reward);
        RolloutReport { bits: rollout.bits.clone(), reward: rollout.reward, best, images: *images }
    });
    each.collect()
}

/// A search under way.
struct Run<'a, 'b, 'c> {
    job: &'c Job,
    options: &'c Options,
    budget: &'c BitBudget,
    /// The whole of it; the judge has the short one.
    tuning: Tuning,
    judge: Judge<'a, 'b>,
    state: State,
    checkpoints: Checkpoints,
}

impl Run<'_, '_, '_> {
    /// Accuracy without tuning, on all validation images.
    fn plain(&mut self, bits: &[u32]) -> Result<f64> {
        self.judge.evaluator.allocate(bits)?;
        self.judge.evaluator.take_ranges()?;
        self.judge.evaluator.reestimate(Statistics::Moved)?;
        self.judge.evaluator.top1()
    }

    fn sensitivity(&mut self) -> Result<&Sensitivity> {
        let (state, checkpoints) = (&mut self.state, &self.checkpoints);
        let known = state.sensitivity.clone();
        let range = [self.options.min, self.options.max];
        let measured = measure(self.judge.evaluator, range, known, |table| {
            state.sensitivity = table.clone();
            state.save(checkpoints)
        })?;
        self.state.sensitivity = measured;
        Ok(&self.state.sensitivity)
    }

    /// Accuracy after the whole tuning, on all validation images.
    fn tuned(&mut self, bits: &[u32]) -> Result<f64> {
        let known = self.state.finals.iter().chain(&self.state.tuned).find(|(known, _)| known == bits);
        if let Some((_, top1)) = known {
            return Ok(*top1);
        }
        let tuning = self.tuning;
        let top1 = self.judge.judge(bits, &tuning, None)?.value;
        self.state.tuned.push((bits.to_vec(), top1));
        self.state.save(&self.checkpoints)?;
        Ok(top1)
    }

    /// The best allocation of the agent's roll-outs; the first of them follow `starts`. `None`: the
    /// agent failed in the first.
    fn agent(&mut self, starts: Vec<Vec<u32>>) -> Result<Option<Vec<u32>>> {
        let agent = self.job.host.agent(&self.options.agent)?;
        let plan = plan(self.job, self.options, starts)?;
        let mut search = match self.state.search.take() {
            Some(state) => Search::resume(self.budget, plan, agent, state)?,
            None => Search::new(self.budget, plan, agent)?,
        };
        let (start, done) = (Instant::now(), search.state().done.len() as u64);
        let steps = self.options.rollouts as u64;
        self.job.host.event(Event::Phase { name: PHASE.into(), steps, done });
        self.judge.best = search.state().best().map(|best| best.reward);
        while !search.is_over() {
            search.roll_out(&mut self.judge)?;
            let found = search.state();
            let same = |known: &Rollout| found.done.iter().position(|rollout| rollout.bits == known.bits);
            let met = found.done.last().filter(|last| last.known).and_then(same);
            let images = met.and_then(|index| self.state.images.get(index)).copied().unwrap_or(self.judge.images);
            self.state.images.resize(found.done.len(), images);
            self.state.search = Some(found.clone());
            self.state.save(&self.checkpoints)?;
            self.tell(found);
        }
        let found = search.state().clone();
        self.state.search = Some(found.clone());
        if let Some(failure) = &found.failure {
            let done = found.done.len();
            let kept = match done {
                0 => "it gives no allocation, and the run goes on with the others".to_owned(),
                _ => format!("the best of its {done} roll-outs is kept, and the run goes on with that"),
            };
            self.job.warn(format!("{failure}; {kept}"));
        }
        self.job.host.event(Event::PhaseEnd { name: PHASE.into(), seconds: start.elapsed().as_secs_f64() });
        if found.done.is_empty() { Ok(None) } else { self.finals(&found).map(Some) }
    }

    fn tell(&self, found: &SearchState) {
        let (Some(last), Some(best)) = (found.done.last(), found.best()) else { return };
        let (step, bits) = (found.done.len() as u64, mean_bits(self.budget, &last.bits));
        for (name, value) in [("reward", last.reward), ("best", best.reward), ("bits", bits)] {
            let (phase, name) = (PHASE.into(), name.into());
            self.job.host.event(Event::Scalar { phase, name, step, value });
        }
        let percent = |fraction: f64| 100.0 * fraction;
        let text = format!(
            "reward {:.2} %  best {:.2} %  {bits:.2} bits{}",
            percent(last.reward),
            percent(best.reward),
            if last.known { ", met before" } else { "" }
        );
        self.job.host.event(Event::Progress { phase: PHASE.into(), step, text });
    }

    /// Where roll-outs got only a part of the tuning, the best few get the whole.
    fn finals(&mut self, found: &SearchState) -> Result<Vec<u32>> {
        let none = || Error::failed("the agent's search ended without a roll-out");
        if self.judge.tuning == self.tuning {
            return found.best().map(|best| best.bits.clone()).ok_or_else(none);
        }
        let mut ranked: Vec<&Rollout> = found.done.iter().filter(|rollout| !rollout.known).collect();
        ranked.sort_by(|a, b| b.reward.total_cmp(&a.reward));
        ranked.truncate(FINALISTS);
        let name = "search-finals";
        let (start, done) = (Instant::now(), self.state.finals.len() as u64);
        self.job.host.event(Event::Phase { name: name.into(), steps: ranked.len() as u64, done });
        for rollout in ranked.iter().skip(self.state.finals.len()) {
            let tuning = self.tuning;
            let accuracy = self.judge.judge(&rollout.bits, &tuning, None)?.value;
            self.state.finals.push((rollout.bits.clone(), accuracy));
            self.state.save(&self.checkpoints)?;
            let text = format!("{:.2} %, {:.2} % after short tuning", 100.0 * accuracy, 100.0 * rollout.reward);
            let step = self.state.finals.len() as u64;
            self.job.host.event(Event::Progress { phase: name.into(), step, text });
        }
        self.job.host.event(Event::PhaseEnd { name: name.into(), seconds: start.elapsed().as_secs_f64() });
        let best = self.state.finals.iter().reduce(|best, other| if other.1 > best.1 { other } else { best });
        best.map(|(bits, _)| bits.clone()).ok_or_else(none)
    }

    /// Accuracy against size: uniform bits and the solver's at each budget, and what was found at
    /// the main one.
    fn front(&mut self, budgets: &[(f64, BitBudget)], candidates: &[Candidate]) -> Result<Vec<FrontPoint>> {
        let mut front = Vec::new();
        for (equivalent_bits, budget) in budgets {
            let mut allocations = vec![(Method::Uniform, budget.uniform())];
            if self.options.methods.contains(&Method::Sensitivity) {
                allocations.push((Method::Sensitivity, minimise(&self.sensitivity()?.loss, budget)?));
            }
            for (method, bits) in allocations {
                let top1 = self.plain(&bits)?;
                let (method, bytes) = (method.name().to_owned(), bytes(budget, &bits));
                tracing::info!(
                    "{method} at {equivalent_bits} bits: {:.2} % before fine-tuning: {bits:?}",
                    100.0 * top1
                );
                front.push(FrontPoint { equivalent_bits: *equivalent_bits, method, bits, bytes, top1 });
            }
        }
        let agent = candidates.iter().filter(|candidate| !front.is_empty() && candidate.method == Method::Agent.name());
        let points: Vec<FrontPoint> = agent
            .map(|Candidate { method, bits, bytes, top1_before, .. }| FrontPoint {
                equivalent_bits: self.options.equivalent_bits,
                method: method.clone(),
                bits: bits.clone(),
                bytes: *bytes,
                top1: *top1_before,
            })
            .collect();
        front.extend(points);
        Ok(front)
    }
}
