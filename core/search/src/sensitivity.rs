//! What it costs to quantize one layer alone, at each number of bits: the loss on training images,
//! batch-norm statistics re-estimated. Added up over the layers it predicts what an allocation
//! costs, near enough for the exact solver.
//!
//! The loss is against the answers of the full-precision network, not against labels. A thousand
//! images say how far answers move to within a few percent, whatever the bits; whether they move
//! towards the labels or away from them is chance down to 3 bits and below, and a solver takes
//! every piece of luck it is offered: its allocations were worse than uniform bits.

use crate::evaluator::Evaluator;
use pocketflow::job::Event;
use pocketflow::quant::FULL_PRECISION_BITS;
use pocketflow::report::search::Sensitivity;
use pocketflow::{Error, Result};

/// The phase's name.
pub const PHASE: &str = "sensitivity";

/// Measures every layer at each number of bits from `least` to `most`; `known` are rows of an
/// earlier attempt, `save` is told after each layer.
///
/// # Errors
/// A loss that is no number; libtorch's; the host's wish to stop; what `save` reports.
pub fn measure(
    evaluator: &mut Evaluator,
    [least, most]: [u32; 2],
    known: Sensitivity,
    mut save: impl FnMut(&Sensitivity) -> Result<()>,
) -> Result<Sensitivity> {
    let layers = evaluator.layers().len();
    let columns: Vec<u32> = (least..=most).collect();
    let mut table = Sensitivity { bits: columns.clone(), loss: known.loss };
    if table.loss.len() == layers {
        return Ok(table);
    }
    let start = std::time::Instant::now();
    let job = evaluator.job();
    let host = &job.host;
    let steps = |rows: usize| (rows * columns.len()) as u64;
    let mut done = steps(table.loss.len());
    host.event(Event::Phase { name: PHASE.into(), steps: steps(layers), done });
    evaluator.full_precision()?;
    let answers = evaluator.answers()?;
    for layer in table.loss.len()..layers {
        let mut row = Vec::with_capacity(columns.len());
        for bits in &columns {
            let mut allocation = vec![FULL_PRECISION_BITS; layers];
            allocation[layer] = *bits;
            evaluator.allocate(&allocation)?;
            let loss = evaluator.divergence(&answers)?;
            if !loss.is_finite() {
                let name = &evaluator.layers()[layer].name;
                return Err(Error::failed(format!(
                    "the loss of `{name}` alone at {bits} bits is {loss}: are the parent's answers numbers?"
                )));
            }
            row.push(loss);
            done += 1;
            let text = format!("`{}` at {bits} bits: loss {:+.4}", evaluator.layers()[layer].name, row[row.len() - 1]);
            host.event(Event::Progress { phase: PHASE.into(), step: done, text });
        }
        table.loss.push(row);
        save(&table)?;
    }
    host.event(Event::PhaseEnd { name: PHASE.into(), seconds: start.elapsed().as_secs_f64() });
    Ok(table)
}
