//! Verifies a data set completely: all that training and evaluation would meet, and what a decoder
//! would pass over.

use crate::classes::OFFICIAL;
use crate::layout::{self, Opened};
use pocketflow::Result;
use pocketflow::dataset::check::{CheckReport, CheckedSet};
use pocketflow_pictures::check::{self as pictures, Checked};
use pocketflow_pictures::source::Problem;
use serde::Serialize;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Labels of the complete set, with the background.
const LABELS: usize = OFFICIAL + 1;

/// What was found in one set of images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SetReport {
    /// `training` or `validation`.
    pub set: &'static str,
    /// Form and place, for people.
    pub form: String,
    /// Images that are whole.
    pub images: u64,
    /// Images of the complete ILSVRC-12.
    pub complete: u64,
    /// Classes of which there is an image.
    pub classes: usize,
    /// Images labelled as background: a sign of labels that count from 0.
    pub background: u64,
    /// All of them; files and images.
    pub problems: u64,
    /// The first of them.
    pub named: Vec<Problem>,
}

/// What [`check`] found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Training and validation images, where they are there.
    pub sets: Vec<SetReport>,
    /// What is absent or unusual without being damaged.
    pub notes: Vec<String>,
}

impl Report {
    /// True where nothing is damaged. Images may still be missing from the complete set; see
    /// [`Report::notes`].
    pub fn is_sound(&self) -> bool {
        self.sets.iter().all(|set| set.problems == 0)
    }
}

impl From<Report> for CheckReport {
    fn from(report: Report) -> Self {
        let sets = report.sets.into_iter().map(|set| CheckedSet {
            name: set.set.into(),
            place: set.form,
            images: set.images,
            complete: set.complete,
            classes: set.classes as u64,
            problems: set.problems,
            named: set.named.iter().map(Problem::to_string).collect(),
        });
        Self { sets: sets.collect(), notes: report.notes }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for set in &self.sets {
            let SetReport { set, form, images, classes, problems, named, .. } = set;
            writeln!(f, "{set}: {form}: {images} images of {classes} classes are whole, {problems} problems")?;
            for problem in named {
                writeln!(f, "  {problem}")?;
            }
            if *problems > named.len() as u64 {
                writeln!(f, "  and {} more", problems - named.len() as u64)?;
            }
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
    }
}

/// Reads and decodes every image below `data_dir` with `threads` threads. `list` is a list of
/// classes, as the option `ilsvrc12_wnids`. `progress` is told how many images of how many are
/// done, from any thread.
///
/// # Errors
/// No images at all ([`pocketflow::ErrorKind::DataNotFound`]); classes or labels that cannot be
/// told. Damaged files and images are not errors but in the report.
pub fn check(
    data_dir: &Path,
    list: Option<&Path>,
    threads: usize,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Report> {
    let found = layout::open(data_dir, list, LABELS as u32, threads)?;
    let sets = [("training", found.training, 1_281_167), ("validation", found.validation, 50_000)];
    let total: u64 = sets.iter().filter_map(|(_, opened, _)| Some(opened.as_ref()?.source.count())).sum();
    let done = AtomicU64::new(0);
    let mut report = Report { sets: Vec::new(), notes: found.classes.note().map(str::to_owned).into_iter().collect() };
    for (name, opened, complete) in sets {
        let Some(opened) = opened else {
            report.notes.push(format!("{name}: absent"));
            continue;
        };
        let advance = |images| progress(done.fetch_add(images, Ordering::Relaxed) + images, total);
        let set = check_set(name, opened, complete, threads, &advance);
        if set.images != complete {
            report.notes.push(format!("{name}: {} of the {complete} images of the complete ILSVRC-12", set.images));
        }
        if set.background > 0 {
            report.notes.push(format!(
                "{name}: {} images have label 0, the background; do the labels of this set count from 0?",
                set.background
            ));
        }
        report.sets.push(set);
    }
    Ok(report)
}

fn check_set(
    set: &'static str,
    opened: Opened,
    complete: u64,
    threads: usize,
    advance: &(dyn Fn(u64) + Sync),
) -> SetReport {
    let Opened { form, source, problems } = opened;
    let Checked { images, labels, problems, named } = pictures::check(&*source, problems, threads, advance);
    SetReport {
        set,
        form: form.describe(),
        images,
        complete,
        classes: labels.keys().filter(|label| **label > 0).count(),
        background: labels.get(&0).copied().unwrap_or(0),
        problems,
        named,
    }
}
