//! What a run leaves for people and for their tools: figures while it runs ([`Recorder`]),
//! `report.json`, `report.html` and the final table ([`summary`]).
//!
//! | module | what it is for |
//! |---|---|
//! | `metrics` | `metrics.jsonl`: one event a line; reading it back, cutting it for a resume |
//! | `tfevents` | the same figures as TensorBoard reads them |
//! | [`Recorder`] | writes both while the run goes on |
//! | [`summary`] | the table on the terminal |
//! | `html`, `curves`, `charts`, `layers` | `report.html`: the page, and the geometry of its drawings |
//! | `search` | the search for bits per layer, in the page and in the table |
//! | `table` | how tables look on the terminal |
//! | `numbers` | how figures are written for people |

mod charts;
mod curves;
mod html;
mod layers;
pub(crate) mod metrics;
pub(crate) mod numbers;
mod recorder;
mod search;
mod summary;
pub(crate) mod table;
pub(crate) mod tfevents;

pub use recorder::Recorder;
pub use summary::summary;

use pocketflow::atomic::write_atomically;
use pocketflow::report::Report;
use pocketflow::settings::Settings;
use pocketflow::{Error, Result};
use std::path::Path;

/// Written last of all that a run leaves.
pub const FILE: &str = "report.json";
/// The page for people.
pub const PAGE: &str = "report.html";

/// Writes `report.html` and then `report.json` into the folder of the run, each whole or not at
/// all: with `report.json` there, the run is finished and nothing of it is missing. The curves come
/// from the folder's `metrics.jsonl`; without one the page has none.
///
/// # Errors
/// The folder cannot be written, or `metrics.jsonl` is there and cannot be read; the message names
/// the file.
pub fn write(run_dir: &Path, report: &Report, settings: &Settings) -> Result<()> {
    let mut json = serde_json::to_vec_pretty(report)
        .map_err(|error| Error::failed(format!("cannot write the report as JSON: {error}")))?;
    json.push(b'\n');
    page(run_dir, report, settings)?;
    write_atomically(&run_dir.join(FILE), &json)
}

/// Writes `report.html` alone.
///
/// # Errors
/// As [`write()`].
pub fn page(run_dir: &Path, report: &Report, settings: &Settings) -> Result<()> {
    let lines = metrics::read(&run_dir.join(metrics::FILE))?;
    let page = html::page(run_dir, report, settings, &lines)?;
    write_atomically(&run_dir.join(PAGE), page.as_bytes())
}

/// A split of the data as people call it.
pub fn split_name(split: &str) -> &str {
    match split {
        "eval" => "test",
        "val" => "validation",
        "fit" => "train",
        other => other,
    }
}
