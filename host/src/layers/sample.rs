//! Plugins and layers for tests: two learners, two nets with options of one name, data sets, an
//! agent.

use super::catalogue::Catalogue;
use super::{Layers, Sources, load_from};
use crate::cli::Invocation;
use crate::options::host_options;
use pocketflow::option::{Kind, OptionSpec};
use pocketflow::plugin::{Declaration, PluginKind};
use std::path::Path;

fn declaration(
    kind: PluginKind,
    name: &str,
    aliases: &[&str],
    datasets: &[&str],
    options: Vec<OptionSpec>,
) -> Declaration {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let mut declaration = Declaration::new(kind, name);
    declaration.aliases = owned(aliases);
    declaration.about = format!("The {kind} of the tests.");
    declaration.version = "0.1.0".into();
    declaration.options = options;
    declaration.datasets = owned(datasets);
    declaration
}

fn net_options(sizes: std::ops::RangeInclusive<i64>) -> Vec<OptionSpec> {
    vec![
        OptionSpec::int("resnet_size", *sizes.start(), sizes, "Layers."),
        OptionSpec::float("lrn_rate_init", 0.4, 0.0..=100.0, "Initial learning rate."),
    ]
}

pub fn declarations() -> Vec<Declaration> {
    use PluginKind::{Agent, Dataset, Learner, Net};
    let bits = |key: &str, default| OptionSpec::int(key, default, 1..=32, "Bits; 32 turns quantization off.");
    let boundaries = Kind::Floats { min: 0.0, max: f64::INFINITY };
    let uniform = vec![
        bits("uql_weight_bits", 4),
        bits("uql_activation_bits", 32),
        OptionSpec::choice("uql_bucket_type", "channel", &["channel", "split"], "What a bucket is."),
        OptionSpec::switch("uql_use_buckets", false, "Quantize each bucket with a range of its own."),
        OptionSpec::float("uql_quant_epoch", 60.0, 0.0..=f64::INFINITY, "Epochs of fine-tuning.")
            .alias("uql_quant_epochs"),
        OptionSpec::new("uql_boundaries", boundaries, None, "Epochs at which the rate falls."),
        OptionSpec::path("uql_bit_plan", "", "A file with the bits of each layer.").optional(),
    ];
    let data = || vec![OptionSpec::int("batch_size", 128, 1..=65_536, "Images in a training batch.")];
    let agent = vec![OptionSpec::float("ddpg_tau", 0.01, 0.0..=1.0, "Rate of the target networks.")];
    vec![
        declaration(Learner, "full-prec", &[], &[], vec![]),
        declaration(Learner, "uniform", &[], &[], uniform),
        declaration(Net, "resnet_at_cifar10", &["resnet_cifar10"], &["cifar10"], net_options(8..=110)),
        declaration(Net, "resnet_at_ilsvrc12", &["resnet_ilsvrc12"], &["ilsvrc12"], net_options(18..=152)),
        declaration(Dataset, "cifar10", &[], &[], data()),
        declaration(Dataset, "synthetic", &[], &["cifar10", "ilsvrc12"], data()),
        declaration(Agent, "rl-agent", &[], &[], agent),
    ]
}

pub fn catalogue() -> Catalogue {
    Catalogue::new(&host_options(), &declarations())
}

pub fn invocation(flags: &[(&str, &str)]) -> Invocation {
    let flags = flags.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    Invocation { flags, ..Invocation::default() }
}

/// Layers of these flags and `--config` files; no environment.
pub fn layers(flags: &[(&str, &str)], files: &[(&str, &str)]) -> Layers {
    try_layers(flags, files, &[]).unwrap()
}

/// The same with variables; file names in errors are without their directory.
pub fn try_layers(
    flags: &[(&str, &str)],
    files: &[(&str, &str)],
    variables: &[(&str, &str)],
) -> Result<Layers, String> {
    let dir = tempfile::tempdir().unwrap();
    let mut invocation = invocation(flags);
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        invocation.configs.push(path);
    }
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let sources = Sources { variables, ..Sources::default() };
    let loaded = load_from(&sources, &invocation, &declarations(), &host_options(), Vec::new());
    loaded.map_err(|error| without(&error.to_string(), dir.path())).map(|mut layers| {
        for leaf in layers.layers.iter_mut().flat_map(|layer| &mut layer.leaves) {
            if let pocketflow::settings::Origin::File { path, .. } = &mut leaf.origin {
                *path = path.strip_prefix(dir.path()).unwrap().to_owned();
            }
        }
        layers
    })
}

fn without(text: &str, dir: &Path) -> String {
    text.replace(&format!("{}/", dir.display()), "")
}
