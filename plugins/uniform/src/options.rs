//! The learner's options, and what they say when read.

use pocketflow::Result;
use pocketflow::option::OptionSpec;
use pocketflow::quant::Buckets;
use pocketflow::settings::Settings;
use std::path::PathBuf;

pub fn specs() -> Vec<OptionSpec> {
    vec![
        OptionSpec::int("uql_weight_bits", 4, 1..=32, "Bits for the weights of layers; 32 leaves them alone."),
        OptionSpec::int("uql_activation_bits", 32, 1..=32, "Bits for activations; 32 leaves them alone."),
        OptionSpec::path(
            "uql_save_quant_model_path",
            "./uql_quant_models/model.ckpt",
            "Where the quantized model is saved, weights packed.",
        ),
        OptionSpec::switch("uql_use_buckets", false, "Cut the weights of a layer into buckets, each with its own range."),
        OptionSpec::choice(
            "uql_bucket_type",
            "channel",
            &["channel", "split"],
            "`channel`: a bucket for each output channel; `split`: buckets of `uql_bucket_size` consecutive weights.",
        ),
        OptionSpec::int("uql_bucket_size", 256, 1..=1 << 30, "Weights in a bucket of type `split`."),
        OptionSpec::switch("uql_quantize_all_layers", false, "Quantize the first and the last layer too."),
        OptionSpec::int("uql_quant_epoch", 60, 0..=100_000, "Epochs of fine-tuning; 0 quantizes without training.")
            .alias("uql_quant_epochs"),
        OptionSpec::float(
            "uql_lrn_rate",
            1e-3,
            0.0..=1.0,
            "Adam's first learning rate in fine-tuning, which falls to zero along half a cosine; 0 takes the original's \
             schedule: `lrn_rate_init` × 1e-3, 1e-4, 1e-5, in steps.",
        ),
        OptionSpec::path(
            "uql_bit_plan",
            "",
            "A TOML file with bits per layer, `[weight_bits]` and `[activation_bits]` with a line `\"layer name\" = bits` \
             each; layers that it does not name take `uql_weight_bits` and `uql_activation_bits`.",
        )
        .optional(),
    ]
}

/// The options' values.
#[derive(Debug, Clone)]
pub struct Options {
    pub weight_bits: u32,
    pub activation_bits: u32,
    pub save_path: PathBuf,
    pub buckets: Buckets,
    pub all_layers: bool,
    pub epochs: f64,
    /// `None`: the original's schedule.
    pub lrn_rate: Option<f64>,
    pub bit_plan: Option<PathBuf>,
}

impl Options {
    pub fn read(settings: &Settings) -> Result<Self> {
        let buckets = match (settings.get("uql_use_buckets")?, settings.get::<String>("uql_bucket_type")?.as_str()) {
            (false, _) => Buckets::Layer,
            (true, "split") => Buckets::Split(settings.get("uql_bucket_size")?),
            (true, _) => Buckets::Channel,
        };
        Ok(Self {
            weight_bits: settings.get("uql_weight_bits")?,
            activation_bits: settings.get("uql_activation_bits")?,
            save_path: settings.get("uql_save_quant_model_path")?,
            buckets,
            all_layers: settings.get("uql_quantize_all_layers")?,
            epochs: settings.get::<u32>("uql_quant_epoch")?.into(),
            lrn_rate: Some(settings.get::<f64>("uql_lrn_rate")?).filter(|rate| *rate > 0.0),
            bit_plan: settings.find("uql_bit_plan")?,
        })
    }
}
