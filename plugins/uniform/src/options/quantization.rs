//! The options that say what is quantized and on which grid, apart from the bits of weights.

use pocketflow::clip::WeightRange;
use pocketflow::quant::Buckets;
use pocketflow_search::quantization::Quantization;
use std::path::PathBuf;

pocketflow::choice! {
    /// What a bucket is.
    pub enum BucketType {
        Channel = "channel",
        Split = "split",
    }
}

pocketflow::choice! {
    /// Where the range of a bucket comes from.
    pub enum RangeFrom {
        MinMax = "minmax",
        Mse = "mse",
    }
}

pocketflow::options! {
    /// The options of quantization.
    pub struct QuantizationOptions {
        /// Bits for activations; 32 leaves them alone.
        pub activation_bits: u32 = int("uql_activation_bits", 32, 1..=32),
        /// Where the quantized model is saved, weights packed.
        pub save_path: PathBuf = path("uql_save_quant_model_path", "./uql_quant_models/model.ckpt").output(),
        /// Cut the weights of a layer into buckets, each with its own range.
        pub buckets: bool = switch("uql_use_buckets", false),
        /// `channel`: a bucket for each output channel; `split`: buckets of `uql_bucket_size`
        /// consecutive weights.
        pub bucket_type: BucketType = one_of("uql_bucket_type", BucketType::Channel),
        /// Weights in a bucket of type `split`.
        pub bucket_size: usize = int("uql_bucket_size", 256, 1..=1 << 30),
        /// Quantize the first and the last layer too.
        pub all_layers: bool = switch("uql_quantize_all_layers", false),
        /// Bits for the weights of the first and the last layer, where `uql_quantize_all_layers` is
        /// off; 32 leaves them alone.
        pub edge_bits: u32 = int("uql_edge_bits", 32, 1..=32),
        /// Where the range of a bucket comes from: `minmax`, its smallest and largest weight;
        /// `mse`, what within these gives the least squared error of the layer's results, by mean
        /// and variance of its inputs on 1,000 training images: the parent's weights are clipped to
        /// it before they are quantized.
        pub range: RangeFrom = one_of("uql_weight_range", RangeFrom::MinMax),
        /// Move batch-norm statistics by what quantization does to their inputs on 1,000 training
        /// images, where weights are quantized without training.
        pub reestimate: bool = switch("uql_enbl_bn_reestimate", true),
        /// Adam's first learning rate in fine-tuning, which falls to zero along half a cosine; 0
        /// takes the original's schedule: `lrn_rate_init` × 1e-3, 1e-4, 1e-5, in steps.
        pub lrn_rate: f64 = float("uql_lrn_rate", 1e-3, 0.0..=1.0),
    }
}

impl QuantizationOptions {
    /// What is quantized, and on which grid.
    pub fn quantization(&self) -> Quantization {
        let buckets = match (self.buckets, self.bucket_type) {
            (false, _) => Buckets::Layer,
            (true, BucketType::Split) => Buckets::Split(self.bucket_size),
            (true, BucketType::Channel) => Buckets::Channel,
        };
        let range = match self.range {
            RangeFrom::MinMax => WeightRange::MinMax,
            RangeFrom::Mse => WeightRange::Mse,
        };
        Quantization {
            activation_bits: self.activation_bits,
            save_path: self.save_path.clone(),
            buckets,
            all_layers: self.all_layers,
            edge_bits: self.edge_bits,
            range,
            reestimate: self.reestimate,
        }
    }

    /// Adam's first learning rate; `None`: the original's.
    pub fn first_rate(&self) -> Option<f64> {
        Some(self.lrn_rate).filter(|rate| *rate > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocketflow::option::Value;
    use pocketflow::settings::Settings;

    fn read(changes: &[(&str, Value)]) -> Quantization {
        let mut settings = Settings::defaults([("a test", QuantizationOptions::specs())]);
        changes.iter().for_each(|(key, value)| settings.derive(key, value.clone(), "the test"));
        QuantizationOptions::read(&settings).unwrap().quantization()
    }

    #[test]
    fn buckets_are_those_that_are_turned_on() {
        let (on, split) = (("uql_use_buckets", Value::Bool(true)), ("uql_bucket_type", Value::from("split")));
        assert_eq!(read(&[]).buckets, Buckets::Layer);
        assert_eq!(read(std::slice::from_ref(&split)).buckets, Buckets::Layer, "the type alone turns nothing on");
        assert_eq!(read(std::slice::from_ref(&on)).buckets, Buckets::Channel);
        assert_eq!(read(&[on.clone(), split.clone()]).buckets, Buckets::Split(256));
        assert_eq!(read(&[on, split, ("uql_bucket_size", Value::Int(16))]).buckets, Buckets::Split(16));
    }

    #[test]
    fn where_ranges_come_from() {
        assert_eq!(read(&[]).range, WeightRange::MinMax);
        assert_eq!(read(&[("uql_weight_range", "mse".into())]).range, WeightRange::Mse);
    }
}
