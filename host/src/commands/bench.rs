//! `host bench MODEL...`: size, latency and accuracy of exported files, side by side.

use crate::deploy::exported::Exported;
use crate::deploy::images::Images;
use crate::deploy::measure::measure;
use crate::deploy::precision;
use crate::errors;
use crate::layers::Layers;
use crate::report::numbers::{bytes, grouped, percent};
use crate::report::table::{right_aligned, table};
use crate::run::Program;
use crate::signals::AtOnce;
use pocketflow::dataset::Split;
use pocketflow::option::HostOptions;
use pocketflow::{Error, Result};
use pocketflow_runtime::io::ImageInput;
use pocketflow_runtime::measure::{Effort, Latency, latency};
use pocketflow_runtime::{Choice, LibraryPaths, Runtime};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// Files are timed in turns, so that a noisy machine is noisy for all of them.
const ROUNDS: usize = 5;

/// A file's figures.
#[derive(Debug, Serialize)]
struct Row {
    file: String,
    runtime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_options: Option<serde_json::Value>,
    bytes: u64,
    /// With each number of threads, the best round's.
    latency: Vec<Timing>,
    images: u64,
    /// 0–1; `None` where no images were asked for.
    top1: Option<f64>,
    /// How pixels become the input.
    input: Option<String>,
    stand_in_data: bool,
}

#[derive(Debug, Clone, Serialize)]
struct Timing {
    threads: usize,
    #[serde(flatten)]
    latency: Latency,
}

/// Measures the files and prints the table.
///
/// # Errors
/// A file that cannot be run; the data set's errors.
pub fn bench(
    program: &Program,
    layers: &Layers,
    models: &[PathBuf],
    images: u64,
    libraries: &LibraryPaths,
) -> Result<()> {
    let _watched = AtOnce::watch()?;
    let files = models.iter().map(|path| Exported::select(program, layers, path)).collect::<Result<Vec<_>>>()?;
    // Where ONNX Runtime's default options decide otherwise, the file is measured with them too.
    let choices = |file: &Exported| match file.default_differs {
        true => vec![Choice::Auto, Choice::OnnxruntimeDefault],
        false => vec![Choice::Auto],
    };
    let files: Vec<(&Exported, Choice)> =
        files.iter().flat_map(|file| choices(file).into_iter().map(move |choice| (file, choice))).collect();
    let mut rows = Vec::new();
    for (file, choice) in &files {
        let threads = file.selected.settings.get(HostOptions::threads())?;
        let mut runtime = file.open(*choice, libraries, threads)?;
        let mut split = Images::open(&file.selected.dataset, Split::Eval, 0, images)?;
        let measured = measure(&mut *runtime, &mut split)?;
        rows.push(Row {
            file: file.path.display().to_string(),
            session_options: precision::session_options(runtime.name(), *choice),
            runtime: runtime.name().to_owned(),
            bytes: file.bytes,
            latency: Vec::new(),
            images: measured.images,
            top1: (measured.images > 0).then_some(measured.top1),
            input: runtime.io().image.as_ref().map(ImageInput::described),
            stand_in_data: file.selected.dataset.info().stand_in,
        });
    }
    let most =
        files.iter().map(|(file, _)| file.selected.settings.get(HostOptions::threads())).collect::<Result<Vec<_>>>()?;
    let most = most.into_iter().max().unwrap_or(1);
    let mut counts = vec![1, most];
    counts.dedup();
    for threads in counts {
        let mut runtimes =
            files.iter().map(|(file, choice)| file.open(*choice, libraries, threads)).collect::<Result<Vec<_>>>()?;
        let best = in_turns(&files, &mut runtimes)?;
        for (row, latency) in rows.iter_mut().zip(best) {
            row.latency.push(Timing { threads, latency });
        }
    }
    if program.json {
        let text = serde_json::to_string_pretty(&rows).map_err(|error| Error::failed(error.to_string()))?;
        return errors::print_result(&(text + "\n"));
    }
    let mut text = text(&rows);
    if files.iter().any(|(_, choice)| *choice == Choice::OnnxruntimeDefault) {
        text += &format!("note: {}\n", precision::advice());
    }
    errors::print_result(&text)
}

/// Of each file the round with the least median.
fn in_turns(files: &[(&Exported, Choice)], runtimes: &mut [Box<dyn Runtime>]) -> Result<Vec<Latency>> {
    let mut best: Vec<Option<Latency>> = vec![None; files.len()];
    let effort = Effort { warm_up: 3, runs: 10, at_least: Duration::from_millis(300) };
    for _ in 0..ROUNDS {
        for (((file, _), runtime), best) in files.iter().zip(&mut *runtimes).zip(&mut best) {
            let mut images = Images::open(&file.selected.dataset, Split::Eval, 0, 1)?;
            let Some((pixels, _)) = images.next_image()? else {
                return Err(Error::config("the data set has no test images to run the files on"));
            };
            let found = latency(&mut **runtime, pixels, effort)?;
            if best.is_none_or(|best| found.median_ms < best.median_ms) {
                *best = Some(found);
            }
        }
    }
    Ok(best.into_iter().flatten().collect())
}

fn text(rows: &[Row]) -> String {
    let threads: Vec<usize> =
        rows.first().map(|row| row.latency.iter().map(|timing| timing.threads).collect()).unwrap_or_default();
    let mut header: Vec<String> =
        vec!["file".into(), "runtime".into(), "bytes".into(), "smaller".into(), "top-1".into()];
    for threads in &threads {
        let unit = if *threads == 1 { "1 thread".into() } else { format!("{threads} threads") };
        header.extend([format!("ms, {unit}"), "p90".into(), "images/s".into(), "faster".into()]);
    }
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let numbers: Vec<usize> = (2..header.len()).collect();
    let mut table = table(&header, right_aligned(&numbers));
    let ratio = |first: f64, this: f64| format!("{:.2}×", first / this);
    for row in rows {
        let first = &rows[0];
        let mut cells = vec![
            row.file.clone(),
            row.runtime.clone(),
            format!("{} ({})", grouped(row.bytes), bytes(row.bytes)),
            ratio(first.bytes as f64, row.bytes as f64),
            row.top1.map_or("-".into(), percent),
        ];
        for (timing, first) in row.latency.iter().zip(&first.latency) {
            let Latency { median_ms, p90_ms, images_per_second, .. } = timing.latency;
            cells.push(format!("{median_ms:.3}"));
            cells.push(format!("{p90_ms:.3}"));
            cells.push(grouped(images_per_second.round() as u64));
            cells.push(ratio(first.latency.median_ms, median_ms));
        }
        table.add_row(cells);
    }
    let mut text = table.trim_fmt() + "\n";
    for row in rows {
        let Some(input) = &row.input else { continue };
        text += &format!("input of {}: {input}\n", row.file);
    }
    if rows.iter().any(|row| row.stand_in_data) {
        text +=
            "STAND-IN DATA: these images are made up on the fly; the accuracy says nothing about the real data set.\n";
    }
    text + "Ratios are to the first file; times are those of the best of five rounds in turns.\n"
}
