//! The search for bits per layer: its section of `report.html`, and its table on the terminal.
//!
//! A [`SearchReport`] comes from a plugin, or from a file of an earlier version: lists may be
//! shorter than the layers, and figures may be no numbers. What cannot be drawn is left out.

mod allocations;
mod columns;
mod compared;
mod front;
mod heat;
mod rollouts;

pub use compared::table;

use super::charts::{Chart, Key};
use super::numbers::{grouped, trimmed};
use super::split_name;
use pocketflow::report::search::{Candidate, SearchReport};
use serde::Serialize;

/// What the section of the page shows.
#[derive(Debug, Serialize)]
pub struct Section {
    facts: Vec<String>,
    candidates: Vec<compared::Row>,
    rollouts: Option<Chart>,
    /// How the agent fared, in words.
    rollouts_note: Option<String>,
    front: Option<Chart>,
    allocations: Option<allocations::Allocations>,
    heat: Option<heat::Heat>,
}

/// Gathers the section of a search.
pub fn section(search: &SearchReport) -> Section {
    Section {
        facts: facts(search),
        candidates: compared::rows(search),
        rollouts: rollouts::chart(search),
        rollouts_note: rollouts::note(search),
        front: front::chart(&search.front),
        allocations: allocations::allocations(search),
        heat: heat::heat(search),
    }
}

/// Under which conditions the allocations were compared.
fn facts(search: &SearchReport) -> Vec<String> {
    let mut facts = vec![
        format!("Budget {} bits a weight on average", trimmed(search.equivalent_bits, 3)),
        format!("{} bits a layer", range(search.bits_min, search.bits_max)),
    ];
    if !search.split.is_empty() {
        let images = if search.images > 0 { format!("{} ", grouped(search.images)) } else { String::new() };
        facts.push(format!("accuracy on {images}{} images", split_name(&search.split)));
    }
    if !search.rollouts.is_empty() {
        let first = search.first_learning.min(search.rollouts.len());
        let starts = search.starts.min(search.rollouts.len());
        let random = first.saturating_sub(starts);
        let mut said = Vec::new();
        if starts > 0 {
            said.push(format!(", the first {starts} as the other methods"));
        }
        if random > 0 {
            said.push(format!(
                ", the {} {} at random",
                if starts > 0 { "next" } else { "first" },
                grouped(random as u64)
            ));
        }
        let random = said.concat();
        facts.push(format!("{} roll-outs of the agent{random}", grouped(search.rollouts.len() as u64)));
    }
    facts
}

/// `3` or `2 to 8`.
fn range(least: u32, most: u32) -> String {
    if least == most { least.to_string() } else { format!("{least} to {most}") }
}

/// Mean over the weights; `None` where it is not known how many weights the layers have.
fn mean_bits(bits: &[u32], params: &[u64]) -> Option<f64> {
    let weights: f64 = params.iter().map(|params| *params as f64).sum();
    let all: f64 = bits.iter().zip(params).map(|(bits, params)| f64::from(*bits) * *params as f64).sum();
    (bits.len() == params.len() && weights > 0.0).then(|| all / weights)
}

/// A [`Candidate::method`] as people call it.
fn method_name(method: &str) -> &str {
    match method {
        "uniform" => "uniform bits",
        "sensitivity" => "sensitivity solver",
        "rl" => "agent",
        other => other,
    }
}

/// The colour of a [`Candidate::method`].
fn method_class(method: &str) -> &'static str {
    match method {
        "uniform" => "uniform",
        "sensitivity" => "sensitivity",
        "rl" => "agent",
        _ => "another",
    }
}

fn method_key(method: &str) -> Key {
    Key { class: format!("method {}", method_class(method)), name: method_name(method).into() }
}

/// The candidate that was taken.
fn chosen(search: &SearchReport) -> Option<&Candidate> {
    search.candidates.iter().find(|candidate| candidate.method == search.chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_over_weights_not_layers() {
        assert_eq!(mean_bits(&[8, 2], &[100, 300]), Some(3.5));
        assert_eq!(mean_bits(&[8, 2], &[100]), None);
        assert_eq!(mean_bits(&[8], &[0]), None);
        assert_eq!(mean_bits(&[], &[]), None);
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let mut search = SearchReport { bits_min: 2, bits_max: 8, equivalent_bits: 2.5, ..SearchReport::default() };
        assert_eq!(facts(&search), ["Budget 2.5 bits a weight on average", "2 to 8 bits a layer"]);
        (search.split, search.images, search.first_learning) = ("val".into(), 1000, 50);
        search.rollouts = vec![Default::default(); 20];
        assert_eq!(
            facts(&search)[2..],
            ["accuracy on 1,000 validation images", "20 roll-outs of the agent, the first 20 at random"]
        );
        let rollouts = |search: &SearchReport| facts(search)[3].clone();
        (search.starts, search.first_learning) = (2, 5);
        assert_eq!(
            rollouts(&search),
            "20 roll-outs of the agent, the first 2 as the other methods, the next 3 at random"
        );
        search.first_learning = 1;
        assert_eq!(rollouts(&search), "20 roll-outs of the agent, the first 2 as the other methods");
    }
}
