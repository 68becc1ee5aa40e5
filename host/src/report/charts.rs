//! The geometry of the line charts in `report.html`, and the scales of every drawing. The markup,
//! and with it the escaping of every text, is the template's.

use super::curves::{Phase, Point, Series};
use super::numbers::{UNITS, compact, percent, trimmed};
use super::split_name;
use serde::Serialize;
use std::fmt::Write as _;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 548.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 264.0;

/// What a chart of the training shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    Top1,
    Loss,
}

impl Figure {
    fn of(self, point: &Point) -> f64 {
        match self {
            Self::Top1 => point.top1,
            Self::Loss => point.loss,
        }
    }

    fn text(self, value: f64) -> String {
        match self {
            Self::Top1 => percent(value),
            Self::Loss if value.is_finite() => format!("{value:.4}"),
            Self::Loss => "n/a".into(),
        }
    }
}

/// A line chart, in its own pixels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chart {
    width: f64,
    height: f64,
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
    pub y_ticks: Vec<Tick>,
    pub x_ticks: Vec<Tick>,
    pub bands: Vec<Band>,
    pub lines: Vec<Path>,
    pub columns: Vec<Column>,
    pub spots: Vec<Spot>,
    reference: Option<Tick>,
    pub legend: Vec<Key>,
}

/// A place on an axis and its text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tick {
    pub at: f64,
    pub text: String,
}

/// The stretch of one phase.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Band {
    x: f64,
    width: f64,
    /// Empty where it would not fit.
    name: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Path {
    pub class: String,
    pub path: String,
}

/// What shows up under the pointer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Column {
    pub x: f64,
    pub width: f64,
    pub center: f64,
    pub text: String,
    pub dots: Vec<Dot>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Dot {
    pub class: String,
    pub y: f64,
}

/// A point by itself, with a text under the pointer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spot {
    pub class: &'static str,
    pub x: f64,
    pub y: f64,
    /// Has a ring around it.
    pub ringed: bool,
    /// Beside it; may be empty.
    pub label: String,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Key {
    pub class: String,
    pub name: String,
}

/// Linear, from a range of values to a range of pixels.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    from: (f64, f64),
    to: (f64, f64),
}

impl Scale {
    pub fn new(from: (f64, f64), to: (f64, f64)) -> Self {
        Self { from, to }
    }

    /// The pixel of a value, to a tenth.
    pub fn at(&self, value: f64) -> f64 {
        let share = (value - self.from.0) / (self.from.1 - self.from.0);
        tenth(self.to.0 + share * (self.to.1 - self.to.0))
    }
}

pub fn tenth(pixels: f64) -> f64 {
    (pixels * 10.0).round() / 10.0
}

/// Round numbers, about `count`, the first at or below `low` and the last at or above `high`. Never
/// empty; for a range that is no range, one around its value.
pub fn ticks(low: f64, high: f64, count: usize) -> Vec<f64> {
    let (low, high) = match (low.is_finite() && high.is_finite(), high - low) {
        (false, _) => (0.0, 1.0),
        (true, span) if span > 1e-9 * low.abs().max(1e-9) => (low, high),
        _ => (low - low.abs().max(1e-3) * 0.5, low + low.abs().max(1e-3) * 0.5),
    };
    let rough = (high - low) / count.max(1) as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough).unwrap_or(10.0) * power;
    let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
    (0..=(last - first) as usize).map(|index| (first + index as f64) * step).collect()
}

/// As [`ticks`] for counts of bytes, round in their unit, with the text of each.
pub fn byte_ticks(low: f64, high: f64, count: usize) -> Vec<(f64, String)> {
    let power = ((high.max(1.0).log2() / 10.0).floor() as usize).min(UNITS.len() - 1);
    let unit = 1024_f64.powi(power as i32);
    let text = |value: f64| if value == 0.0 { "0".into() } else { format!("{} {}", trimmed(value, 2), UNITS[power]) };
    ticks(low / unit, high / unit, count).into_iter().map(|value| (value * unit, text(value))).collect()
}

/// The curves of one figure over all phases, one after the other; `None` where there is not a
/// single point. `reference`: the value of the full-precision parent, drawn as a dashed line.
pub fn training(phases: &[Phase], figure: Figure, reference: Option<f64>) -> Option<Chart> {
    let all = || phases.iter().flat_map(|phase| phase.train.iter().chain(phase.evaluations.iter().flat_map(|e| &e.1)));
    let values = || all().map(|point| figure.of(point)).chain(reference).filter(|value| value.is_finite());
    all().next()?;
    let y_values = ticks(values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max), 5);
    let y_text = |value: f64| match figure {
        Figure::Top1 => format!("{} %", trimmed(value * 100.0, 1)),
        Figure::Loss => compact(value),
    };
    let total: f64 = phases.iter().map(Phase::epochs).sum();
    let total = if total > 0.0 { total } else { 1.0 };
    let mut chart = Chart::empty();
    let y = chart.y_axis(&y_values, y_text);
    chart.reference = reference
        .filter(|value| value.is_finite())
        .map(|value| Tick { at: y.at(value), text: format!("full precision {}", figure.text(value)) });
    let every = ticks(0.0, total, 7).get(1).copied().unwrap_or(1.0);
    let mut before = 0.0;
    for phase in phases {
        let epochs = phase.epochs();
        let x = Scale::new((-before, total - before), (LEFT, RIGHT));
        chart.bands.push(Band::new(x.at(0.0), x.at(epochs), &phase.name));
        // The 0 of a later phase would stand on the last number of the one before; so may a number
        // close to the end.
        let first = usize::from(before > 0.0);
        let marks = (first..).map(|index| index as f64 * every).take_while(|epoch| *epoch <= epochs + 1e-9);
        chart.x_ticks.extend(marks.map(|epoch| Tick { at: x.at(epoch), text: trimmed(epoch, 2) }));
        chart.curve("train", &phase.train, &x, &y, figure);
        for (split, points) in &phase.evaluations {
            chart.curve(class(split), points, &x, &y, figure);
        }
        chart.columns.extend(columns(phase, &x, &y, figure));
        before += epochs;
    }
    Some(chart)
}

/// The curve of one other figure, by step.
pub fn other(series: &Series) -> Option<Chart> {
    let finite = || series.points.iter().filter(|(step, value)| step.is_finite() && value.is_finite());
    let (first, last) = (finite().next()?, finite().next_back()?);
    let fold = |start: f64, pick: fn(f64, f64) -> f64| finite().map(|(_, value)| *value).fold(start, pick);
    let y_values = ticks(fold(f64::INFINITY, f64::min), fold(f64::NEG_INFINITY, f64::max), 4);
    let x = Scale::new((first.0, if last.0 > first.0 { last.0 } else { first.0 + 1.0 }), (LEFT, RIGHT));
    let mut chart = Chart::empty();
    let y = chart.y_axis(&y_values, compact);
    let marks = ticks(first.0, last.0, 6).into_iter().filter(|step| (first.0..=last.0).contains(step));
    chart.x_ticks = marks.map(|step| Tick { at: x.at(step), text: trimmed(step, 1) }).collect();
    let path = polyline(finite().map(|(step, value)| (x.at(*step), y.at(*value))));
    chart.lines.push(Path { class: "eval".into(), path });
    let centers: Vec<f64> = finite().map(|(step, _)| x.at(*step)).collect();
    let points: Vec<_> = finite().collect();
    chart.columns = spans(&centers, LEFT, RIGHT)
        .map(|(index, from, to)| Column {
            x: from,
            width: tenth(to - from),
            center: centers[index],
            text: format!("step {}: {}", trimmed(points[index].0, 0), compact(points[index].1)),
            dots: vec![Dot { class: "eval".into(), y: y.at(points[index].1) }],
        })
        .collect();
    Some(chart)
}

impl Band {
    pub fn new(from: f64, to: f64, name: &str) -> Self {
        let fits = to - from > 7.0 * name.chars().count() as f64 + 8.0;
        Self { x: from, width: tenth(to - from), name: if fits { name.into() } else { String::new() } }
    }
}

impl Chart {
    /// A frame with nothing in it.
    pub fn empty() -> Self {
        Self {
            width: WIDTH,
            height: HEIGHT,
            left: LEFT,
            right: RIGHT,
            top: TOP,
            bottom: BOTTOM,
            y_ticks: Vec::new(),
            x_ticks: Vec::new(),
            bands: Vec::new(),
            lines: Vec::new(),
            columns: Vec::new(),
            spots: Vec::new(),
            reference: None,
            legend: Vec::new(),
        }
    }

    /// Vertical, from the lowest of round numbers at the bottom to the highest at the top; marks
    /// them on the axis.
    pub fn y_axis(&mut self, values: &[f64], text: impl Fn(f64) -> String) -> Scale {
        let ends = (values.first().copied().unwrap_or(0.0), values.last().copied().unwrap_or(1.0));
        let y = Scale::new(ends, (self.bottom, self.top));
        self.y_ticks = values.iter().map(|value| Tick { at: y.at(*value), text: text(*value) }).collect();
        y
    }

    fn curve(&mut self, class: &str, points: &[Point], x: &Scale, y: &Scale, figure: Figure) {
        let finite = points.iter().filter(|point| point.epoch.is_finite() && figure.of(point).is_finite());
        let path = polyline(finite.map(|point| (x.at(point.epoch), y.at(figure.of(point)))));
        if path.is_empty() {
            return;
        }
        self.lines.push(Path { class: class.into(), path });
        if !self.legend.iter().any(|key| key.class == class) {
            let name = match class {
                "train" => "training",
                "eval" => "test images",
                "val" => "validation images",
                _ => "other images",
            };
            self.legend.push(Key { class: class.into(), name: name.into() });
        }
    }
}

/// One column for every evaluation, or for every training point where nothing was evaluated, each
/// as wide as up to the middle of the next.
fn columns(phase: &Phase, x: &Scale, y: &Scale, figure: Figure) -> Vec<Column> {
    let good = |point: &&Point| point.epoch.is_finite() && figure.of(point).is_finite();
    let mut epochs: Vec<f64> = phase.evaluations.iter().flat_map(|e| &e.1).filter(good).map(|p| p.epoch).collect();
    epochs.sort_by(f64::total_cmp);
    epochs.dedup();
    if epochs.is_empty() {
        epochs = phase.train.iter().filter(good).map(|point| point.epoch).collect();
    }
    let centers: Vec<f64> = epochs.iter().map(|epoch| x.at(*epoch)).collect();
    let column = |(index, from, to): (usize, f64, f64)| {
        let epoch = epochs[index];
        let mut text = format!("{}, epoch {}", phase.name, trimmed(epoch, 2));
        let mut dots = Vec::new();
        let near = |a: &&Point, b: &&Point| (a.epoch - epoch).abs().total_cmp(&(b.epoch - epoch).abs());
        if let Some(point) = phase.train.iter().filter(good).min_by(near) {
            let _ = write!(text, "\ntraining {}", figure.text(figure.of(point)));
        }
        for (split, points) in &phase.evaluations {
            if let Some(point) = points.iter().filter(good).find(|point| point.epoch == epoch) {
                let _ = write!(text, "\n{} {}", split_name(split), figure.text(figure.of(point)));
                dots.push(Dot { class: class(split).into(), y: y.at(figure.of(point)) });
            }
        }
        Column { x: from, width: tenth(to - from), center: centers[index], text, dots }
    };
    spans(&centers, x.at(0.0), x.at(phase.epochs())).map(column).collect()
}

/// Index and stretch of each centre: from half-way to the one before to half-way to the next.
pub fn spans(centers: &[f64], first: f64, last: f64) -> impl Iterator<Item = (usize, f64, f64)> {
    (0..centers.len()).map(move |index| {
        let from = index.checked_sub(1).map_or(first, |before| (centers[before] + centers[index]) / 2.0);
        let to = centers.get(index + 1).map_or(last, |next| (centers[index] + next) / 2.0);
        (index, tenth(from), tenth(to.max(from)))
    })
}

pub fn polyline(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut path = String::new();
    for (x, y) in points {
        let _ = write!(path, "{}{x} {y}", if path.is_empty() { 'M' } else { 'L' });
    }
    path
}

/// The style of a split's curve.
fn class(split: &str) -> &'static str {
    match split {
        "eval" | "test" => "eval",
        "val" | "validation" => "val",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(0.0, 1.0, 5), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(ticks(0.31, 0.868, 5).first(), Some(&0.2));
        assert_eq!(ticks(0.0, 35.0, 7)[1], 5.0);
        assert!(ticks(f64::INFINITY, f64::NEG_INFINITY, 5).len() > 1);
        assert!(ticks(2.0, 2.0, 5).len() > 1);
    }

    #[test]
    fn bytes_are_marked_in_one_unit() {
        let texts = |low, high| byte_ticks(low, high, 3).into_iter().map(|tick| tick.1).collect::<Vec<_>>();
        assert_eq!(texts(0.0, 1500.0), ["0", "0.5 KiB", "1 KiB", "1.5 KiB"]);
        assert_eq!(texts(83_000.0, 140_000.0), ["80 KiB", "100 KiB", "120 KiB", "140 KiB"]);
        assert_eq!(texts(0.0, 40.0), ["0", "20 B", "40 B"]);
    }

    #[test]
    fn a_phase_of_one_evaluation_is_a_chart_too() {
        let point = Point { epoch: 0.0, loss: 1.0, top1: f64::NAN };
        let phase = Phase { name: "p".into(), train: Vec::new(), evaluations: vec![("eval".into(), vec![point])] };
        assert_eq!(training(std::slice::from_ref(&phase), Figure::Loss, None).unwrap().columns.len(), 1);
        assert_eq!(training(&[phase], Figure::Top1, Some(0.9)).unwrap().columns.len(), 0);
        assert_eq!(training(&[], Figure::Top1, Some(0.9)), None);
    }

    proptest! {
        #[test]
        fn ticks_enclose_the_range(low in -1e6..1e6, span in 0.0..1e6, count in 1_usize..12) {
            let ticks = ticks(low, low + span, count);
            prop_assert!((2..=2 * count + 4).contains(&ticks.len()), "{:?}", ticks);
            let slack = 1e-6 * (low.abs() + span + 1.0);
            prop_assert!(ticks[0] <= low + slack && ticks[ticks.len() - 1] >= low + span - slack, "{:?}", ticks);
        }
    }
}
