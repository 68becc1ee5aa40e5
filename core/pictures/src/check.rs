//! Every image of a source decoded: all that training and evaluation would meet, and what a decoder
//! would pass over.

use crate::decode::{Encoded, Picture};
use crate::parallel;
use crate::source::{Fault, Problem, Source};
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Problems that are named; the others are counted.
pub const NAMED_MAX: usize = 1000;
/// Images that a thread checks between two reports of progress.
const PART: u64 = 256;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// Images that are whole.
    pub images: u64,
    /// Images that are whole by label.
    pub labels: BTreeMap<u32, u64>,
    /// All of them; files and images.
    pub problems: u64,
    /// The first [`NAMED_MAX`] of them.
    pub named: Vec<Problem>,
}

/// Decodes every image of `source` with `threads` threads; `problems` are those that are known
/// before. `advance` is told how many images are done since it was last told, from any thread.
pub fn check(source: &dyn Source, problems: Vec<Problem>, threads: usize, advance: &(dyn Fn(u64) + Sync)) -> Checked {
    let count = source.count();
    let parts: Vec<Range<u64>> =
        (0..count.div_ceil(PART)).map(|part| part * PART..((part + 1) * PART).min(count)).collect();
    let checked = parallel::map(&parts, threads, |range| {
        let part = check_part(source, range.clone());
        advance(range.end - range.start);
        part
    });
    let mut whole = Checked { problems: problems.len() as u64, named: problems, ..Checked::default() };
    for part in checked {
        whole.images += part.images;
        whole.problems += part.problems;
        whole.named.extend(part.named);
        part.labels.into_iter().for_each(|(label, count)| *whole.labels.entry(label).or_default() += count);
    }
    whole.named.truncate(NAMED_MAX);
    whole
}

fn check_part(source: &dyn Source, range: Range<u64>) -> Checked {
    let mut part = Checked::default();
    let (mut encoded, mut picture) = (Vec::new(), Picture::default());
    for index in range {
        let result = catch_unwind(AssertUnwindSafe(|| -> Result<u32, Fault> {
            let label = source.read(index, &mut encoded)?;
            let image = Encoded::open(&mut encoded).map_err(Fault::Damaged)?;
            image.verify(&mut picture).map_err(Fault::Damaged)?;
            Ok(label)
        }));
        let problem = match result {
            Ok(Ok(label)) => {
                part.images += 1;
                *part.labels.entry(label).or_default() += 1;
                continue;
            }
            Ok(Err(Fault::Damaged(text))) => Problem::new(source.place(index), text),
            Ok(Err(Fault::Failed(error))) => {
                let (place, text) = (source.place(index), error.to_string());
                let text = text.strip_prefix(&format!("{place}: ")).unwrap_or(&text);
                Problem::new(place, text)
            }
            Err(_) => Problem::new(source.place(index), "the decoder gave up on it"),
        };
        part.problems += 1;
        if part.named.len() < NAMED_MAX {
            part.named.push(problem);
        }
    }
    part
}
