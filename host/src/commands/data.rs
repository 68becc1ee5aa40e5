//! `host data check DIR`: reads a whole data set and says what is missing or damaged.

use crate::cli::Format;
use crate::errors;
use crate::layers::Layers;
use crate::registry::Registry;
use crate::report::numbers::grouped;
use crate::report::table::{right_aligned, table};
use crate::select::AUTO;
use pocketflow::dataset::check::CheckReport;
use pocketflow::names::shown_line;
use pocketflow::option::HostOptions;
use pocketflow::plugin::{Declaration, PluginKind};
use pocketflow::settings::Settings;
use pocketflow::{Error, ErrorKind, Result};
use serde_json::json;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Between two lines of progress.
const EVERY: Duration = Duration::from_secs(5);
/// Problems that the text names of each set; JSON has more.
const NAMED: usize = 20;

/// The report as text, and whether nothing is missing or damaged. The data set is the one that the
/// settings name (`--dataset`, or that of `--net`), else whichever finds its files in `dir`.
///
/// # Errors
/// Nobody's files in the folder, or files that cannot be read at all.
pub fn check(registry: &Registry, layers: &Layers, dir: &Path, format: Format) -> Result<(String, bool)> {
    let (dataset, report) = first_found(registry, layers, dir, |dataset, settings| {
        registry.check_data(&dataset.name, settings, progress("checked"))
    })?;
    let sound = report.is_sound();
    let text = match format {
        Format::Text => text(&dataset, dir, &report),
        Format::Json => format!(
            "{:#}\n",
            json!({
                "dataset": dataset, "folder": dir.display().to_string(), "sound": sound,
                "sets": report.sets, "notes": report.notes,
            })
        ),
    };
    Ok((text, sound))
}

/// What `look` makes of the data set in `dir`, with its name: that which the settings name
/// (`--dataset`, or that of `--net`), else whichever finds its files there.
///
/// # Errors
/// Nobody's files in the folder; those of `look`.
pub fn first_found<T>(
    registry: &Registry,
    layers: &Layers,
    dir: &Path,
    look: impl Fn(&Declaration, &Settings) -> Result<T>,
) -> Result<(String, T)> {
    let net = match layers.chosen(&HostOptions::net())? {
        Some((net, _)) => Some(registry.find(PluginKind::Net, &net)?.declaration.clone()),
        None => None,
    };
    let candidates = candidates(registry, layers, net.as_ref())?;
    let mut missing = Vec::new();
    let mut refused: Option<(&Declaration, Error)> = None;
    for dataset in &candidates {
        // The net says how large the images are.
        let owners: Vec<&Declaration> = net.iter().chain([dataset]).collect();
        let mut settings = layers.resolve(&owners)?;
        settings.derive(&HostOptions::data_dir(), dir.display().to_string(), "the folder to look at");
        match look(dataset, &settings) {
            Ok(found) => {
                if let Some((other, error)) = refused {
                    tracing::warn!("`{}` is not taken for {}: {error}", dir.display(), other.name);
                }
                return Ok((dataset.name.clone(), found));
            }
            Err(error) if error.kind() == ErrorKind::DataNotFound => missing.push((dataset, error)),
            // Another may take the folder as it is.
            Err(error) => {
                refused.get_or_insert((dataset, error));
            }
        }
    }
    if let Some((dataset, error)) = refused {
        return Err(error.context(format!("cannot use `{}` as {}", dir.display(), dataset.name)));
    }
    match missing.as_slice() {
        [(_, error)] => Err(error.clone()),
        _ => {
            let names: Vec<&str> = missing.iter().map(|(dataset, _)| dataset.name.as_str()).collect();
            let names = names.join(", ");
            Err(Error::new(
                ErrorKind::DataNotFound,
                format!(
                    "`{}` holds no files of a data set; looked for {names}. Name one by --dataset to see why",
                    dir.display()
                ),
            ))
        }
    }
}

/// The data sets that it may be: one that was named, or all that are no stand-ins. Those that a net
/// is for come first: others may take any folder.
fn candidates(registry: &Registry, layers: &Layers, net: Option<&Declaration>) -> Result<Vec<Declaration>> {
    let named = match layers.chosen(&HostOptions::dataset())?.filter(|(name, _)| name != AUTO) {
        Some((name, _)) => Some(name),
        None => net.and_then(|net| net.datasets.first().cloned()),
    };
    if let Some(name) = named {
        return Ok(vec![registry.find(PluginKind::Dataset, &name)?.declaration.clone()]);
    }
    let all = || registry.entries().iter().map(|entry| &entry.declaration);
    let is_of_a_net = |dataset: &Declaration| {
        all().any(|net| net.kind == PluginKind::Net && net.datasets.iter().any(|own| dataset.is_called(own)))
    };
    let real = all().filter(|plugin| plugin.kind == PluginKind::Dataset && plugin.datasets.is_empty());
    let (mut first, others): (Vec<_>, Vec<_>) = real.cloned().partition(is_of_a_net);
    first.extend(others);
    Ok(first)
}

/// Lines on stderr, now and then; `what` is done to the images.
pub fn progress(what: &'static str) -> impl Fn(u64, u64) + Send + Sync + 'static {
    let said = Mutex::new(Instant::now());
    move |done, total| {
        // Another thread says it already.
        let Ok(mut last) = said.try_lock() else { return };
        if last.elapsed() >= EVERY {
            *last = Instant::now();
            let percent = 100.0 * done as f64 / total.max(1) as f64;
            errors::print_plain(&format!("{what} {} of {} images, {percent:.0} %\n", grouped(done), grouped(total)));
        }
    }
}

fn text(dataset: &str, dir: &Path, report: &CheckReport) -> String {
    let mut made = table(&["set", "whole images", "of", "classes", "problems", "place"], right_aligned(&[1, 2, 3, 4]));
    for set in &report.sets {
        let numbers = [set.images, set.complete, set.classes, set.problems].map(grouped);
        let [images, complete, classes, problems] = numbers;
        made.add_row([set.name.clone(), images, complete, classes, problems, set.place.clone()]);
    }
    let mut text = format!("{} as {dataset}\n\n", dir.display());
    text += &(made.trim_fmt() + "\n");
    for set in report.sets.iter().filter(|set| set.problems > 0) {
        text += &format!("\n{}:\n", set.name);
        for problem in set.named.iter().take(NAMED) {
            text += &format!("  {}\n", shown_line(problem));
        }
        if set.problems > set.named.len().min(NAMED) as u64 {
            text += &format!("  and {} more\n", grouped(set.problems - set.named.len().min(NAMED) as u64));
        }
    }
    if !report.notes.is_empty() {
        text += "\n";
    }
    for note in &report.notes {
        text += &format!("note: {}\n", shown_line(note));
    }
    text += match report.is_sound() {
        true => "\nnothing is damaged\n",
        false => "\ndamaged\n",
    };
    text
}
