//! Verifies the six files: that they are there, whole, and have labels that there are. Pixels carry
//! no checksum, so a changed one cannot be told; a changed label shows in the number of images of
//! its class.

use crate::files::{LABELS, RECORD, RECORDS, TEST, TRAINING, candidates, check_size, is_absent, nothing_in};
use pocketflow::dataset::check::{CheckReport, CheckedSet, Progress};
use pocketflow::error::Context as _;
use pocketflow::{Error, Result};
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

/// Problems that are named; the others are counted.
const NAMED_MAX: usize = 1000;

/// Reads all files below `data_dir`.
///
/// # Errors
/// None of the files ([`pocketflow::ErrorKind::DataNotFound`]); a disk that fails.
pub fn check(data_dir: &Path, progress: Progress<'_>) -> Result<CheckReport> {
    let holds = |folder: &Path| TRAINING.into_iter().chain([TEST]).any(|name| folder.join(name).exists());
    let Some(folder) = candidates(data_dir).into_iter().find(|folder| holds(folder)) else {
        return Err(nothing_in(data_dir));
    };
    let mut report = CheckReport::default();
    let mut done = 0;
    for (name, files) in [("training", &TRAINING[..]), ("test", &[TEST])] {
        let complete = RECORDS * files.len() as u64;
        let place = format!("{} binary files in {}", files.len(), folder.display());
        let mut set = CheckedSet { name: name.into(), place, complete, ..CheckedSet::default() };
        let mut counts = [0; LABELS.len()];
        for file in files {
            let mut advance = || {
                done += 1;
                progress(done, RECORDS * (TRAINING.len() + 1) as u64);
            };
            check_file(&folder.join(file), &mut set, &mut counts, &mut advance)?;
        }
        set.classes = counts.iter().filter(|count| **count > 0).count() as u64;
        let each = complete / LABELS.len() as u64;
        let odd = LABELS.iter().zip(counts).filter(|(_, count)| *count != each && set.problems == 0);
        report.notes.extend(odd.map(|(label, count)| {
            format!("{name}: {count} images of class {label}; CIFAR-10 has {each}: some labels may be damaged")
        }));
        report.sets.push(set);
    }
    Ok(report)
}

fn check_file(
    path: &Path,
    set: &mut CheckedSet,
    counts: &mut [u64; LABELS.len()],
    advance: &mut dyn FnMut(),
) -> Result<()> {
    let place = path.display();
    match fs::metadata(path) {
        Ok(metadata) => {
            if let Err(error) = check_size(path, &metadata) {
                problem(set, error.to_string());
                if !metadata.is_file() {
                    return Ok(());
                }
            }
        }
        Err(error) if is_absent(&error) => {
            problem(set, format!("{place}: missing"));
            return Ok(());
        }
        Err(error) => return Err(Error::from(error).context(place.to_string())),
    }
    let mut file = BufReader::new(File::open(path).with_context(|| place.to_string())?);
    let mut record = [0; RECORD];
    for number in 0..RECORDS {
        match file.read_exact(&mut record) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(Error::from(error).context(place.to_string())),
        }
        match counts.get_mut(usize::from(record[0])) {
            Some(count) => {
                *count += 1;
                set.images += 1;
            }
            None => {
                let (label, offset) = (record[0], number * RECORD as u64);
                problem(set, format!("{place}: record {number} (from 0) at byte {offset}: label {label} is over 9"));
            }
        }
        advance();
    }
    Ok(())
}

fn problem(set: &mut CheckedSet, text: String) {
    set.problems += 1;
    if set.named.len() < NAMED_MAX {
        set.named.push(text);
    }
}
