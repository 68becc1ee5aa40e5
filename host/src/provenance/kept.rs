//! The fingerprints in a run's `run.toml`: written with the settings, added to while the run asks
//! for more, compared on a resume.

use super::fingerprint::NOTHING;
use super::{Fingerprints, TABLE, WORKING_FOLDER};
use crate::run_dir;
use pocketflow::atomic::write_atomically;
use pocketflow::error::Context;
use pocketflow::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// What stands before the table.
const REMARK: &str =
    "# What the run was made from. A resumed run must have the same; as settings these lines do not count.";

/// The fingerprints of one run, with the file that holds them.
#[derive(Debug, Clone)]
pub struct Kept {
    path: PathBuf,
    /// All of the file before the table.
    settings: String,
    all: Fingerprints,
}

/// What `run.toml` says of a run that is to go on.
#[derive(Debug)]
pub struct Was {
    path: PathBuf,
    settings: String,
    /// Each with its line, from 1.
    all: BTreeMap<String, (String, usize)>,
}

impl Was {
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn read(run_dir: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            provenance: BTreeMap<String, Spanned<String>>,
        }
        let path = run_dir.join(run_dir::SETTINGS);
        let shown = path.display();
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{shown}`"))?;
        let File { provenance } = toml::from_str(&text)
            .map_err(|error| Error::config(format!("`{shown}` is damaged ({error}); the run cannot be resumed")))?;
        let line = |entry: &Spanned<String>| text[..entry.span().start].matches('\n').count() + 1;
        let all = provenance.into_iter().map(|(name, entry)| {
            let line = line(&entry);
            (name, (entry.into_inner(), line))
        });
        Ok(Self { all: all.collect(), settings: text[..table_at(&text)].to_owned(), path })
    }

    /// The fingerprint of this name.
    pub fn print(&self, name: &str) -> Option<&str> {
        self.all.get(name).map(|(print, _)| print.as_str())
    }
}

impl Kept {
    /// Writes `run.toml` for a run that begins: the settings as text, and the fingerprints.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn begin(run_dir: &Path, settings: &str, all: Fingerprints) -> Result<Self> {
        let kept = Self { path: run_dir.join(run_dir::SETTINGS), settings: settings.into(), all };
        kept.write()?;
        Ok(kept)
    }

    /// Compares the fingerprints of a run that goes on with those of `now`, and adds what it did
    /// not know yet. `moved`: the settings as text, where they say of other places than before.
    ///
    /// # Errors
    /// All that differ, each with what it was and what it is; the folder cannot be written.
    pub fn resume(was: &Was, now: &Fingerprints, moved: Option<String>) -> Result<Self> {
        let changed = was.all.iter().filter_map(|(name, (was, line))| {
            // What was missing when the run began it has made itself. Of the working folder more is
            // to be said: `expect_folder`.
            let comparable = was != NOTHING && name != WORKING_FOLDER;
            now.get(name).filter(|is| comparable && *is != was).map(|is| (name, was, *line, is))
        });
        let changed: Vec<_> = changed.collect();
        let shown = was.path.display();
        if !changed.is_empty() {
            let each =
                changed.iter().map(|(name, was, line, is)| format!("{name}: was {was} ({shown}:{line}), is {is}\n"));
            let lines: Vec<String> = changed.iter().map(|(_, _, line, _)| line.to_string()).collect();
            let one = changed.len() == 1;
            return Err(Error::config(format!(
                "the run was made from other things than there are now; put them back, or leave out --resume to begin a new run\n\
                 {} {} changed:\n{}to go on with what is there now all the same, delete {} {} of `{shown}`",
                changed.len(),
                if one { "thing" } else { "things" },
                each.collect::<String>(),
                if one { "line" } else { "lines" },
                lines.join(", ")
            )));
        }
        let mut all = now.clone();
        for (name, (print, _)) in was.all.iter().filter(|(_, (print, _))| print != NOTHING) {
            all.insert(name.clone(), print.clone());
        }
        let kept = Self { path: was.path.clone(), settings: moved.unwrap_or_else(|| was.settings.clone()), all };
        kept.write()?;
        Ok(kept)
    }

    /// Adds a fingerprint, or compares it where one of that name is known.
    ///
    /// # Errors
    /// It is known and another; the file cannot be written.
    pub fn add(&mut self, name: String, print: String) -> Result<()> {
        match self.all.get(&name) {
            Some(known) if *known == print => Ok(()),
            Some(known) if known != NOTHING => Err(Error::config(format!(
                "{name}: was {known} when the run began (`{shown}`), is {print}; put it back, or begin a new run; to go on with what is there \
                 now all the same, delete its line in `{shown}`",
                shown = self.path.display()
            ))),
            _ => {
                self.all.insert(name, print);
                self.write()
            }
        }
    }

    /// Whether the file of this name was missing when it was last looked at.
    pub fn is_missing(&self, name: &str) -> bool {
        self.all.get(name).is_some_and(|print| print == NOTHING)
    }

    fn write(&self) -> Result<()> {
        let tables = BTreeMap::from([(TABLE, &self.all)]);
        let table =
            toml::to_string(&tables).map_err(|error| Error::failed(format!("fingerprints as TOML: {error}")))?;
        write_atomically(&self.path, format!("{}\n\n{REMARK}\n{table}", self.settings.trim_end()).as_bytes())
    }
}

/// Where the table begins, or the remark before it.
fn table_at(text: &str) -> usize {
    let starts = [format!("\n{REMARK}"), format!("\n[{TABLE}]")];
    starts.iter().filter_map(|start| text.find(start)).min().unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prints(all: &[(&str, &str)]) -> Fingerprints {
        all.iter().map(|(name, print)| ((*name).to_owned(), (*print).to_owned())).collect()
    }

    #[test]
    fn what_differs_is_named_with_its_line_and_deleting_that_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let begun = prints(&[("net small", "1"), ("file of plan", "a"), ("file of save_path", NOTHING)]);
        Kept::begin(dir.path(), "seed = 7\n", begun.clone()).unwrap();
        let now =
            prints(&[("net small", "1"), ("file of plan", "b"), ("file of save_path", "made"), ("learner x", "new")]);
        let read = || Was::read(dir.path()).unwrap();
        let error = Kept::resume(&read(), &now, None).unwrap_err();
        assert_eq!(error.kind(), pocketflow::ErrorKind::Config);
        let text = error.to_string().replace(&dir.path().display().to_string(), "runs/r");
        insta::assert_snapshot!(text, @r#"
        the run was made from other things than there are now; put them back, or leave out --resume to begin a new run
        1 thing changed:
        file of plan: was a (runs/r/run.toml:5), is b
        to go on with what is there now all the same, delete line 5 of `runs/r/run.toml`
        "#);
        let path = dir.path().join(run_dir::SETTINGS);
        let kept = std::fs::read_to_string(&path).unwrap().replace("\"file of plan\" = \"a\"\n", "");
        std::fs::write(&path, kept).unwrap();
        let mut kept = Kept::resume(&read(), &now, None).unwrap();
        assert_eq!(kept.all, now);
        kept.add("agent y".into(), "1".into()).unwrap();
        kept.add("agent y".into(), "1".into()).unwrap();
        assert!(kept.add("agent y".into(), "2".into()).unwrap_err().to_string().contains("agent y: was 1"));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("seed = 7\n\n# What") && text.matches(REMARK).count() == 1, "{text}");
    }

    #[test]
    fn what_is_missing_is_looked_at_again_until_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut kept = Kept::begin(dir.path(), "", prints(&[("file of save_path", NOTHING)])).unwrap();
        assert!(kept.is_missing("file of save_path"));
        kept.add("file of save_path".into(), "made".into()).unwrap();
        assert!(!kept.is_missing("file of save_path"));
        assert_eq!(Was::read(dir.path()).unwrap().print("file of save_path"), Some("made"));
    }

    #[test]
    fn a_run_of_an_earlier_version_has_none_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(run_dir::SETTINGS), "seed = 7\n").unwrap();
        let was = Was::read(dir.path()).unwrap();
        assert!(was.all.is_empty());
        assert_eq!(Kept::resume(&was, &prints(&[("program", "1")]), None).unwrap().all.len(), 1);
    }
}
