//! The place where a worker other than worker 0 works: nothing of it is kept.

use crate::run_dir::RunDir;
use crate::select::Selection;
use pocketflow::Result;
use pocketflow::error::Context;
use pocketflow::option::{HostOptions, Kind, OptionSpec, PathUse};
use pocketflow::settings::Settings;
use std::path::{Path, PathBuf};

/// A folder that is removed with the value.
pub struct Apart(PathBuf);

impl Apart {
    /// Makes one.
    ///
    /// # Errors
    /// The system's temporary folder cannot be written.
    pub fn make(rank: u32) -> Result<Self> {
        let path = place(rank, std::process::id());
        // Of an earlier process of this number, that was killed.
        clear(rank, std::process::id());
        std::fs::create_dir(&path).with_context(|| format!("cannot make `{}`", path.display()))?;
        Ok(Self(path))
    }

    /// Makes the folder of the run there.
    ///
    /// # Errors
    /// As [`RunDir::create`].
    pub fn run_dir(&self) -> Result<RunDir> {
        RunDir::create(&self.0.join("run"))
    }

    /// Leads every path that plugins write into the folder; what they would find at such a path, a
    /// parent, is copied there.
    ///
    /// # Errors
    /// A file that cannot be copied.
    pub fn keep_to(&self, selection: &mut Selection, settings: &Settings, host: &[OptionSpec]) -> Result<()> {
        let reason = "a worker beside worker 0 keeps nothing";
        let paths: Vec<String> = host
            .iter()
            .chain(selection.options())
            .filter(|spec| spec.kind == Kind::Path && spec.key != HostOptions::run_dir().name())
            .filter(|spec| spec.path_use != PathUse::Read || selection.writes(&spec.key))
            .map(|spec| spec.key.clone())
            .collect();
        for key in paths {
            let text = settings.entry(&key).and_then(|setting| setting.value.as_ref()).map(ToString::to_string);
            let Some(text) = text.filter(|text| !text.is_empty()) else { continue };
            let original = Path::new(&text);
            let Some(name) = original.file_name() else { continue };
            let folder = self.0.join(&key);
            std::fs::create_dir_all(&folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
            let own = folder.join(name);
            if original.is_file() {
                std::fs::copy(original, &own)
                    .with_context(|| format!("cannot copy `{text}` to `{}`", own.display()))?;
            }
            selection.lead(&key, &own, reason);
        }
        selection.set_run_dir(&self.0.join("run"), reason);
        Ok(())
    }
}

/// Where the worker works that runs as this process.
fn place(rank: u32, process: u32) -> PathBuf {
    std::env::temp_dir().join(format!("pocketflow-worker-{rank}-{process}"))
}

/// Removes what a worker left that was killed.
pub fn clear(rank: u32, process: u32) {
    // Most have cleared up themselves.
    let _ = std::fs::remove_dir_all(place(rank, process));
}

impl Drop for Apart {
    fn drop(&mut self) {
        // It lies among temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
