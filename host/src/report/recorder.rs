//! Writes every event of a run to `metrics.jsonl` and to a TensorBoard file, while it happens.
//!
//! `metrics.jsonl` is the one that counts; the TensorBoard file is made anew from it whenever a
//! resume takes lines back, so that the two never tell different stories.

use super::metrics::{self, Line};
use super::tfevents;
use pocketflow::Result;
use pocketflow::atomic::write_atomically;
use pocketflow::error::Context;
use pocketflow::job::Event;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// In the names of our own TensorBoard files, so that no other program's are ever removed.
const MARK: &str = ".pocketflow";

/// Keeps the figures of a run. Each event is in the files when [`Recorder::event`] returns.
#[derive(Debug)]
pub struct Recorder {
    run_dir: PathBuf,
    metrics: Output,
    tensorboard: Output,
    /// What an earlier process left, up to here, may be taken back by a phase that is resumed.
    inherited: usize,
    /// Phases that began in this process: what they wrote is never taken back.
    begun: Vec<String>,
}

#[derive(Debug)]
struct Output {
    path: PathBuf,
    file: File,
}

impl Output {
    fn open(path: PathBuf, options: &OpenOptions) -> Result<Self> {
        let file = options.open(&path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path, file })
    }

    /// In one call and unbuffered: a kill then loses at most what this call was writing.
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).with_context(|| format!("cannot write {}", self.path.display()))
    }

    fn sync(&mut self) -> Result<()> {
        self.file.sync_all().with_context(|| format!("cannot write {}", self.path.display()))
    }
}

impl Recorder {
    /// Opens the files in `run_dir`, which must exist. With `resume`, goes on after the last whole
    /// line; without, begins anew.
    ///
    /// # Errors
    /// The folder or a file in it cannot be read or written; the message names it.
    pub fn open(run_dir: &Path, resume: bool) -> Result<Self> {
        let path = run_dir.join(metrics::FILE);
        let mut inherited = 0;
        if resume && path.exists() {
            let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let whole = metrics::whole(&bytes);
            inherited = whole.len();
            if inherited < bytes.len() {
                write_atomically(&path, whole)?;
            }
        }
        let metrics = append(path, inherited > 0)?;
        let tensorboard = tensorboard(run_dir, &metrics::read(&metrics.path)?)?;
        Ok(Self { run_dir: run_dir.to_owned(), metrics, tensorboard, inherited, begun: Vec::new() })
    }

    /// Keeps one event; those meant for the screen only are none of its business.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn event(&mut self, event: &Event) -> Result<()> {
        if let Event::Tick { .. } | Event::Progress { .. } | Event::Decisions { .. } = event {
            return Ok(());
        }
        if let Event::Phase { name, done, .. } = event
            && !self.begun.contains(name)
        {
            self.rewind(name, *done)?;
            self.begun.push(name.clone());
        }
        let line = Line { time: now(), event: event.clone() };
        let mut text = serde_json::to_vec(&line).map_err(|error| {
            pocketflow::Error::failed(format!("cannot write an event as a line of {}: {error}", metrics::FILE))
        })?;
        text.push(b'\n');
        self.metrics.write(&text)?;
        match record(&line) {
            Some(record) => self.tensorboard.write(&record),
            None => Ok(()),
        }
    }

    /// Sees to it that the files outlast a power failure too.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn finish(&mut self) -> Result<()> {
        self.metrics.sync()?;
        self.tensorboard.sync()
    }

    /// Takes back what an earlier process wrote of steps that will be done again.
    fn rewind(&mut self, phase: &str, done: u64) -> Result<()> {
        if self.inherited == 0 {
            return Ok(());
        }
        let path = self.metrics.path.clone();
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let (earlier, own) = bytes.split_at(self.inherited.min(bytes.len()));
        let mut kept = metrics::rewound(earlier, phase, done);
        if kept.len() == earlier.len() {
            return Ok(());
        }
        self.inherited = kept.len();
        kept.extend_from_slice(own);
        write_atomically(&path, &kept)?;
        self.metrics = append(path, true)?;
        self.tensorboard = tensorboard(&self.run_dir, &metrics::parse(&kept))?;
        Ok(())
    }
}

fn append(path: PathBuf, keep: bool) -> Result<Output> {
    if !keep {
        write_atomically(&path, b"")?;
    }
    Output::open(path, OpenOptions::new().append(true))
}

/// A new TensorBoard file with what `lines` hold, in the place of those that were there. Under a
/// new name, since a running TensorBoard would go on reading the old file at the old place.
fn tensorboard(run_dir: &Path, lines: &[Line]) -> Result<Output> {
    let folder = || format!("cannot read the folder {}", run_dir.display());
    let mut second = now() as u64;
    for entry in std::fs::read_dir(run_dir).with_context(folder)? {
        let entry = entry.with_context(folder)?;
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(tfevents::PREFIX)) else { continue };
        let Some((stamp, MARK)) = rest.split_at_checked(rest.len().saturating_sub(MARK.len())) else { continue };
        second = second.max(stamp.parse().map_or(0, |last: u64| last.saturating_add(1)));
        let path = entry.path();
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    let path = run_dir.join(format!("{}{second:010}{MARK}", tfevents::PREFIX));
    let mut output = Output::open(path, OpenOptions::new().append(true).create_new(true))?;
    let mut bytes = tfevents::Event::version(now()).record();
    bytes.extend(lines.iter().filter_map(record).flatten());
    output.write(&bytes)?;
    Ok(output)
}

/// The TensorBoard record of a line that has figures. Tags begin with the phase: each counts its
/// steps from 0.
fn record(line: &Line) -> Option<Vec<u8>> {
    let (phase, step, figures) = match &line.event {
        Event::Step { phase, step, epoch, loss, top1, lrn_rate, images_per_second } => {
            let figures = [("loss", loss), ("top1", top1), ("lrn_rate", lrn_rate), ("epoch", epoch)];
            let speed = ("images_per_second", images_per_second);
            (
                phase,
                step,
                figures.into_iter().chain([speed]).map(|(name, value)| (tag("train", name), *value)).collect(),
            )
        }
        Event::Evaluation { phase, split, step, loss, top1, top5, .. } => {
            let group = if split == "test" { "eval" } else { split };
            let figures = [("loss", loss), ("top1", top1), ("top5", top5)];
            (phase, step, figures.into_iter().map(|(name, value)| (tag(group, name), *value)).collect::<Vec<_>>())
        }
        Event::Scalar { phase, name, step, value } => (phase, step, vec![(name.clone(), *value)]),
        _ => return None,
    };
    let figures: Vec<_> = figures.into_iter().map(|(name, value)| (format!("{phase}/{name}"), value)).collect();
    Some(tfevents::Event::scalars(line.time, *step, &figures).record())
}

fn tag(group: &str, name: &str) -> String {
    format!("{group}/{name}")
}

/// Seconds since 1970-01-01 UTC.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(name: &str, done: u64) -> Event {
        Event::Phase { name: name.into(), steps: 100, done }
    }

    fn step(phase: &str, step: u64) -> Event {
        let (loss, top1) = (1.0 / step as f64, 0.1 * step as f64);
        let epoch = step as f64 / 10.0;
        Event::Step { phase: phase.into(), step, epoch, loss, top1, lrn_rate: 0.1, images_per_second: 800.0 }
    }

    fn evaluation(phase: &str, step: u64) -> Event {
        let (phase, split) = (phase.into(), "test".into());
        Event::Evaluation { phase, split, step, epoch: step as f64 / 10.0, loss: 0.5, top1: 0.75, top5: 0.875 }
    }

    fn kept(run_dir: &Path) -> Vec<Event> {
        metrics::read(&run_dir.join(metrics::FILE)).unwrap().into_iter().map(|line| line.event).collect()
    }

    /// Tag, step and value of all scalars, in the one event file of the folder.
    fn scalars(run_dir: &Path) -> Vec<(String, i64, f32)> {
        let entries = std::fs::read_dir(run_dir).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<_> = entries.filter(|path| path.to_str().unwrap().contains(tfevents::PREFIX)).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        let events = tfevents::read(&std::fs::read(&files[0]).unwrap()).unwrap();
        let values = events.into_iter().filter_map(|event| match event.what? {
            tfevents::What::Summary(summary) => Some((event.step, summary.value)),
            tfevents::What::FileVersion(_) => None,
        });
        values
            .flat_map(|(step, values)| values.into_iter().map(move |v| (v.tag, step, v.simple_value.unwrap())))
            .collect()
    }

    #[test]
    fn every_event_is_in_both_files_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::open(dir.path(), false).unwrap();
        let note = Event::Note { text: "line\nbreak \"quoted\"".into(), warning: true };
        let events = [note, phase("uniform", 0), step("uniform", 1), evaluation("uniform", 1)];
        for event in &events {
            recorder.event(event).unwrap();
        }
        // Not finished, not dropped: as a killed process leaves it.
        assert_eq!(kept(dir.path()), events);
        let scalars = scalars(dir.path());
        assert_eq!(scalars.len(), 8);
        assert!(scalars.contains(&("uniform/train/loss".into(), 1, 1.0)), "{scalars:?}");
        assert!(scalars.contains(&("uniform/eval/top5".into(), 1, 0.875)), "{scalars:?}");
    }

    #[test]
    fn a_resume_leaves_no_step_twice() {
        let dir = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::open(dir.path(), false).unwrap();
        let first = [phase("full-prec", 0), step("full-prec", 100), phase("uniform", 0)];
        for event in first.iter().chain([&step("uniform", 10), &step("uniform", 20), &evaluation("uniform", 20)]) {
            recorder.event(event).unwrap();
        }
        drop(recorder);
        // The kill came in the middle of a line, and of a record.
        let mut torn = OpenOptions::new().append(true).open(dir.path().join(metrics::FILE)).unwrap();
        torn.write_all(br#"{"time":1.0,"event":"st"#).unwrap();

        let mut recorder = Recorder::open(dir.path(), true).unwrap();
        assert_eq!(kept(dir.path()).len(), 6);
        for event in [phase("uniform", 10), step("uniform", 20), step("uniform", 30)] {
            recorder.event(&event).unwrap();
        }
        recorder.finish().unwrap();
        let mut want = first.to_vec();
        want.extend([step("uniform", 10), phase("uniform", 10), step("uniform", 20), step("uniform", 30)]);
        assert_eq!(kept(dir.path()), want);
        let scalars = scalars(dir.path());
        let steps: Vec<_> = scalars.iter().filter(|(tag, ..)| tag == "uniform/train/loss").map(|s| s.1).collect();
        assert_eq!(steps, [10, 20, 30]);
        assert!(!scalars.iter().any(|(tag, ..)| tag.contains("eval")), "{scalars:?}");
    }

    #[test]
    fn a_phase_that_comes_again_keeps_what_it_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::open(dir.path(), false).unwrap();
        let events = [phase("tune", 0), step("tune", 10), phase("tune", 0), step("tune", 10)];
        events.iter().for_each(|event| recorder.event(event).unwrap());
        assert_eq!(kept(dir.path()), events);
        // Without --resume, nothing of it stays.
        Recorder::open(dir.path(), false).unwrap();
        assert_eq!(kept(dir.path()), []);
        assert_eq!(scalars(dir.path()), []);
    }

    #[test]
    fn a_folder_that_is_none_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let message = Recorder::open(file.path(), false).unwrap_err().to_string();
        assert!(message.contains(&file.path().join(metrics::FILE).display().to_string()), "{message}");
    }
}
