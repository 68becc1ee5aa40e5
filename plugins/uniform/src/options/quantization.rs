//! The options that say what is quantized and on which grid, apart from the bits of weights.

use pocketflow::Result;
use pocketflow::clip::WeightRange;
use pocketflow::option::OptionSpec;
use pocketflow::quant::Buckets;
use pocketflow::settings::Settings;
use pocketflow_search::quantization::Quantization;

pub fn specs() -> Vec<OptionSpec> {
    vec![
        OptionSpec::int("uql_activation_bits", 32, 1..=32, "Bits for activations; 32 leaves them alone."),
        OptionSpec::path(
            "uql_save_quant_model_path",
            "./uql_quant_models/model.ckpt",
            "Where the quantized model is saved, weights packed.",
        )
        .output(),
        OptionSpec::switch(
            "uql_use_buckets",
            false,
            "Cut the weights of a layer into buckets, each with its own range.",
        ),
        OptionSpec::choice(
            "uql_bucket_type",
            "channel",
            &["channel", "split"],
            "`channel`: a bucket for each output channel; `split`: buckets of `uql_bucket_size` consecutive weights.",
        ),
        OptionSpec::int("uql_bucket_size", 256, 1..=1 << 30, "Weights in a bucket of type `split`."),
        OptionSpec::switch("uql_quantize_all_layers", false, "Quantize the first and the last layer too."),
        OptionSpec::choice(
            "uql_weight_range",
            "minmax",
            &["minmax", "mse"],
            "Where the range of a bucket comes from: `minmax`, its smallest and largest weight; `mse`, what within these gives the \
             least squared error of the layer's results, by mean and variance of its inputs on 1,000 training images: the parent's \
             weights are clipped to it before they are quantized.",
        ),
        OptionSpec::switch(
            "uql_enbl_bn_reestimate",
            true,
            "Move batch-norm statistics by what quantization does to their inputs on 1,000 training images, where weights are quantized \
             without training.",
        ),
        OptionSpec::float(
            "uql_lrn_rate",
            1e-3,
            0.0..=1.0,
            "Adam's first learning rate in fine-tuning, which falls to zero along half a cosine; 0 takes the original's \
             schedule: `lrn_rate_init` × 1e-3, 1e-4, 1e-5, in steps.",
        ),
    ]
}

/// Reads the values.
///
/// # Errors
/// The options are not declared.
pub fn read(settings: &Settings) -> Result<Quantization> {
    let buckets = match (settings.get("uql_use_buckets")?, settings.get::<String>("uql_bucket_type")?.as_str()) {
        (false, _) => Buckets::Layer,
        (true, "split") => Buckets::Split(settings.get("uql_bucket_size")?),
        (true, _) => Buckets::Channel,
    };
    let range = match settings.get::<String>("uql_weight_range")?.as_str() {
        "mse" => WeightRange::Mse,
        _ => WeightRange::MinMax,
    };
    Ok(Quantization {
        activation_bits: settings.get("uql_activation_bits")?,
        save_path: settings.get("uql_save_quant_model_path")?,
        buckets,
        all_layers: settings.get("uql_quantize_all_layers")?,
        range,
        reestimate: settings.get("uql_enbl_bn_reestimate")?,
        lrn_rate: Some(settings.get::<f64>("uql_lrn_rate")?).filter(|rate| *rate > 0.0),
    })
}
