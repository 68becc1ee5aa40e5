//! `report.html`: one file without scripts, fonts or pictures from elsewhere. This gathers what the
//! template shows.

use super::charts::{Chart, Figure, other, training};
use super::curves::{phases, series};
use super::layers::{self, Bars, Weights};
use super::metrics::Line;
use super::numbers::{bytes, grouped, percent, points, seconds, trimmed};
use super::search;
use crate::options::OF_ONE_RUN;
use crate::plain;
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use pocketflow::job::Event;
use pocketflow::names::shown_line;
use pocketflow::option::{HostOptions, Value};
use pocketflow::report::{LayerReport, Report};
use pocketflow::settings::{Origin, Settings};
use pocketflow::{Error, Result};
use serde::Serialize;
use std::path::Path;

const TEMPLATE: &str = include_str!("template.html");
/// What the page is put together from, by name.
const PARTS: [(&str, &str); 2] =
    [("charts.html", include_str!("charts.html")), ("search.html", include_str!("search.html"))];
const OFF: u32 = 32;

#[derive(Serialize)]
struct Page<'a> {
    report: &'a Report,
    title: String,
    date: Option<String>,
    tiles: Vec<Tile>,
    curves: Vec<Titled<Chart>>,
    others: Vec<Titled<Chart>>,
    bars: Vec<Titled<Bars>>,
    search: Option<search::Section>,
    weights: Vec<Weights>,
    weights_width: f64,
    weights_height: f64,
    rows: Vec<Row>,
    total: Option<Row>,
    notes: Vec<Note>,
    changed: Vec<Setting>,
    settings: Vec<Setting>,
    repeat: String,
    command: String,
    version: &'static str,
}

#[derive(Serialize)]
struct Tile {
    name: &'static str,
    figure: String,
    unit: String,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Titled<T> {
    title: String,
    drawing: T,
}

#[derive(Serialize)]
struct Row {
    name: String,
    kind: String,
    params: String,
    weight_bits: String,
    activation_bits: String,
    buckets: String,
    full_precision_bytes: String,
    bytes: String,
    ratio: String,
    error: String,
    off: bool,
}

#[derive(Serialize)]
struct Note {
    text: String,
    warning: bool,
}

#[derive(Serialize)]
struct Setting {
    key: String,
    value: String,
    origin: String,
    overrode: Vec<String>,
    owner: String,
    default: bool,
}

/// The page as text.
///
/// # Errors
/// A mistake in the template; named with its line.
pub fn page(run_dir: &Path, report: &Report, settings: &Settings, lines: &[Line]) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let draw = |error: minijinja::Error| Error::failed(format!("cannot make report.html: {error:#}"));
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(draw)?);
    for (name, source) in PARTS {
        environment.add_template(name, source).map_err(draw)?;
    }
    let template = environment.template_from_named_str("template.html", TEMPLATE).map_err(draw)?;
    let report = plain::report(report);
    let lines: Vec<Line> = lines.iter().map(|line| Line { event: plain::event(&line.event), ..line.clone() }).collect();
    template.render(minijinja::value::Serde(gather(run_dir, &report, settings, &lines))).map_err(draw)
}

fn gather<'a>(run_dir: &Path, report: &'a Report, settings: &Settings, lines: &[Line]) -> Page<'a> {
    let phases = phases(lines);
    let curve = |title: &str, figure, reference| {
        training(&phases, figure, reference).map(|drawing| Titled { title: title.into(), drawing })
    };
    let curves = [curve("Top-1 accuracy", Figure::Top1, report.top1_full_precision), curve("Loss", Figure::Loss, None)];
    let others = series(lines).into_iter().filter_map(|series| {
        let title = format!("{}: {}", series.phase, series.name);
        other(&series).map(|drawing| Titled { title, drawing })
    });
    let bars = [
        layers::bits(&report.layers).map(|drawing| Titled { title: "Bits per layer".into(), drawing }),
        layers::sizes(&report.layers).map(|drawing| Titled { title: "Bytes per layer".into(), drawing }),
    ];
    let mut notes: Vec<Note> = Vec::new();
    for line in lines {
        // Once is enough of what every resume says again.
        if let Event::Note { text, warning } = &line.event
            && !notes.iter().any(|note| note.text == *text)
        {
            notes.push(Note { text: text.clone(), warning: *warning });
        }
    }
    let all: Vec<Setting> = settings.iter().map(|(key, setting)| describe(key, setting)).collect();
    Page {
        report,
        title: format!("{} · {} · {}", report.net, report.learner, report.dataset),
        date: lines.first().and_then(|line| date(line.time)),
        tiles: tiles(report),
        curves: curves.into_iter().flatten().collect(),
        others: others.collect(),
        bars: bars.into_iter().flatten().collect(),
        search: report.search.as_ref().map(search::section),
        weights: layers::weights(&report.layers),
        weights_width: layers::WEIGHTS_SIZE.0,
        weights_height: layers::WEIGHTS_SIZE.1,
        rows: report.layers.iter().map(row).collect(),
        total: total(&report.layers),
        notes,
        changed: settings
            .iter()
            .filter(|(_, setting)| !matches!(setting.origin, Origin::Default { .. }))
            .map(|(key, setting)| describe(key, setting))
            .collect(),
        settings: all,
        repeat: format!("host --config {}", quoted(&run_dir.join("run.toml").display().to_string())),
        command: command(settings),
        version: env!("CARGO_PKG_VERSION"),
    }
}

fn tiles(report: &Report) -> Vec<Tile> {
    let mut tiles = vec![accuracy("Top-1 accuracy", report.top1, report.top1_full_precision)];
    tiles.push(accuracy("Top-5 accuracy", report.top5, report.top5_full_precision));
    let quantized = report.layers.iter().filter(|layer| layer.weight_bits < OFF).count();
    if report.model_bytes > 0 {
        let mut notes = Vec::new();
        if report.full_precision_bytes > 0 && report.full_precision_bytes != report.model_bytes {
            notes.push(format!("full precision {}", bytes(report.full_precision_bytes)));
        }
        if report.bucket_bytes > 0 {
            notes.push(format!("{} of it for bucket ranges", bytes(report.bucket_bytes)));
        }
        tiles.push(tile("Size on disk", &bytes(report.model_bytes), notes));
    }
    if quantized > 0 && report.compression_ratio > 0.0 {
        let notes = vec![format!("{} bytes", grouped(report.model_bytes))];
        tiles.push(tile("Compression", &format!("{:.2} ×", report.compression_ratio), notes));
    }
    if report.weight_bits_mean > 0.0 {
        let notes = match quantized {
            0 => vec!["no layer is quantized".into()],
            _ => vec![format!("{quantized} of {} layers quantized", report.layers.len()), activations(&report.layers)],
        };
        tiles.push(tile("Mean bits of a weight", &trimmed(report.weight_bits_mean, 2), notes));
    }
    if report.wall_seconds > 0.0 {
        let speed = (report.images_per_second > 0.0)
            .then(|| format!("{} images/s in training", grouped(report.images_per_second.round() as u64)));
        tiles.push(tile("Time", &seconds(report.wall_seconds), speed.into_iter().collect()));
    }
    tiles
}

fn activations(layers: &[LayerReport]) -> String {
    let bits = || layers.iter().filter_map(|layer| layer.activation_bits).filter(|bits| *bits < OFF);
    match (bits().min(), bits().max()) {
        (Some(least), Some(most)) if least == most => format!("activations {least} bits"),
        (Some(least), Some(most)) => format!("activations {least} to {most} bits"),
        _ => "activations in full precision".into(),
    }
}

fn accuracy(name: &'static str, now: f64, before: Option<f64>) -> Tile {
    let notes = before.map(|before| {
        vec![format!("full precision {}", percent(before)), format!("difference {} points", points(now - before))]
    });
    tile(name, &percent(now), notes.unwrap_or_default())
}

/// A figure with its unit set apart, so that the page can set it smaller.
fn tile(name: &'static str, figure: &str, notes: Vec<String>) -> Tile {
    let (figure, unit) = figure.split_once(' ').unwrap_or((figure, ""));
    let (figure, unit) = (figure.to_owned(), unit.to_owned());
    Tile { name, figure, unit, notes }
}

fn row(layer: &LayerReport) -> Row {
    Row {
        name: layer.name.clone(),
        kind: layer.kind.clone(),
        params: grouped(layer.params),
        weight_bits: layer.weight_bits.to_string(),
        activation_bits: layer.activation_bits.map_or("-".into(), |bits| bits.to_string()),
        buckets: grouped(layer.buckets),
        full_precision_bytes: grouped(layers::full(layer)),
        bytes: grouped(layer.bytes),
        ratio: ratio(layers::full(layer), layer.bytes),
        error: layers::error(layer),
        off: layer.weight_bits >= OFF,
    }
}

fn total(layers: &[LayerReport]) -> Option<Row> {
    let sum = |figure: fn(&LayerReport) -> u64| layers.iter().map(figure).fold(0, u64::saturating_add);
    let (full, file) = (sum(layers::full), sum(|layer| layer.bytes));
    (layers.len() > 1).then(|| Row {
        name: "all layers".into(),
        kind: String::new(),
        params: grouped(sum(|layer| layer.params)),
        weight_bits: String::new(),
        activation_bits: String::new(),
        buckets: grouped(sum(|layer| layer.buckets)),
        full_precision_bytes: grouped(full),
        bytes: grouped(file),
        ratio: ratio(full, file),
        error: String::new(),
        off: false,
    })
}

fn ratio(full: u64, file: u64) -> String {
    if file == 0 { "-".into() } else { format!("{:.2} ×", full as f64 / file as f64) }
}

fn describe(key: &str, setting: &pocketflow::settings::Setting) -> Setting {
    let text = |value: &Option<Value>| value.as_ref().map_or("(unset)".into(), written);
    let shown_origin = |origin: &Origin| shown_line(&origin.to_string()).into_owned();
    let overrode = setting.overrode.iter().filter_map(|(value, origin)| Some((value.as_ref()?, shown_origin(origin))));
    Setting {
        key: key.into(),
        value: text(&setting.value),
        origin: shown_origin(&setting.origin),
        overrode: overrode.map(|(value, origin)| format!("{} ({origin})", written(value))).collect(),
        owner: setting.owner.clone(),
        default: matches!(setting.origin, Origin::Default { .. }),
    }
}

/// As a person writes it in a flag.
fn written(value: &Value) -> String {
    match value {
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        other => shown_line(&other.to_string()).into_owned(),
    }
}

/// The flags that say the same as all files, variables and flags of this run did.
fn command(settings: &Settings) -> String {
    let given = |key: &&str| {
        let origin = settings.entry(key).map(|setting| &setting.origin);
        matches!(origin, Some(Origin::File { .. } | Origin::Variable { .. } | Origin::Flag { .. }))
    };
    // What to do comes first; where this run kept its files is not part of it.
    let first = [HostOptions::learner().name(), HostOptions::net().name(), HostOptions::dataset().name()];
    let rest = settings.iter().map(|(key, _)| key).filter(given);
    let rest = rest.filter(|key| !first.contains(key) && !OF_ONE_RUN.contains(key));
    let mut words = vec!["host".to_owned()];
    for key in first.into_iter().filter(given).chain(rest) {
        if let Some(value) = settings.entry(key).and_then(|setting| setting.value.as_ref()) {
            words.push(quoted(&format!("--{}={}", key.replace('_', "-"), written(value))));
        }
    }
    words.join(" ")
}

/// As one word of a shell.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_=./,:+@%".contains(letter);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

fn date(time: f64) -> Option<String> {
    let time = jiff::Timestamp::from_second(time as i64).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%d %H:%M UTC").to_string())
}
