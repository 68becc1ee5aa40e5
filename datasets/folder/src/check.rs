//! Verifies a folder completely: every image is decoded, classes are compared.

use crate::layout::{self, Found, Set, Sets};
use pocketflow::Result;
use pocketflow::dataset::check::{CheckReport, CheckedSet, Progress};
use pocketflow_pictures::check::{Checked, check as decode_all};
use pocketflow_pictures::source::{Problem, Source as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Reads and decodes every image below `data_dir` with `threads` threads.
///
/// # Errors
/// As [`layout::open`]. Damaged files and images are not errors but in the report.
pub fn check(data_dir: &Path, threads: usize, progress: Progress<'_>) -> Result<CheckReport> {
    let Found { classes, sets } = layout::open(data_dir, threads)?;
    let sets = match sets {
        Sets::Apart { training, validation } => vec![("training", training), ("validation", validation)],
        Sets::Together(set) => vec![("images", Some(set))],
    };
    let total: u64 = sets.iter().filter_map(|(_, set)| Some(set.as_ref()?.images.count())).sum();
    let done = AtomicU64::new(0);
    let advance = |images: u64| progress(done.fetch_add(images, Ordering::Relaxed) + images, total);
    let mut report = CheckReport::default();
    for (name, set) in sets {
        let Some(Set { root, images, mut problems }) = set else {
            report.notes.push(format!("{name}: absent"));
            continue;
        };
        if let [only] = &classes[..] {
            let place = root.join(only).display().to_string();
            problems.push(Problem::new(place, "the only class; a classifier needs two"));
        }
        let count = images.count();
        let Checked { images, labels, problems, named } = decode_all(&images, problems, threads, &advance);
        let missing: Vec<&str> = classes
            .iter()
            .zip(0..)
            .filter(|(_, label)| !labels.contains_key(label))
            .map(|(class, _)| class.as_str())
            .collect();
        if !missing.is_empty() {
            report.notes.push(format!("{name}: no whole image of {}", listed(&missing)));
        }
        let numbers = || labels.iter().map(|(label, images)| (*images, *label));
        if let (Some((fewest, few)), Some((most, many))) = (numbers().min(), numbers().max())
            && fewest < most
        {
            let class = |label: u32| classes.get(label as usize).map_or("?", String::as_str);
            let (few, many) = (class(few), class(many));
            report.notes.push(format!("{name}: {fewest} images of `{few}`, the fewest, to {most} of `{many}`"));
        }
        report.sets.push(CheckedSet {
            name: name.into(),
            place: root.display().to_string(),
            images,
            complete: count,
            classes: labels.len() as u64,
            problems,
            named: named.iter().map(Problem::to_string).collect(),
        });
    }
    Ok(report)
}

/// The first of some names.
fn listed(names: &[&str]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more classes") } else { String::new() };
    shown.join(", ") + &more
}
