//! From the lines of `metrics.jsonl` to curves: the events sorted by phase and split, thinned to
//! what a drawing can show.

use super::metrics::Line;
use pocketflow::job::Event;

/// Points of one training curve at most: a chart is some 500 pixels wide.
const POINTS: usize = 240;

/// Loss and accuracy at a moment of training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub epoch: f64,
    pub loss: f64,
    /// Fraction 0–1.
    pub top1: f64,
}

/// One stage of the run, by epochs from its own start.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Phase {
    pub name: String,
    pub train: Vec<Point>,
    /// By split, in the order of their first evaluation.
    pub evaluations: Vec<(String, Vec<Point>)>,
}

/// Another figure, by step.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub phase: String,
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

impl Phase {
    /// Epochs from the start to the last point.
    pub fn epochs(&self) -> f64 {
        let evaluations = self.evaluations.iter().flat_map(|(_, points)| points);
        self.train.iter().chain(evaluations).map(|point| point.epoch).fold(0.0, f64::max)
    }

    /// The last point of a split; of training for `None`.
    fn last(&self, split: Option<&str>) -> Option<&Point> {
        match split {
            None => self.train.last(),
            Some(split) => {
                self.evaluations.iter().find(|(name, _)| name == split).and_then(|(_, points)| points.last())
            }
        }
    }

    /// The points of a split; of training for `None`.
    fn of(&mut self, split: Option<&str>) -> &mut Vec<Point> {
        let Some(split) = split else { return &mut self.train };
        let at = self.evaluations.iter().position(|(name, _)| name == split).unwrap_or_else(|| {
            self.evaluations.push((split.to_owned(), Vec::new()));
            self.evaluations.len() - 1
        });
        &mut self.evaluations[at].1
    }
}

/// The phases that have curves, in the order of their start. A phase whose epochs start over (each
/// roll-out of a search trains anew) counts as another one.
pub fn phases(lines: &[Line]) -> Vec<Phase> {
    let mut phases: Vec<Phase> = Vec::new();
    for line in lines {
        let (phase, split, point) = match &line.event {
            Event::Step { phase, epoch, loss, top1, .. } => {
                (phase, None, Point { epoch: *epoch, loss: *loss, top1: *top1 })
            }
            Event::Evaluation { phase, split, epoch, loss, top1, .. } => {
                (phase, Some(split.as_str()), Point { epoch: *epoch, loss: *loss, top1: *top1 })
            }
            _ => continue,
        };
        let open = phases.iter().rposition(|open| open.name == *phase);
        let goes_on = |at: &usize| phases[*at].last(split).is_none_or(|last| last.epoch <= point.epoch);
        let at = open.filter(goes_on).unwrap_or_else(|| {
            phases.push(Phase { name: phase.clone(), ..Phase::default() });
            phases.len() - 1
        });
        phases[at].of(split).push(point);
    }
    for phase in &mut phases {
        phase.train = thinned(&phase.train);
    }
    phases
}

/// All other figures, by phase and name; those of a single point are no curve and left out.
pub fn series(lines: &[Line]) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    for line in lines {
        let Event::Scalar { phase, name, step, value } = &line.event else { continue };
        let point = (*step as f64, *value);
        match all.iter_mut().find(|series| series.phase == *phase && series.name == *name) {
            Some(series) => series.points.push(point),
            None => all.push(Series { phase: phase.clone(), name: name.clone(), points: vec![point] }),
        }
    }
    all.retain(|series| series.points.len() > 1);
    for series in &mut all {
        let stride = series.points.len().div_ceil(POINTS);
        series.points = series.points.chunks(stride).map(mean).collect();
    }
    all
}

/// The means of equally many neighbours.
fn thinned(points: &[Point]) -> Vec<Point> {
    let stride = points.len().div_ceil(POINTS).max(1);
    let reduce = |chunk: &[Point]| {
        let of = |get: fn(&Point) -> f64| chunk.iter().map(get).sum::<f64>() / chunk.len() as f64;
        Point { epoch: of(|point| point.epoch), loss: of(|point| point.loss), top1: of(|point| point.top1) }
    };
    points.chunks(stride).map(reduce).collect()
}

fn mean(points: &[(f64, f64)]) -> (f64, f64) {
    let sum = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
    (sum.0 / points.len() as f64, sum.1 / points.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(phase: &str, epoch: f64) -> Line {
        let event = Event::Step {
            phase: phase.into(),
            step: 0,
            epoch,
            loss: epoch,
            top1: 0.5,
            lrn_rate: 0.1,
            images_per_second: 1.0,
        };
        Line { time: 0.0, event }
    }

    #[test]
    fn a_phase_that_starts_over_is_another() {
        let evaluation = |epoch| {
            let (phase, split) = ("tune".into(), "val".into());
            Line {
                time: 0.0,
                event: Event::Evaluation { phase, split, step: 0, epoch, loss: 1.0, top1: 0.5, top5: 1.0 },
            }
        };
        // An evaluation at epoch 0, as a baseline, may come before the steps.
        let lines = [
            evaluation(0.0),
            step("tune", 1.0),
            evaluation(1.0),
            step("other", 1.0),
            step("tune", 2.0),
            step("tune", 0.5),
        ];
        let phases = phases(&lines);
        let shape: Vec<_> =
            phases.iter().map(|phase| (phase.name.as_str(), phase.train.len(), phase.epochs())).collect();
        assert_eq!(shape, [("tune", 2, 2.0), ("other", 1, 1.0), ("tune", 1, 0.5)]);
        assert_eq!(phases[0].evaluations[0].1.len(), 2);
    }

    #[test]
    fn thinning_keeps_the_mean() {
        let lines: Vec<_> = (0..9600).map(|index| step("a", f64::from(index))).collect();
        let train = &phases(&lines)[0].train;
        assert_eq!(train.len(), POINTS);
        assert_eq!(train[0].loss, 19.5);
        assert_eq!(train.iter().map(|point| point.loss).sum::<f64>() / POINTS as f64, 4799.5);
    }
}
