//! Every file that a command will write, checked before the work begins: a training must not end at
//! a path that cannot be written, and no result may replace what the run reads, another result, or
//! the run's own files.

mod place;

use crate::layers::problem::{Problem, report};
use crate::options;
use crate::registry::{Registry, Source};
use crate::run_dir;
use crate::select::Selection;
use place::Place;
use pocketflow::Result;
use pocketflow::atomic::{clear_left_files, try_to_write};
use pocketflow::option::{HostOptions, Kind, OptionSpec, PathUse, Value};
use pocketflow::settings::{Origin, Settings};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What a command reads and writes.
#[derive(Debug, Default)]
pub struct Outputs {
    written: Vec<Written>,
    read: Vec<Read>,
    /// The folder of the run, if it is known yet.
    run_dir: Option<PathBuf>,
    /// Found while the paths were gathered.
    problems: Vec<Problem>,
}

#[derive(Debug)]
struct Written {
    /// As in messages: "`save_path` = models/model.ckpt".
    name: String,
    origin: Origin,
    path: PathBuf,
    /// It is written only because nothing is there yet.
    made: bool,
}

#[derive(Debug)]
struct Read {
    /// As in messages: "the file of `uql_bit_plan`".
    name: String,
    path: PathBuf,
}

impl Outputs {
    /// Those of a training: what the options of its plugins say, and the files that the settings
    /// and plugins come from.
    pub fn of_training(
        settings: &Settings,
        selection: &Selection,
        registry: &Registry,
        run_dir: Option<&Path>,
    ) -> Self {
        let mut outputs = Self { run_dir: run_dir.map(Path::to_owned), ..Self::default() };
        let host = options::host_options();
        for spec in host.iter().chain(selection.options()) {
            if spec.kind == Kind::Path {
                let owned = host.iter().any(|own| own.key == spec.key);
                let writes = owned && selection.writes(&spec.key);
                outputs.add(settings, spec, writes, selection.has_files());
            }
        }
        outputs.read_program(settings, registry);
        outputs
    }

    /// A file that a command writes beside what its options say.
    pub fn write(&mut self, name: impl Into<String>, origin: Origin, path: impl Into<PathBuf>) {
        self.written.push(Written { name: name.into(), origin, path: path.into(), made: false });
    }

    /// A file that a command reads beside what its options say.
    pub fn read(&mut self, name: impl Into<String>, path: impl Into<PathBuf>) {
        self.read.push(Read { name: name.into(), path: path.into() });
    }

    /// The files that settings and plugins come from, and the program.
    pub fn read_program(&mut self, settings: &Settings, registry: &Registry) {
        let origins = settings.iter().flat_map(|(_, setting)| {
            std::iter::once(&setting.origin).chain(setting.overrode.iter().map(|(_, origin)| origin))
        });
        let files: BTreeSet<&PathBuf> = origins
            .filter_map(|origin| match origin {
                Origin::File { path, .. } => Some(path),
                _ => None,
            })
            .collect();
        self.read.extend(files.into_iter().map(|path| Read { name: "a file of settings".into(), path: path.clone() }));
        for entry in registry.entries() {
            if let Source::File(path) = &entry.source {
                self.read(format!("the plugin of {} `{}`", entry.declaration.kind, entry.declaration.name), path);
            }
        }
        if let Ok(program) = std::env::current_exe() {
            self.read("the program", program);
        }
    }

    fn add(&mut self, settings: &Settings, spec: &OptionSpec, writes: bool, has_files: bool) {
        let key = spec.key.as_str();
        let Some(setting) = settings.entry(key) else { return };
        let Some(Value::Text(text)) = &setting.value else {
            if let (PathUse::Written { in_run_dir: Some(name) }, Some(folder)) = (&spec.path_use, &self.run_dir) {
                let path = folder.join(name);
                self.write(format!("`{key}`, which is unset,"), setting.origin.clone(), path);
            }
            return;
        };
        let by_default = matches!(setting.origin, Origin::Default { .. });
        if text.is_empty() && !by_default {
            let text = format!("`{key}` is empty: give a path, or leave the option out");
            self.problems.push(Problem::at(&setting.origin, text));
        }
        let needed = match key {
            // The folder of the run is checked where it is made.
            key if key == HostOptions::run_dir().name() => false,
            key if key == HostOptions::save_path_dst().name() => settings.get(HostOptions::enbl_dst()).unwrap_or(false),
            // Images that are made do not lie anywhere.
            key if key == HostOptions::data_dir().name() => has_files,
            _ => true,
        };
        if text.is_empty() || !needed {
            return;
        }
        let path = PathBuf::from(text);
        let made = match &spec.path_use {
            _ if writes => false,
            PathUse::Written { .. } => false,
            PathUse::Made if path.exists() => return self.read(format!("the file of `{key}`"), path),
            PathUse::Made => true,
            _ => {
                let what = if path.is_dir() { "folder" } else { "file" };
                return self.read(format!("the {what} of `{key}`"), path);
            }
        };
        self.written.push(Written { name: format!("`{key}` = {text}"), origin: setting.origin.clone(), path, made });
    }

    /// Checks them all, and removes what killed processes left beside them.
    ///
    /// # Errors
    /// [`pocketflow::ErrorKind::Config`] with every path that cannot be written or must not be, its
    /// option, and what to do.
    pub fn check(&self) -> Result<()> {
        let mut problems = self.problems.clone();
        let place = |path: &Path| Place::of(path);
        let written: Vec<Place> = self.written.iter().map(|written| place(&written.path)).collect();
        let run_dir = self.run_dir.as_deref().map(place);
        for (index, (one, at)) in self.written.iter().zip(&written).enumerate() {
            let problem = self
                .unwritable(one)
                .or_else(|| run_dir.as_ref().and_then(|folder| among_own(at, folder)))
                .or_else(|| self.replaces(at))
                .or_else(|| {
                    let earlier = self.written.iter().zip(&written).take(index);
                    let both_made = |other: &Written| one.made && other.made;
                    let mut met = earlier.filter(|(other, there)| !both_made(other) && at.collides(there));
                    met.next().map(|(other, _)| format!("it is where {} is written; give another path", other.name))
                });
            if let Some(problem) = problem {
                problems.push(Problem::at(&one.origin, format!("{}: {problem}", one.name)));
            }
        }
        report(&problems)?;
        for written in &self.written {
            if let Some(folder) = written.path.parent() {
                clear_left_files(if folder == Path::new("") { Path::new(".") } else { folder });
            }
        }
        Ok(())
    }

    fn unwritable(&self, written: &Written) -> Option<String> {
        let problem = try_to_write(&written.path).err()?;
        Some(format!("cannot be written: {problem}; {}", problem.advice()))
    }

    /// What of the files that are read a file at this place would replace.
    fn replaces(&self, at: &Place) -> Option<String> {
        self.read.iter().find_map(|read| {
            let there = Place::of(&read.path);
            let name = &read.name;
            if at.is(&there) {
                return Some(format!("it is {name}, which is read; give another path"));
            }
            // A model of an earlier run may lie among the images, an image may not be replaced.
            (there.is_folder() && at.lies_in(&there) && at.exists() && !at.is_result())
                .then(|| format!("it would replace a file in {name}; give another path"))
        })
    }
}

/// Why a result may not lie there: among the files of the run itself.
fn among_own(at: &Place, folder: &Place) -> Option<String> {
    let problem = match at.within(folder) {
        // The folder would have to be a file.
        None if folder.is(at) || folder.lies_in(at) => "it is the folder of the run, or above it".to_owned(),
        None => return None,
        Some(rest) if rest.starts_with(run_dir::CHECKPOINTS) => "it is among the checkpoints of the run".into(),
        Some(rest) if rest.to_str().is_some_and(run_dir::is_own) => "it is one of the run's own files".into(),
        Some(_) => return None,
    };
    Some(format!("{problem}; give another path"))
}

/// Refuses a model whose path no plugin can be given.
///
/// # Errors
/// A path that is not Unicode.
pub fn expect_unicode(argument: &str, path: &Path) -> Result<()> {
    match path.to_str() {
        Some(_) => Ok(()),
        None => Err(pocketflow::Error::config(format!(
            "{argument} {}: the path is not Unicode, and plugins take no other; rename it, or link to it",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests;
