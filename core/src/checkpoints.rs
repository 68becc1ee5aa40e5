//! The checkpoints of one phase in a run's folder: the newest and the one before, so that a damaged
//! newest costs the steps since the last save and not the training.

use crate::atomic::{LEFT_SUFFIX, write_atomically_after};
use crate::error::{Error, Result};
use crate::tensors::TensorFile;
use std::fs::{self, File};
use std::io::{self, ErrorKind as IoKind};
use std::path::{Path, PathBuf};

/// The kind of tensor file that checkpoints are.
pub const KIND: &str = "checkpoint";

/// Where a phase keeps its last two checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoints {
    phase: String,
    newest: PathBuf,
    before: PathBuf,
}

/// A checkpoint that could be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Found<T> {
    /// What the checkpoint holds.
    pub state: T,
    /// What a person should know: that the newest could not be used, and why.
    pub warning: Option<String>,
}

/// Why a checkpoint is not gone on from.
#[derive(Debug)]
pub enum Unusable {
    /// It is not whole, or not what it should be: the one before may serve.
    Damaged(String),
    /// It is of another training: going on from any other would hide that.
    Refused(Error),
}

impl Checkpoints {
    /// Those of a phase: `checkpoints/PHASE.ckpt` and `checkpoints/PHASE.before.ckpt` in the run's
    /// folder.
    pub fn of(run_dir: &Path, phase: &str) -> Self {
        let folder = run_dir.join("checkpoints");
        let [newest, before] = ["ckpt", "before.ckpt"].map(|end| folder.join(format!("{phase}.{end}")));
        Self { phase: phase.into(), newest, before }
    }

    /// Where the newest lies.
    pub fn newest(&self) -> &Path {
        &self.newest
    }

    /// Where both lie, the newest first.
    pub fn files(&self) -> [&Path; 2] {
        [&self.newest, &self.before]
    }

    /// Whether there is any, whole or not.
    pub fn exist(&self) -> bool {
        self.files().into_iter().any(Path::exists)
    }

    /// Makes `file` the newest, and the newest so far the one before. At any moment at least one
    /// whole file is there, and where the new one cannot be written the newest stays.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn write(&self, file: &TensorFile) -> Result<()> {
        let bytes = file.to_bytes()?;
        write_atomically_after(&self.newest, &bytes, || self.keep_newest())
    }

    /// Gives the newest the name of the one before too.
    fn keep_newest(&self) -> io::Result<()> {
        let name = self.before.file_name().unwrap_or_default().to_string_lossy();
        let linked = self.before.with_file_name(format!(".{name}.link{LEFT_SUFFIX}"));
        remove(&linked)?;
        match fs::hard_link(&self.newest, &linked) {
            Err(error) if error.kind() == IoKind::NotFound => return Ok(()),
            Ok(()) => {}
            // Not every file system has links.
            Err(_) => copy(&self.newest, &linked)?,
        }
        fs::rename(&linked, &self.before)?;
        // Where both names were one file already, the system renames nothing.
        remove(&linked)
    }

    /// Reads the newest, or where that is damaged the one before, which then takes its place;
    /// `None` where there are none. `parse` looks into a file that is whole.
    ///
    /// # Errors
    /// Both are damaged; the message names both. A file of another training
    /// ([`Unusable::Refused`]), whatever the other one is.
    pub fn read<T>(&self, parse: impl Fn(TensorFile) -> Result<T, Unusable>) -> Result<Option<Found<T>>> {
        let mut damaged = Vec::new();
        for path in self.files().into_iter().filter(|path| path.exists()) {
            match read(path).and_then(&parse) {
                Ok(state) => return self.found(state, path, &damaged).map(Some),
                Err(Unusable::Damaged(reason)) => damaged.push(format!("{}: {reason}", path.display())),
                Err(Unusable::Refused(error)) => {
                    return Err(error.context(format!("cannot resume from {}", path.display())));
                }
            }
        }
        let anew = "to begin this phase at its first step, delete";
        match damaged.as_slice() {
            [] => Ok(None),
            [one] => Err(Error::failed(format!(
                "the checkpoint of `{}` cannot be used, and there is none before it; {anew} it and give the command again\n{one}",
                self.phase
            ))),
            all => Err(Error::failed(format!(
                "no checkpoint of `{}` can be used; {anew} both files and give the command again\n{}",
                self.phase,
                all.join("\n")
            ))),
        }
    }

    fn found<T>(&self, state: T, path: &Path, damaged: &[String]) -> Result<Found<T>> {
        if path == self.newest {
            return Ok(Found { state, warning: None });
        }
        // The next save would put the damaged one in the place of this one.
        fs::rename(path, &self.newest).map_err(|error| {
            Error::from(error).context(format!("cannot rename {} to {}", path.display(), self.newest.display()))
        })?;
        let missing = format!("{} is missing", self.newest.display());
        let what = damaged.first().map_or(missing, |damaged| format!("a checkpoint is damaged: {damaged}"));
        let warning =
            format!("{what}; `{}` goes on from the checkpoint before it and repeats the steps since", self.phase);
        Ok(Found { state, warning: Some(warning) })
    }
}

fn read(path: &Path) -> Result<TensorFile, Unusable> {
    let file = TensorFile::read(path).map_err(|error| {
        // What comes before it is advice for models.
        Unusable::Damaged(error.chain().last().cloned().unwrap_or_default())
    })?;
    match file.kind == KIND {
        true => Ok(file),
        false => Err(Unusable::Damaged(format!("it is a {}, not a checkpoint", file.kind))),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != IoKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let copied = fs::copy(from, to).and_then(|_| File::options().write(true).open(to)?.sync_all());
    if copied.is_err() {
        remove(to)?;
    }
    copied
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::tensors::Stored;
    use std::collections::BTreeMap;

    fn file(step: f32) -> TensorFile {
        let tensors = BTreeMap::from([("step".to_owned(), Stored::Full { shape: vec![1], values: vec![step] })]);
        TensorFile { kind: KIND.into(), header: serde_json::json!({}), tensors }
    }

    fn step(file: TensorFile) -> Result<f32, Unusable> {
        match file.tensors["step"].values() {
            Ok(values) if values[0] == 13.0 => Err(Unusable::Refused(Error::config("its seed is 13"))),
            Ok(values) => Ok(values[0]),
            Err(error) => Err(Unusable::Damaged(error.to_string())),
        }
    }

    fn saved(steps: &[f32]) -> (tempfile::TempDir, Checkpoints) {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::of(dir.path(), "toy");
        for step in steps {
            checkpoints.write(&file(*step)).unwrap();
        }
        (dir, checkpoints)
    }

    fn damage(path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        // In place of the file and not into it: both may be one.
        fs::remove_file(path).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir.join("checkpoints")).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_last_two_are_kept_and_nothing_else() {
        let (dir, checkpoints) = saved(&[]);
        assert!(!checkpoints.exist());
        assert_eq!(checkpoints.read(step).unwrap(), None);
        for last in 1..=4 {
            checkpoints.write(&file(last as f32)).unwrap();
        }
        assert_eq!(names(dir.path()), ["toy.before.ckpt", "toy.ckpt"]);
        let read = |path: &Path| step(TensorFile::read(path).unwrap()).ok();
        assert_eq!((read(checkpoints.newest()), read(&checkpoints.before)), (Some(4.0), Some(3.0)));
        assert_eq!(checkpoints.read(step).unwrap(), Some(Found { state: 4.0, warning: None }));
    }

    #[test]
    fn a_damaged_newest_falls_back_and_never_takes_the_place_of_the_good_one() {
        let (dir, checkpoints) = saved(&[1.0, 2.0]);
        damage(checkpoints.newest());
        let found = checkpoints.read(step).unwrap().unwrap();
        let warning = found.warning.unwrap();
        assert_eq!(found.state, 1.0);
        assert!(warning.contains("toy.ckpt: its checksum does not match"), "{warning}");
        assert_eq!(checkpoints.read(step).unwrap(), Some(Found { state: 1.0, warning: None }));
        checkpoints.write(&file(3.0)).unwrap();
        damage(checkpoints.newest());
        assert_eq!(checkpoints.read(step).unwrap().unwrap().state, 1.0);
        assert_eq!(names(dir.path()), ["toy.ckpt"]);
    }

    #[test]
    fn a_newest_that_is_missing_or_something_else_falls_back_too() {
        let (_dir, checkpoints) = saved(&[1.0, 2.0]);
        fs::remove_file(checkpoints.newest()).unwrap();
        let found = checkpoints.read(step).unwrap().unwrap();
        assert_eq!(found.state, 1.0);
        assert!(found.warning.unwrap().contains("toy.ckpt is missing"));
        checkpoints.write(&TensorFile { kind: "model".into(), ..file(3.0) }).unwrap();
        let found = checkpoints.read(step).unwrap().unwrap();
        assert_eq!(found.state, 1.0);
        assert!(found.warning.unwrap().contains("it is a model, not a checkpoint"));
    }

    #[test]
    fn two_damaged_ones_are_both_named_with_the_way_to_begin_anew() {
        let (_dir, checkpoints) = saved(&[1.0, 2.0]);
        damage(checkpoints.newest());
        fs::write(&checkpoints.before, b"no checkpoint").unwrap();
        let error = checkpoints.read(step).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failed);
        let text = error.to_string();
        for part in ["toy.ckpt: its checksum", "toy.before.ckpt: it is not a model or checkpoint", "delete both files"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        fs::remove_file(&checkpoints.before).unwrap();
        let text = checkpoints.read(step).unwrap_err().to_string();
        assert!(text.contains("the checkpoint of `toy` cannot be used") && text.contains("delete it"), "{text}");
    }

    #[test]
    fn one_of_another_training_is_refused_and_not_replaced() {
        let (_dir, checkpoints) = saved(&[1.0, 13.0]);
        let error = checkpoints.read(step).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("cannot resume from") && error.to_string().contains("its seed is 13"));
        let (dir, checkpoints) = saved(&[13.0, 2.0]);
        damage(checkpoints.newest());
        assert_eq!(checkpoints.read(step).unwrap_err().kind(), ErrorKind::Config);
        assert_eq!(names(dir.path()), ["toy.before.ckpt", "toy.ckpt"], "nothing was moved");
    }

    #[test]
    fn one_file_of_an_earlier_version_is_read() {
        let (_dir, checkpoints) = saved(&[5.0]);
        assert!(!checkpoints.before.exists());
        assert_eq!(checkpoints.read(step).unwrap(), Some(Found { state: 5.0, warning: None }));
    }

    #[test]
    fn what_a_kill_left_half_done_is_no_hindrance() {
        let (dir, checkpoints) = saved(&[1.0, 2.0]);
        // Killed after the newest was given its second name.
        checkpoints.keep_newest().unwrap();
        fs::hard_link(checkpoints.newest(), dir.path().join(format!("checkpoints/.toy.before.ckpt.link{LEFT_SUFFIX}")))
            .unwrap();
        assert_eq!(checkpoints.read(step).unwrap().unwrap().state, 2.0);
        checkpoints.write(&file(3.0)).unwrap();
        assert_eq!(names(dir.path()), ["toy.before.ckpt", "toy.ckpt"]);
        assert_eq!(checkpoints.read(step).unwrap().unwrap().state, 3.0);
    }
}
