//! Bits of each layer, one bar for each method that was compared.

use super::super::charts::{Key, Scale, Tick, tenth};
use super::super::layers::{NAMES, bit_ticks};
use super::super::numbers::grouped;
use super::columns::Columns;
use super::{method_class, method_key, method_name};
use pocketflow::report::search::SearchReport;
use serde::Serialize;
use std::fmt::Write as _;

const TOP: f64 = 20.0;
const BOTTOM: f64 = 190.0;
/// Of a column; the rest keeps layers apart.
const FILLED: f64 = 0.78;
const WIDEST: f64 = 16.0;
/// Narrower bars have no room for a number above them.
const LABELLED: f64 = 7.0;

/// A chart with a group of bars for each layer.
#[derive(Debug, PartialEq, Serialize)]
pub struct Allocations {
    columns: Columns,
    height: f64,
    bottom: f64,
    y_ticks: Vec<Tick>,
    groups: Vec<Group>,
    legend: Vec<Key>,
}

/// One layer.
#[derive(Debug, PartialEq, Serialize)]
struct Group {
    x: f64,
    text: String,
    bars: Vec<Bar>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Bar {
    class: &'static str,
    x: f64,
    y: f64,
    width: f64,
    center: f64,
    /// Empty where it would not fit.
    label: String,
}

/// The candidates' bits; `None` where there are none.
pub fn allocations(search: &SearchReport) -> Option<Allocations> {
    let columns = Columns::of(&search.layers)?;
    let most = search.candidates.iter().flat_map(|candidate| &candidate.bits).max()?;
    let ticks = bit_ticks(*most);
    let high = ticks.last()?.0;
    let y = Scale::new((0.0, high), (BOTTOM, TOP));
    let slot = (columns.pitch * FILLED / search.candidates.len() as f64).min(WIDEST);
    let thick = slot - 1.0_f64.min(slot / 4.0);
    let group = |(layer, name): (usize, &String)| {
        let mut text = name.clone();
        if let Some(params) = search.params.get(layer) {
            let _ = write!(text, "\n{} weights", grouped(*params));
        }
        let first = columns.at(layer) + (columns.pitch - slot * search.candidates.len() as f64) / 2.0;
        let mut bars = Vec::new();
        for (index, candidate) in search.candidates.iter().enumerate() {
            let Some(bits) = candidate.bits.get(layer) else { continue };
            let _ = write!(text, "\n{}: {bits} bits", method_name(&candidate.method));
            let label = bits.to_string();
            let fits = slot >= LABELLED * label.len() as f64;
            let x = first + slot * index as f64;
            bars.push(Bar {
                class: method_class(&candidate.method),
                x: tenth(x),
                y: y.at(f64::from(*bits).min(high)),
                width: tenth(thick),
                center: tenth(x + thick / 2.0),
                label: if fits { label } else { String::new() },
            });
        }
        Group { x: tenth(columns.at(layer)), text, bars }
    };
    let groups = search.layers.iter().enumerate().map(group).collect();
    Some(Allocations {
        height: BOTTOM + NAMES,
        bottom: BOTTOM,
        y_ticks: ticks.into_iter().map(|(value, text)| Tick { at: y.at(value), text }).collect(),
        groups,
        legend: search.candidates.iter().map(|candidate| method_key(&candidate.method)).collect(),
        columns,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocketflow::report::search::Candidate;

    fn candidate(method: &str, bits: &[u32]) -> Candidate {
        Candidate { method: method.into(), bits: bits.to_vec(), ..Candidate::default() }
    }

    #[test]
    fn bars_of_a_layer_stand_side_by_side() {
        let search = SearchReport {
            layers: vec!["a".into(), "b".into()],
            params: vec![1000],
            candidates: vec![candidate("uniform", &[2, 2]), candidate("rl", &[4])],
            ..SearchReport::default()
        };
        let drawing = allocations(&search).unwrap();
        let [first, second] = &drawing.groups[..] else { panic!("{drawing:?}") };
        assert_eq!(first.text, "a\n1,000 weights\nuniform bits: 2 bits\nagent: 4 bits");
        assert!(first.bars[0].x + first.bars[0].width <= first.bars[1].x);
        assert!(first.bars[1].y < first.bars[0].y, "more bits are higher");
        assert_eq!((second.text.as_str(), second.bars.len()), ("b\nuniform bits: 2 bits", 1));
    }

    #[test]
    fn bits_that_cannot_be_stay_in_the_drawing() {
        let candidates = vec![candidate("rl", &[u32::MAX, 0])];
        let search = SearchReport { layers: vec!["a".into()], candidates, ..SearchReport::default() };
        assert_eq!(allocations(&search).unwrap().groups[0].bars[0].y, TOP);
        assert_eq!(allocations(&SearchReport { candidates: Vec::new(), ..search }), None);
    }
}
