//! Accuracy against size: what each method made of each budget, and the Pareto front, of which none
//! is beaten in both.

use super::super::charts::{Chart, Key, Path, Scale, Spot, Tick, byte_ticks, polyline, ticks};
use super::super::numbers::{bytes, grouped, percent, trimmed};
use super::{method_class, method_key, method_name};
use pocketflow::report::search::FrontPoint;

/// Between labels, in pixels.
const APART: f64 = 30.0;

/// The chart; `None` without a point.
pub fn chart(points: &[FrontPoint]) -> Option<Chart> {
    let mut points: Vec<&FrontPoint> = points.iter().filter(|point| point.top1.is_finite()).collect();
    points.sort_by(|a, b| a.bytes.cmp(&b.bytes).then(b.top1.total_cmp(&a.top1)));
    let (smallest, largest) = (points.first()?.bytes as f64, points.last()?.bytes as f64);
    let values = || points.iter().map(|point| point.top1);
    let y_values = ticks(values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max), 5);
    let mut chart = Chart::empty();
    // Room for the labels above the highest points.
    chart.top += 14.0;
    let y = chart.y_axis(&y_values, |value| format!("{} %", trimmed(value * 100.0, 1)));
    let sizes = byte_ticks(smallest, largest, 4);
    let x = Scale::new((sizes.first()?.0, sizes.last()?.0), (chart.left, chart.right - 28.0));
    chart.x_ticks = sizes.into_iter().map(|(value, text)| Tick { at: x.at(value), text }).collect();

    let front = front(&points);
    chart.lines.push(Path { class: "front".into(), path: staircase(&front, &x, &y, chart.right) });
    chart.legend.push(Key { class: "front".into(), name: "Pareto front".into() });
    let mut methods: Vec<&str> = Vec::new();
    for point in &points {
        if !methods.contains(&point.method.as_str()) {
            methods.push(&point.method);
        }
    }
    methods.sort_by_key(|method| (rank(method), *method));
    for method in methods {
        let own = points.iter().filter(|point| point.method == method);
        let path = polyline(own.map(|point| (x.at(point.bytes as f64), y.at(point.top1))));
        chart.lines.push(Path { class: format!("method {}", method_class(method)), path });
        chart.legend.push(method_key(method));
    }
    let places: Vec<f64> = front.iter().map(|point| x.at(point.bytes as f64)).collect();
    for point in &points {
        let on_front = front.iter().position(|best| std::ptr::eq(*best, *point));
        let ringed = on_front.is_some();
        let (place, height) = (x.at(point.bytes as f64), y.at(point.top1));
        // Of points close to one another, the last is the highest: there is room above it.
        let free = |index: usize| places.get(index + 1).is_none_or(|next| next - place >= APART);
        let label = if on_front.is_some_and(free) { trimmed(point.equivalent_bits, 2) } else { String::new() };
        let class = method_class(&point.method);
        chart.spots.push(Spot { class, x: place, y: height, ringed, label, text: describe(point, ringed) });
    }
    // A point of the front is on top of what it beats.
    chart.spots.sort_by_key(|spot| spot.ringed);
    Some(chart)
}

/// Those points that no other is at least as small and as accurate as, and better in one of the
/// two. `points` are in order: smaller ones first, of one size the most accurate first.
fn front<'a>(points: &[&'a FrontPoint]) -> Vec<&'a FrontPoint> {
    let mut front: Vec<&FrontPoint> = Vec::new();
    for point in points {
        let alike = |last: &FrontPoint| last.bytes == point.bytes && last.top1 == point.top1;
        if front.last().is_none_or(|last| point.top1 > last.top1 || alike(last)) {
            front.push(point);
        }
    }
    front
}

/// The best accuracy that fits into a size.
fn staircase(front: &[&FrontPoint], x: &Scale, y: &Scale, right: f64) -> String {
    let mut corners: Vec<(f64, f64)> = Vec::new();
    for point in front {
        let (place, height) = (x.at(point.bytes as f64), y.at(point.top1));
        if let Some((_, last)) = corners.last().copied() {
            corners.push((place, last));
        }
        corners.push((place, height));
    }
    let end = corners.last().map(|(_, last)| (right, *last));
    polyline(corners.into_iter().chain(end))
}

fn describe(point: &FrontPoint, ringed: bool) -> String {
    let note = if ringed { "\non the Pareto front" } else { "" };
    format!(
        "{}, budget {} bits\n{}\n{} ({} bytes){note}",
        method_name(&point.method),
        trimmed(point.equivalent_bits, 3),
        percent(point.top1),
        bytes(point.bytes),
        grouped(point.bytes)
    )
}

/// The order of the other drawings.
fn rank(method: &str) -> usize {
    ["uniform", "sensitivity", "rl"].iter().position(|known| *known == method).unwrap_or(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(method: &str, bytes: u64, top1: f64) -> FrontPoint {
        FrontPoint {
            equivalent_bits: bytes as f64 / 1000.0,
            method: method.into(),
            bytes,
            top1,
            ..FrontPoint::default()
        }
    }

    #[test]
    fn what_is_beaten_is_not_on_the_front() {
        let points = [
            point("rl", 3000, 0.80),
            point("uniform", 2000, 0.50),
            point("rl", 2000, 0.70),
            point("sensitivity", 2000, 0.70),
            point("uniform", 4000, 0.80),
            point("uniform", 1000, f64::NAN),
            point("uniform", 5000, 0.90),
        ];
        let chart = chart(&points).unwrap();
        let on: Vec<_> = chart.spots.iter().filter(|spot| spot.ringed).map(|spot| spot.text.clone()).collect();
        assert_eq!(on.len(), 4, "{on:?}");
        assert!(on[0].starts_with("agent, budget 2 bits\n70.00 %\n1.95 KiB (2,000 bytes)"), "{on:?}");
        assert!(!on.iter().any(|text| text.contains("4,000")), "larger and no better: {on:?}");
        assert_eq!(chart.spots.len(), 6);
        let labels: Vec<_> = chart.spots.iter().map(|spot| spot.label.as_str()).filter(|l| !l.is_empty()).collect();
        assert_eq!(labels, ["2", "3", "5"], "two at one place are labelled once");
        let names: Vec<_> = chart.legend.iter().map(|key| key.name.as_str()).collect();
        assert_eq!(names, ["Pareto front", "uniform bits", "sensitivity solver", "agent"]);
    }

    #[test]
    fn one_point_is_a_chart_and_none_is_none() {
        assert_eq!(chart(&[]), None);
        assert_eq!(chart(&[point("rl", 5, f64::NAN)]), None);
        let one = chart(&[point("rl", 0, 0.5)]).unwrap();
        assert!(one.spots[0].x.is_finite() && one.spots[0].y.is_finite());
    }
}
