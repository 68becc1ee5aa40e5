//! The learner's options, and what they say when read.

use pocketflow::Result;
use pocketflow::integer::Target;
use pocketflow::option::OptionSpec;
use pocketflow::settings::Settings;
use pocketflow_torch::network::Integers;
use std::path::PathBuf;

/// Share of the past in the moving averages of activation ranges, as TensorFlow has it.
const RANGE_DECAY: f64 = 0.999;

/// The declarations.
pub fn specs() -> Vec<OptionSpec> {
    vec![
        OptionSpec::path(
            "uqtf_save_path",
            "./models_uqtf/model.ckpt",
            "Where the training model is saved: with batch normalisations, weights in full precision.",
        )
        .output(),
        OptionSpec::path(
            "uqtf_save_path_eval",
            "./models_uqtf_eval/model.ckpt",
            "Where the evaluation model is saved, which is what to export: batch normalisations folded, weights packed, with all \
             ranges.",
        )
        .output(),
        OptionSpec::choice(
            "uqtf_target",
            Target::default().name(),
            &Target::NAMES,
            "The integers to deploy in. `int8`: weights symmetric per channel, the fast one; `uint8`: weights asymmetric per \
             tensor, as TensorFlow's first quantized models.",
        ),
        OptionSpec::int("uqtf_weight_bits", 8, 2..=16, "Bits for the weights of all layers."),
        OptionSpec::int("uqtf_activation_bits", 8, 2..=16, "Bits for activations, sums, input and output."),
        OptionSpec::int(
            "uqtf_quant_delay",
            0,
            0..=1 << 40,
            "Training steps in full precision before quantization starts; activation ranges are tracked meanwhile.",
        ),
        OptionSpec::int(
            "uqtf_freeze_bn_delay",
            0,
            0..=1 << 40,
            "Training steps after which the batch normalisations' moving statistics are frozen and used; left out: never.",
        )
        .optional(),
        OptionSpec::float("uqtf_lrn_rate_dcy", 1e-2, 0.0..=1.0, "Factor on the net's own learning rates in fine-tuning."),
    ]
}

/// The options' values.
#[derive(Debug, Clone)]
pub struct Options {
    pub save_path: PathBuf,
    pub save_path_eval: PathBuf,
    pub integers: Integers,
    pub quant_delay: u64,
    pub freeze_delay: Option<u64>,
    pub lrn_rate_factor: f64,
}

impl Options {
    pub fn read(settings: &Settings) -> Result<Self> {
        let target: String = settings.get("uqtf_target")?;
        let integers = Integers {
            target: Target::parse(&target).ok_or_else(|| settings.invalid("uqtf_target", "no such target"))?,
            weight_bits: settings.get("uqtf_weight_bits")?,
            activation_bits: settings.get("uqtf_activation_bits")?,
            range_decay: RANGE_DECAY,
        };
        Ok(Self {
            save_path: settings.get("uqtf_save_path")?,
            save_path_eval: settings.get("uqtf_save_path_eval")?,
            integers,
            quant_delay: settings.get("uqtf_quant_delay")?,
            freeze_delay: settings.find("uqtf_freeze_bn_delay")?,
            lrn_rate_factor: settings.get("uqtf_lrn_rate_dcy")?,
        })
    }
}
