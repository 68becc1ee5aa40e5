//! The clap command, built from the options. Options of all plugins are taken, since a plugin may
//! be selected in a file; help shows those of the plugins that the command line itself selects.

use crate::layers::catalogue::{Owner, shown};
use crate::layers::{EXTENDS, PREFIX, Selection};
use crate::options::{OTHER_VARIABLES, host_options};
use crate::provenance;
use crate::registry::Reserved;
use crate::select::AUTO;
use clap::builder::{BoolishValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command, ValueHint, value_parser};
use pocketflow::integer::Target;
use pocketflow::names::{canonical, shown as shown_name};
use pocketflow::option::{Choice, HostOptions, Kind, OptionSpec};
use pocketflow::plugin::{Declaration, PluginKind};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::PathBuf;

/// Which plugins' options help and completion show.
#[derive(Clone, Copy)]
pub enum Shown<'a> {
    All,
    Of(&'a Selection<'a>),
}

/// The whole command line of `host`.
pub fn command(declarations: &[Declaration], shown: Shown<'_>) -> Command {
    with_option_args(option_args(declarations, shown), declarations)
}

/// The keys that no plugin may declare: the host's options, every flag that any command has
/// besides, and what a file or a variable means that is no option.
pub fn reserved() -> Reserved {
    let mut bare = with_option_args(Vec::new(), &[]);
    // Adds `--help`, `--version` and the command `help`.
    bare.build();
    let mut keys = BTreeSet::from([EXTENDS.to_owned(), provenance::TABLE.to_owned()]);
    keys.extend(OTHER_VARIABLES.iter().map(|name| name.trim_start_matches(PREFIX).to_ascii_lowercase()));
    let mut commands = vec![&bare];
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands());
        for arg in command.get_arguments() {
            // What stands without a flag, as `MODEL`, has only its name.
            keys.insert(canonical(arg.get_id().as_str().trim_start_matches('@')));
            keys.extend(arg.get_long_and_visible_aliases().unwrap_or_default().into_iter().map(canonical));
        }
    }
    Reserved { options: host_options(), keys, names: BTreeSet::from([AUTO.to_owned()]) }
}

fn with_option_args(options: Vec<Arg>, declarations: &[Declaration]) -> Command {
    let leaf = |name: &'static str, about: &'static str| Command::new(name).about(about).args(fixed_args());
    let with_options = |name, about| leaf(name, about).args(options.clone());
    let eval = with_options("eval", "Evaluate a saved model on the test images")
        .arg(path("@model", "MODEL").help("A save path; without it, the model that the learner saved"))
        .arg(
            Arg::new("@runtime")
                .long("runtime")
                .value_name("RUNTIME")
                .default_value("auto")
                .value_parser(pocketflow_runtime::Choice::NAMES)
                .help("What runs the model; onnxruntime-default: without the session option that makes its sums exact"),
        );
    let eval = eval.args(library_args());
    let bench = with_options("bench", "Measure exported files: size, latency, accuracy, side by side")
        .arg(path("@models", "MODEL").required(true).num_args(1..).help(".tflite and .onnx files"))
        .arg(count("@images", "images", "500").help("Test images that accuracy is measured on; 0: none"))
        .args(library_args());
    let export = Command::new("export")
        .about("Write a saved model as .tflite, .onnx and .pb, and check the files on images")
        .args(fixed_args().into_iter().filter(|arg| arg.get_id() != "@format"))
        .args(export_args())
        .args(library_args())
        .args(options.clone());
    let import = with_options("import", "Read weights of another program as a model of a net")
        .arg(path("@weights", "WEIGHTS").required(true).help(
            "A .safetensors, .pth or .tflite file, or the index (.index.json) of a model in several files",
        ))
        .arg(Arg::new("@key_of_weights").long("key").value_name("KEY").help(
            "Of several dictionaries of tensors in a checkpoint, the one to read: the keys that lead to it, as ema.model",
        ))
        .arg(path("@map", "FILE").long("map").help(
            "Which name of the file is which of the net's: TOML, lines of the form \"theirs\" = \"ours\"; a name may be the \
             front of many. \"\" leaves a tensor out, \".\" takes the front away",
        ))
        .arg(
            Arg::new("@match")
                .long("match")
                .value_name("HOW")
                .default_value("name")
                .value_parser(["name", "order"])
                .help("How tensors find their parameters; order: by their order and shapes, where names say nothing"),
        )
        .arg(
            Arg::new("@overwrite").long("overwrite").action(ArgAction::SetTrue).help("Replace a model that is there"),
        );
    let data = leaf("data", "Look after data sets").subcommand_required(true).subcommand(
        with_options("check", "Read a whole data set, and say what is missing or damaged")
            .arg(path("@dir", "DIR").required(true).help("The folder with its files")),
    );
    let data = data.subcommand(
        with_options("stats", "Measure mean and standard deviation of the pixels, for --input_mean and --input_std")
            .arg(path("@dir", "DIR").required(true).help("The folder with its files")),
    );
    let plugins = leaf("plugins", "List plugins, or look at one")
        .subcommand(leaf("list", "List all plugins and those that failed to load"))
        .subcommand(
            leaf("show", "Show a plugin with its options")
                .arg(Arg::new("@name").value_name("NAME").required(true).value_parser(plugin_names(declarations))),
        )
        .subcommand(leaf("check", "Check a file as a plugin").arg(path("@file", "FILE").required(true)));
    let config = leaf("config", "Show, explain or write settings")
        .subcommand_required(true)
        .subcommand(with_options("show", "Print every resolved value, where it came from and what it overrode"))
        .subcommand(
            with_options("explain", "Explain one option: type, range, default, owner and its value now")
                .arg(Arg::new("@key").value_name("KEY").required(true).help("A key, an alias or a variable")),
        )
        .subcommand(
            with_options("init", "Write a commented configuration file")
                .arg(path("@path", "PATH").help("Where to [default: ./pocketflow.toml]"))
                .arg(Arg::new("@force").long("force").action(ArgAction::SetTrue).help("Replace a file that is there")),
        );
    let completions = leaf("completions", "Print completions for a shell")
        .arg(Arg::new("@shell").value_name("SHELL").required(true).value_parser(value_parser!(clap_complete::Shell)));
    Command::new("host")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Trains and quantizes convolutional image classifiers")
        .max_term_width(120)
        .args(fixed_args())
        .args(options.clone())
        .subcommand(with_options("run", "Run the learner on the net (also without a command)"))
        .subcommands([eval, export, import, bench, data, plugins, config, completions])
        .after_help(after_help(declarations))
}

fn path(id: &'static str, name: &'static str) -> Arg {
    Arg::new(id).value_name(name).value_parser(PathText).value_hint(ValueHint::AnyPath)
}

fn count(id: &'static str, flag: &'static str, default: &'static str) -> Arg {
    Arg::new(id).long(flag).value_name("N").default_value(default).value_parser(value_parser!(u64))
}

/// The flags of `export` alone.
fn export_args() -> Vec<Arg> {
    let number = |id: &'static str, flag: &'static str| {
        Arg::new(id).long(flag).value_name("X").allow_negative_numbers(true).value_parser(value_parser!(f32))
    };
    let switch = |id: &'static str, flag: &'static str| {
        Arg::new(id)
            .long(flag)
            .value_name("BOOL")
            .num_args(0..=1)
            .require_equals(true)
            .default_value("false")
            .default_missing_value("true")
            .value_parser(BoolishValueParser::new())
            .hide_possible_values(true)
    };
    vec![
        Arg::new("@model_dir")
            .long("model-dir")
            .value_name("DIR")
            .required(true)
            .value_parser(PathText)
            .value_hint(ValueHint::AnyPath)
            .help("The folder of a saved model (model.ckpt), or the model; the files go into the folder"),
        switch("@post_quant", "enbl-post-quant").help(
            "Quantize what training left in float, with ranges from training images; without it, that stays float",
        ),
        switch("@onnx_reduce_range", "onnx-reduce-range").help(
            "Weights of 7 bits in the .onnx file, for programs that cannot set ONNX Runtime's session option \
             session.x64quantprecision: the same answers on processors without VNNI",
        ),
        Arg::new("@formats")
            .long("format")
            .value_name("FORMAT,...")
            .value_delimiter(',')
            .action(ArgAction::Append)
            .value_parser(["tflite", "onnx", "pb", "json", "text"])
            .help("Which files to write [default: tflite,onnx,pb]; json prints the result as JSON"),
        Arg::new("@target")
            .long("type")
            .value_name("TYPE")
            .default_value("int8")
            .value_parser(PossibleValuesParser::new(Target::WORDS.iter().map(|(word, _)| *word)))
            .help("int8: weights per channel, the fast one; uint8: per tensor, as TensorFlow's first quantized models"),
        path("@calibration_dir", "DIR").long("calibration-dir").help(
            "A folder of images that ranges are taken from instead of the training images: of any kind, in folders or not, \
             without labels",
        ),
        count("@calibration_images", "calibration-images", "512").help("How many images ranges are taken from"),
        Arg::new("@calibration_method")
            .long("calibration-method")
            .value_name("METHOD")
            .default_value("mse")
            .value_parser(["mse", "percentile", "minmax"])
            .help("How ranges are taken: least squared error, without the outermost values, or all of them"),
        Arg::new("@calibration_percent")
            .long("calibration-percent")
            .value_name("X")
            .default_value("0.01")
            .value_parser(value_parser!(f64))
            .help("Of the values, how many percent `percentile` leaves out"),
        number("@default_min", "default-ranges-min").help("With -max: the range of values that no image tells of"),
        number("@default_max", "default-ranges-max").help("See --default-ranges-min"),
        count("@verify_images", "verify-images", "500").help("Test images that the files are checked on; 0: no check"),
    ]
}

/// Where other runtimes' libraries are.
fn library_args() -> [Arg; 2] {
    let path = |id: &'static str, flag: &'static str| {
        Arg::new(id).long(flag).value_name("PATH").value_parser(PathText).value_hint(ValueHint::AnyPath)
    };
    [
        path("@litert", "litert").help("LiteRT's library, libLiteRt.so [variable: POCKETFLOW_LITERT]"),
        path("@onnxruntime", "onnxruntime").help("ONNX Runtime's library [variable: POCKETFLOW_ONNXRUNTIME]"),
    ]
}

/// The flags that are no options.
fn fixed_args() -> [Arg; 4] {
    let path = |id: &'static str, name, hint| {
        Arg::new(id)
            .long(id.trim_start_matches('@').replace('_', "-"))
            .value_name(name)
            .value_hint(hint)
            .action(ArgAction::Append)
            .value_parser(PathText)
    };
    [
        path("@config", "FILE", ValueHint::FilePath)
            .help("Read settings from a .toml, .yaml or .json file; may be repeated, later files win"),
        path("@plugin_dir", "DIR", ValueHint::DirPath).help("Look for plugins here first; may be repeated"),
        Arg::new("@log")
            .long("log")
            .value_name("FILTER")
            .help("What to log, as `debug` or `uniform=trace,info` [variable: RUST_LOG]"),
        Arg::new("@format")
            .long("format")
            .value_name("FORMAT")
            .value_parser(["text", "json"])
            .help("How tables are printed [default: text]"),
    ]
}

/// One argument for every key, those of selected plugins and their ranges first.
fn option_args(declarations: &[Declaration], shown: Shown<'_>) -> Vec<Arg> {
    let selected = |declaration: &Declaration| match shown {
        Shown::All => true,
        Shown::Of(selection) => selection.owners().contains(&declaration),
    };
    let host = host_options();
    let (first, others): (Vec<&Declaration>, Vec<&Declaration>) = declarations.iter().partition(|each| selected(each));
    let plugins = |declarations: Vec<&Declaration>, hide: bool| {
        declarations
            .into_iter()
            .flat_map(|declaration| declaration.options.iter().map(|spec| (Owner::of(declaration), spec.clone())))
            .map(move |(owner, spec)| (owner, spec, hide))
            .collect::<Vec<_>>()
    };
    let all = host.into_iter().map(|spec| (Owner::host(), spec, false));
    let all = all.chain(plugins(first, false)).chain(plugins(others, true));
    let mut taken = BTreeSet::new();
    let mut args = Vec::new();
    for (owner, spec, hide) in all {
        // A key of several plugins is one flag.
        if taken.insert(spec.key.clone()) {
            let aliases = spec.aliases.iter().filter(|alias| taken.insert((*alias).clone()));
            let aliases: Vec<String> = aliases.map(|alias| alias.replace('_', "-")).collect();
            args.push(option_arg(&owner, &spec, declarations).visible_aliases(aliases).hide(hide));
        }
    }
    args
}

fn option_arg(owner: &Owner, spec: &OptionSpec, declarations: &[Declaration]) -> Arg {
    let arg = Arg::new(spec.key.clone())
        .long(spec.flag())
        .help(help(spec))
        .help_heading(match owner.kind {
            Some(_) => format!("Options of {owner}"),
            None => "Options of every run".to_owned(),
        })
        .value_parser(Unchecked { choices: choices(owner, spec, declarations) });
    // Keys of one letter are the host's: `-n=4` is what the original's scripts write.
    let arg = match (owner.kind, spec.key.chars().next(), spec.key.len()) {
        (None, Some(letter), 1) => arg.short(letter),
        _ => arg,
    };
    match &spec.kind {
        Kind::Switch => arg
            .value_name("BOOL")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .hide_possible_values(true),
        Kind::Int { .. } => arg.value_name("N").allow_negative_numbers(true),
        Kind::Float { .. } => arg.value_name("X").allow_negative_numbers(true),
        Kind::Floats { .. } => arg.value_name("X,X,...").allow_negative_numbers(true),
        Kind::Path => arg.value_name("PATH").value_hint(ValueHint::AnyPath),
        // Only the host's options that choose plugins offer names.
        Kind::Text if arg.get_possible_values().is_empty() => arg.value_name("TEXT"),
        Kind::Text => arg.value_name("NAME"),
        Kind::Choice(_) => arg.value_name("CHOICE"),
        _ => arg.value_name("VALUE"),
    }
}

fn help(spec: &OptionSpec) -> String {
    let kind = match &spec.kind {
        // Said by the value's name, or by the list of possible values.
        Kind::Switch | Kind::Text | Kind::Path | Kind::Choice(_) => None,
        kind => Some(kind.to_string()),
    };
    let default = spec.default.as_ref().map(|value| format!("default: {}", shown(Some(value))));
    let facts: Vec<String> = kind.into_iter().chain(default).collect();
    match facts.is_empty() {
        true => spec.doc.clone(),
        false => format!("{} [{}]", spec.doc, facts.join("; ")),
    }
}

/// What completion offers.
fn choices(owner: &Owner, spec: &OptionSpec, declarations: &[Declaration]) -> Vec<String> {
    let plugins = |kind| declarations.iter().filter(move |each| each.kind == kind).map(|each| each.name.clone());
    match (&spec.kind, owner.kind, spec.key.as_str()) {
        (Kind::Choice(choices), ..) => choices.clone(),
        (Kind::Switch, ..) => vec!["True".into(), "False".into()],
        (_, None, key) if key == HostOptions::learner().name() => plugins(PluginKind::Learner).collect(),
        (_, None, key) if key == HostOptions::net().name() => plugins(PluginKind::Net).collect(),
        (_, None, key) if key == HostOptions::dataset().name() => {
            std::iter::once(AUTO.to_owned()).chain(plugins(PluginKind::Dataset)).collect()
        }
        _ => Vec::new(),
    }
}

/// Takes any text and only names the choices there are: values are checked with those of all
/// layers.
#[derive(Clone)]
struct Unchecked {
    choices: Vec<String>,
}

impl TypedValueParser for Unchecked {
    type Value = String;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<String, clap::Error> {
        text(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        match self.choices.is_empty() {
            true => None,
            false => Some(Box::new(self.choices.iter().map(PossibleValue::new))),
        }
    }
}

/// A path that is not empty.
#[derive(Clone)]
struct PathText;

impl TypedValueParser for PathText {
    type Value = PathBuf;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<PathBuf, clap::Error> {
        match value.is_empty() {
            true => Err(wrong(command, format!("the path of {} is empty", named(arg)))),
            false => Ok(value.into()),
        }
    }
}

fn text(command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<String, clap::Error> {
    let invalid = || {
        let shown = value.to_string_lossy();
        wrong(command, format!("the value of {} is not UTF-8 text: `{}`", named(arg), shown_name(&shown)))
    };
    value.to_str().map(str::to_owned).ok_or_else(invalid)
}

fn wrong(command: &Command, message: String) -> clap::Error {
    clap::Error::raw(ErrorKind::ValueValidation, message + "\n").with_cmd(command)
}

/// An argument as a user writes it: its flag, or the word that help has for it.
fn named(arg: Option<&Arg>) -> String {
    let flag = arg.and_then(Arg::get_long).map(|flag| format!("--{flag}"));
    flag.or_else(|| arg?.get_value_names()?.first().map(ToString::to_string)).unwrap_or_else(|| "an argument".into())
}

/// Completes the names of plugins, and takes any: an unknown one is answered by the registry, which
/// knows more.
fn plugin_names(declarations: &[Declaration]) -> Unchecked {
    Unchecked { choices: declarations.iter().map(|declaration| declaration.name.clone()).collect() }
}

fn after_help(declarations: &[Declaration]) -> String {
    let mut text = String::new();
    for (kind, words) in [
        (PluginKind::Learner, "Learners"),
        (PluginKind::Net, "Nets"),
        (PluginKind::Dataset, "Data sets"),
        (PluginKind::Agent, "Agents"),
    ] {
        let of_kind = declarations.iter().filter(|declaration| declaration.kind == kind);
        let names: Vec<&str> = of_kind.map(|declaration| declaration.name.as_str()).collect();
        if !names.is_empty() {
            text.push_str(&format!("{words}: {}\n", names.join(", ")));
        }
    }
    text.push_str(
        "Options of a plugin: `host plugins show NAME`, or `host --learner=NAME --help`.\n\
         An option is also a key of a file and a variable: uql_weight_bits, POCKETFLOW_UQL_WEIGHT_BITS.\n\
         `host config show` prints all settings, `host config explain KEY` one of them.",
    );
    text
}
