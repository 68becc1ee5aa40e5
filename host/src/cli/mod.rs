//! The command line: built from the options of the host and of all plugins, and read into an
//! [`Invocation`].
//!
//! Two passes: [`early`] finds the few flags that must be known before plugins are loaded,
//! [`parse`] reads everything once the options are known. Values of options stay text here;
//! [`crate::layers`] reads them, so that a wrong flag is reported together with wrong lines of
//! files.

mod build;
mod words;

pub use build::reserved;
pub(crate) use build::{Shown, command};
pub use words::early;

use crate::deploy::FORMATS;
use crate::layers::Selection;
use crate::refused::{Refused, why_unknown};
use clap::ArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use pocketflow::plugin::Declaration;
use std::ffi::OsString;
use std::path::PathBuf;
use words::{normalised, stray_switch_value};

/// What to do.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Command {
    #[default]
    Run,
    /// `model`: a save path or an exported file; `None`: where the learner saves.
    Eval {
        model: Option<PathBuf>,
        runtime: String,
        libraries: LibraryPaths,
    },
    Export(ExportFlags),
    Import(ImportFlags),
    /// Verify a data set in a folder.
    DataCheck {
        dir: PathBuf,
    },
    /// Measure the pixels of the data set in a folder.
    DataStats {
        dir: PathBuf,
    },
    Bench {
        models: Vec<PathBuf>,
        /// Test images that accuracy is measured on.
        images: u64,
        libraries: LibraryPaths,
    },
    PluginsList,
    PluginsShow {
        name: String,
    },
    PluginsCheck {
        file: PathBuf,
    },
    ConfigShow,
    ConfigExplain {
        key: String,
    },
    /// `path`: `None` is the project's file.
    ConfigInit {
        path: Option<PathBuf>,
        force: bool,
    },
    Completions {
        shell: clap_complete::Shell,
    },
}

/// What to export, and how.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExportFlags {
    /// A folder with a saved model, or the model itself.
    pub model_dir: PathBuf,
    pub post_quant: bool,
    /// Weights of 7 bits in the .onnx file.
    pub onnx_reduce_range: bool,
    /// Of [`crate::deploy::FORMATS`].
    pub formats: Vec<String>,
    /// `int8` or `uint8`.
    pub target: String,
    /// A folder of any images that ranges are taken from; `None`: from training images.
    pub calibration_dir: Option<PathBuf>,
    /// How many images ranges are taken from.
    pub calibration_images: u64,
    /// `mse`, `percentile` or `minmax`.
    pub calibration_method: String,
    /// Of the values, for `percentile`: how many, in percent, are cut off.
    pub calibration_percent: f64,
    /// For values without a range where there are no images to take it from.
    pub default_ranges: Option<[f32; 2]>,
    /// Test images that the files are checked on; 0: no check.
    pub verify_images: u64,
    pub libraries: LibraryPaths,
}

/// What to import.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImportFlags {
    /// A file of another program.
    pub weights: PathBuf,
    /// Of its dictionaries of tensors, the one to read.
    pub key: Option<String>,
    /// By order and shapes, not by names.
    pub in_order: bool,
    /// A file that says which of its names is which of ours.
    pub map: Option<PathBuf>,
    /// Replace a model that is there.
    pub overwrite: bool,
}

/// Where the libraries of other runtimes are, if not where they are looked for.
pub use pocketflow_runtime::LibraryPaths;

/// How commands print tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// A command line, understood.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Invocation {
    pub command: Command,
    /// `--config`, in order.
    pub configs: Vec<PathBuf>,
    /// Options by key (never an alias), with the text as given; `true` for a switch without a
    /// value.
    pub flags: Vec<(String, String)>,
    pub format: Format,
    pub log: Option<String>,
    pub plugin_dirs: Vec<PathBuf>,
}

/// The command line ends the program: help and version were asked for, or it is wrong. The text has
/// colours; print it through `anstream`, which removes them where they do not belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    pub text: String,
    pub status: u8,
    pub to_stdout: bool,
    /// The flag that no option has, where that is what is wrong.
    pub unknown: Option<String>,
}

impl Exit {
    fn usage(text: String) -> Self {
        Self { text, status: 2, to_stdout: false, unknown: None }
    }

    /// The same; an unknown flag that a plugin would have, were it usable, is told with the reason
    /// why it is not.
    #[must_use]
    pub fn explained(mut self, refused: &[Refused]) -> Self {
        let flag = self.unknown.as_deref().and_then(|flag| flag.split('=').next());
        if let Some(why) = flag.and_then(|flag| why_unknown(refused, flag)) {
            self.text.push_str(&format!("\n{why}\n"));
        }
        self
    }
}

impl From<clap::Error> for Exit {
    fn from(error: clap::Error) -> Self {
        let unknown = match (error.kind(), error.get(ContextKind::InvalidArg)) {
            (ErrorKind::UnknownArgument, Some(ContextValue::String(flag))) => Some(flag.clone()),
            _ => None,
        };
        Self {
            unknown,
            text: error.render().ansi().to_string(),
            status: u8::try_from(error.exit_code()).unwrap_or(2),
            to_stdout: !error.use_stderr(),
        }
    }
}

/// Reads the command line; `args` with the name of the program in front.
///
/// # Errors
/// Help or version (status 0), or what is wrong with it (status 2).
pub fn parse(args: &[OsString], declarations: &[Declaration]) -> Result<Invocation, Exit> {
    parse_in(args, declarations, None)
}

/// [`parse`] for a terminal of `width` columns; `None`: the one there is.
fn parse_in(args: &[OsString], declarations: &[Declaration], width: Option<usize>) -> Result<Invocation, Exit> {
    let args = normalised(args);
    if let Some(text) = stray_switch_value(&args, declarations) {
        return Err(Exit::usage(text));
    }
    let chosen = early(&args);
    let selection = Selection::of(declarations, |kind| chosen.choice(&kind.to_string()).map(str::to_owned));
    let mut command = command(declarations, Shown::Of(&selection));
    if let Some(width) = width {
        command = command.term_width(width);
    }
    match command.try_get_matches_from(args) {
        Ok(matches) => understood(&matches),
        Err(error) => {
            let lost = error.kind() == ErrorKind::UnknownArgument && declarations.is_empty();
            let mut exit = Exit::from(error);
            if lost {
                exit.text.push_str("\nNo plugin was found, so their options are not known; see `host plugins list`.\n");
            }
            Err(exit)
        }
    }
}

/// The answer to `--version`, for which no plugin need be known; `None`: something else is asked
/// for.
pub fn version_asked(args: &[OsString]) -> Option<String> {
    if !args.iter().any(|arg| arg == "--version" || arg == "-V") {
        return None;
    }
    let asked = command(&[], Shown::All).try_get_matches_from(args);
    asked.err().filter(|error| error.kind() == ErrorKind::DisplayVersion).map(|error| error.render().to_string())
}

fn understood(matches: &ArgMatches) -> Result<Invocation, Exit> {
    let mut made = Invocation::default();
    let mut path = Vec::new();
    let mut here = matches;
    loop {
        collect(here, &mut made);
        match here.subcommand() {
            Some((name, deeper)) => {
                path.push(name);
                here = deeper;
            }
            None => break,
        }
    }
    made.command = match path.as_slice() {
        [] | ["run"] => Command::Run,
        ["eval"] => Command::Eval {
            model: here.get_one("@model").cloned(),
            runtime: here.get_one("@runtime").cloned().unwrap_or_else(|| "auto".to_owned()),
            libraries: libraries(here),
        },
        ["export"] => Command::Export(export_flags(here, &mut made.format)?),
        ["bench"] => Command::Bench {
            models: here.get_many("@models").into_iter().flatten().cloned().collect(),
            images: required(here, "@images")?,
            libraries: libraries(here),
        },
        ["import"] => {
            let (weights, map) = (required(here, "@weights")?, here.get_one("@map").cloned());
            let key = here.get_one("@key_of_weights").cloned();
            let in_order = here.get_one::<String>("@match").is_some_and(|how| how == "order");
            Command::Import(ImportFlags { weights, key, map, in_order, overwrite: here.get_flag("@overwrite") })
        }
        ["data", "check"] => Command::DataCheck { dir: required(here, "@dir")? },
        ["data", "stats"] => Command::DataStats { dir: required(here, "@dir")? },
        ["plugins"] | ["plugins", "list"] => Command::PluginsList,
        ["plugins", "show"] => Command::PluginsShow { name: required(here, "@name")? },
        ["plugins", "check"] => Command::PluginsCheck { file: required(here, "@file")? },
        ["config", "show"] => Command::ConfigShow,
        ["config", "explain"] => Command::ConfigExplain { key: required(here, "@key")? },
        ["config", "init"] => {
            Command::ConfigInit { path: here.get_one("@path").cloned(), force: here.get_flag("@force") }
        }
        ["completions"] => Command::Completions { shell: required(here, "@shell")? },
        other => return Err(Exit::usage(format!("error: `host {}` is not a command", other.join(" ")))),
    };
    Ok(made)
}

fn libraries(here: &ArgMatches) -> LibraryPaths {
    let path = |id: &str| here.get_one::<PathBuf>(id).cloned();
    LibraryPaths { litert: path("@litert"), onnxruntime: path("@onnxruntime") }
}

/// `--format` is twofold here: the files' formats, and that of the table.
fn export_flags(here: &ArgMatches, table: &mut Format) -> Result<ExportFlags, Exit> {
    let mut formats: Vec<String> = here.get_many("@formats").into_iter().flatten().cloned().collect();
    if formats.iter().any(|format| format == "json") {
        *table = Format::Json;
    }
    formats.retain(|format| !matches!(format.as_str(), "json" | "text"));
    if formats.is_empty() {
        formats = FORMATS.map(str::to_owned).to_vec();
    }
    let default_ranges = match ["@default_min", "@default_max"].map(|id| here.get_one::<f32>(id).copied()) {
        [Some(min), Some(max)] if min <= 0.0 && max >= 0.0 && min < max => Some([min, max]),
        [None, None] => None,
        [Some(_), Some(_)] => {
            let text = "error: --default-ranges-min and --default-ranges-max must hold zero between them";
            return Err(Exit::usage(text.into()));
        }
        _ => {
            return Err(Exit::usage(
                "error: give both --default-ranges-min and --default-ranges-max, or neither".into(),
            ));
        }
    };
    Ok(ExportFlags {
        model_dir: required(here, "@model_dir")?,
        post_quant: required(here, "@post_quant")?,
        onnx_reduce_range: required(here, "@onnx_reduce_range")?,
        formats,
        target: required(here, "@target")?,
        calibration_dir: here.get_one("@calibration_dir").cloned(),
        calibration_images: required(here, "@calibration_images")?,
        calibration_method: required(here, "@calibration_method")?,
        calibration_percent: required(here, "@calibration_percent")?,
        default_ranges,
        verify_images: required(here, "@verify_images")?,
        libraries: libraries(here),
    })
}

fn required<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, id: &str) -> Result<T, Exit> {
    let wrong = || Exit::usage(format!("error: {} is missing", id.trim_start_matches('@').to_uppercase()));
    matches.get_one(id).cloned().ok_or_else(wrong)
}

/// The flags of one level: they may stand before or after the name of a command.
fn collect(matches: &ArgMatches, into: &mut Invocation) {
    let paths = |id| matches.try_get_many::<PathBuf>(id).ok().flatten().into_iter().flatten().cloned();
    into.configs.extend(paths("@config"));
    into.plugin_dirs.extend(paths("@plugin_dir"));
    if let Ok(Some(filter)) = matches.try_get_one::<String>("@log") {
        into.log = Some(filter.clone());
    }
    if let Ok(Some(format)) = matches.try_get_one::<String>("@format") {
        into.format = if format == "json" { Format::Json } else { Format::Text };
    }
    for id in matches.ids().filter(|id| !id.as_str().starts_with('@')) {
        if let Ok(Some(text)) = matches.try_get_one::<String>(id.as_str()) {
            into.flags.push((id.to_string(), text.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
