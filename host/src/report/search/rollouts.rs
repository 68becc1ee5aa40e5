//! What the agent earned: the reward of every roll-out, the best so far, and where it began to
//! choose for itself.

use super::super::charts::{Band, Chart, Column, Dot, Key, Path, Scale, Tick, polyline, spans, tenth, ticks};
use super::super::numbers::{percent, trimmed};
use super::mean_bits;
use pocketflow::report::search::{RolloutReport, SearchReport};
use std::fmt::Write as _;

/// More places than this can not be pointed at.
const PLACES: usize = 400;

/// The chart; `None` where no roll-out has a reward that is a number.
pub fn chart(search: &SearchReport) -> Option<Chart> {
    let rollouts = &search.rollouts;
    let values =
        || rollouts.iter().flat_map(|rollout| [rollout.reward, rollout.best]).filter(|value| value.is_finite());
    rollouts.iter().find(|rollout| rollout.reward.is_finite())?;
    let y_values = ticks(values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max), 5);
    let mut chart = Chart::empty();
    // Room for the number of the last, half of which is beyond it.
    chart.right -= 6.0;
    let y = chart.y_axis(&y_values, |value| format!("{} %", trimmed(value * 100.0, 1)));
    // The first is number 1; half a place to the left and to the right is free.
    let count = rollouts.len() as f64;
    let x = Scale::new((0.5, count + 0.5), (chart.left, chart.right));
    let marks = ticks(1.0, count, 6).into_iter().map(|mark| mark.max(1.0)).filter(|mark| *mark <= count);
    chart.x_ticks = marks.map(|number| Tick { at: x.at(number), text: trimmed(number, 0) }).collect();
    chart.x_ticks.dedup_by(|a, b| a.text == b.text);
    let random = search.first_learning.min(rollouts.len());
    let boundary = x.at(random as f64 + 0.5);
    for (from, to, name) in [(chart.left, boundary, "random"), (boundary, chart.right, "learning")] {
        if to > from {
            chart.bands.push(Band::new(from, to, name));
        }
    }
    let numbered = || rollouts.iter().enumerate().map(|(index, rollout)| (index as f64 + 1.0, rollout));
    let (before, after) = (0..random, random..rollouts.len());
    for (class, name, of) in [("random", "random roll-out", before), ("learning", "roll-out of the agent", after)] {
        let part = numbered().skip(of.start).take(of.len()).filter(|(_, rollout)| rollout.reward.is_finite());
        // A line of no length is a point: its round ends.
        let path = part.fold(String::new(), |mut path, (number, rollout)| {
            let _ = write!(path, "M{} {}h0", x.at(number), y.at(rollout.reward));
            path
        });
        if !path.is_empty() {
            chart.lines.push(Path { class: format!("points {class}"), path });
            chart.legend.push(Key { class: format!("point {class}"), name: name.into() });
        }
    }
    let best = best_line(numbered().filter(|(_, rollout)| rollout.best.is_finite()), &x, &y);
    if !best.is_empty() {
        chart.lines.push(Path { class: "best".into(), path: best });
        chart.legend.push(Key { class: "best".into(), name: "best so far".into() });
    }
    let shown: Vec<usize> = (0..rollouts.len()).step_by(rollouts.len().div_ceil(PLACES)).collect();
    let centers: Vec<f64> = shown.iter().map(|index| x.at(*index as f64 + 1.0)).collect();
    let column = |(place, from, to): (usize, f64, f64)| {
        let (index, rollout) = (shown[place], &rollouts[shown[place]]);
        let class = if index < random { "random" } else { "learning" };
        let dot = rollout.reward.is_finite().then(|| Dot { class: class.into(), y: y.at(rollout.reward) });
        Column {
            x: from,
            width: tenth(to - from),
            center: centers[place],
            text: describe(index, rollout, search),
            dots: dot.into_iter().collect(),
        }
    };
    chart.columns = spans(&centers, chart.left, chart.right).map(column).collect();
    Some(chart)
}

/// A step at every roll-out that is better than all before.
fn best_line<'a>(rollouts: impl Iterator<Item = (f64, &'a RolloutReport)>, x: &Scale, y: &Scale) -> String {
    let mut corners: Vec<(f64, f64)> = Vec::new();
    let mut end = None;
    for (number, rollout) in rollouts {
        let (place, height) = (x.at(number), y.at(rollout.best));
        match corners.last() {
            Some((_, last)) if *last == height => {}
            Some((_, last)) => corners.extend([(place, *last), (place, height)]),
            None => corners.push((place, height)),
        }
        end = Some((place, height));
    }
    polyline(corners.into_iter().chain(end))
}

fn describe(index: usize, rollout: &RolloutReport, search: &SearchReport) -> String {
    let random = match index {
        _ if index < search.starts => ", another method's",
        _ if index < search.first_learning => ", random",
        _ => "",
    };
    let mut text = format!("roll-out {}{random}\nreward {}", index + 1, percent(rollout.reward));
    let _ = write!(text, "\nbest so far {}", percent(rollout.best));
    if let Some(mean) = mean_bits(&rollout.bits, &search.params) {
        let _ = write!(text, "\n{} bits on average", trimmed(mean, 3));
    }
    text
}

/// Whether it learnt: the mean reward of the random roll-outs beside that of the last quarter.
/// `None` where the two are not apart.
pub fn note(search: &SearchReport) -> Option<String> {
    let last = search.rollouts.len() - search.rollouts.len() / 4;
    if search.first_learning == 0 || search.first_learning > last {
        return None;
    }
    let random = mean_reward(search.rollouts.get(search.starts..search.first_learning)?)?;
    let late = mean_reward(search.rollouts.get(last..)?)?;
    Some(format!("Mean reward: {} of the random roll-outs, {} of the last quarter.", percent(random), percent(late)))
}

fn mean_reward(rollouts: &[RolloutReport]) -> Option<f64> {
    let rewards: Vec<f64> = rollouts.iter().map(|rollout| rollout.reward).filter(|reward| reward.is_finite()).collect();
    (!rewards.is_empty()).then(|| rewards.iter().sum::<f64>() / rewards.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(rewards: &[f64], first_learning: usize) -> SearchReport {
        let mut best = f64::NEG_INFINITY;
        let rollout = |reward: &f64| {
            best = best.max(*reward);
            RolloutReport { bits: vec![2], reward: *reward, best, ..RolloutReport::default() }
        };
        let rollouts = rewards.iter().map(rollout).collect();
        SearchReport { params: vec![8], rollouts, first_learning, ..SearchReport::default() }
    }

    #[test]
    fn random_and_learning_are_apart() {
        let search = search(&[0.2, f64::NAN, 0.1, 0.6, 0.5, 0.8, 0.7, 0.8], 4);
        let chart = chart(&search).unwrap();
        let points =
            |class: &str| chart.lines.iter().find(|line| line.class == class).unwrap().path.matches("h0").count();
        assert_eq!((points("points random"), points("points learning")), (3, 4));
        assert_eq!(chart.bands.len(), 2);
        assert_eq!(chart.columns.len(), 8);
        assert_eq!(chart.columns[0].text, "roll-out 1, random\nreward 20.00 %\nbest so far 20.00 %\n2 bits on average");
        assert!(chart.columns[1].dots.is_empty() && chart.columns[1].text.contains("reward n/a"));
        assert!(chart.columns[4].text.starts_with("roll-out 5\n"));
        let note = note(&search).unwrap();
        assert_eq!(note, "Mean reward: 30.00 % of the random roll-outs, 75.00 % of the last quarter.");
    }

    #[test]
    fn the_best_line_never_falls() {
        let chart = chart(&search(&[0.5, 0.4, 0.6, 0.3], 0)).unwrap();
        let best = &chart.lines.iter().find(|line| line.class == "best").unwrap().path;
        let heights: Vec<f64> =
            best.split(['M', 'L']).skip(1).map(|p| p.split_once(' ').unwrap().1.parse().unwrap()).collect();
        assert!(heights.is_sorted_by(|a, b| a >= b), "{best}");
        assert_eq!(heights.len(), 4, "one step: {best}");
        assert_eq!(chart.bands.len(), 1, "nothing was random");
    }

    #[test]
    fn few_many_and_none() {
        assert_eq!(chart(&search(&[], 0)), None);
        assert_eq!(chart(&search(&[f64::NAN, f64::INFINITY], 1)), None);
        assert_eq!(chart(&search(&[0.5], 7)).unwrap().x_ticks.len(), 1);
        assert_eq!(note(&search(&[0.5], 7)), None);
        assert_eq!(note(&search(&[0.5, 0.5], usize::MAX)), None);
        let many = chart(&search(&vec![0.5; 1300], 300)).unwrap();
        assert!(many.columns.len() <= PLACES, "{}", many.columns.len());
    }
}
