//! The learner's options, and what they say when read.

use pocketflow::integer::Target;
use pocketflow_torch::network::Integers;
use std::path::PathBuf;

/// Share of the past in the moving averages of activation ranges, as TensorFlow has it.
const RANGE_DECAY: f64 = 0.999;

pocketflow::options! {
    /// The learner's options.
    pub struct Options {
        /// Where the training model is saved: with batch normalisations, weights in full precision.
        pub save_path: PathBuf = path("uqtf_save_path", "./models_uqtf/model.ckpt").output(),
        /// Where the evaluation model is saved, which is what to export: batch normalisations
        /// folded, weights packed, with all ranges.
        pub save_path_eval: PathBuf = path("uqtf_save_path_eval", "./models_uqtf_eval/model.ckpt").output(),
        /// The integers to deploy in. `int8`: weights symmetric per channel, the fast one; `uint8`:
        /// weights asymmetric per tensor, as TensorFlow's first quantized models.
        pub target: Target = one_of("uqtf_target", Target::default()),
        /// Bits for the weights of all layers.
        pub weight_bits: u32 = int("uqtf_weight_bits", 8, 2..=16),
        /// Bits for activations, sums, input and output.
        pub activation_bits: u32 = int("uqtf_activation_bits", 8, 2..=16),
        /// Training steps in full precision before quantization starts; activation ranges are
        /// tracked meanwhile.
        pub quant_delay: u64 = int("uqtf_quant_delay", 0, 0..=1 << 40),
        /// Training steps after which the batch normalisations' moving statistics are frozen and
        /// used; left out: never.
        pub freeze_delay: Option<u64> = int("uqtf_freeze_bn_delay", 0, 0..=1 << 40).optional(),
        /// Factor on the net's own learning rates in fine-tuning.
        pub lrn_rate_factor: f64 = float("uqtf_lrn_rate_dcy", 1e-2, 0.0..=1.0),
    }
}

impl Options {
    /// The integers that the network is trained for.
    pub fn integers(&self) -> Integers {
        Integers {
            target: self.target,
            weight_bits: self.weight_bits,
            activation_bits: self.activation_bits,
            range_decay: RANGE_DECAY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocketflow::settings::Settings;

    fn settings() -> Settings {
        Settings::defaults([("a test", Options::specs())])
    }

    #[test]
    fn defaults_are_those_of_integer_runtimes() {
        let options = Options::read(&settings()).unwrap();
        let Integers { target, weight_bits, activation_bits, range_decay } = options.integers();
        assert_eq!((target, weight_bits, activation_bits, range_decay), (Target::Int8, 8, 8, 0.999));
        assert_eq!((options.quant_delay, options.freeze_delay), (0, None));
        assert_eq!(options.lrn_rate_factor, 1e-2);
    }

    #[test]
    fn values_that_are_given_are_taken() {
        let mut settings = settings();
        settings.derive(&Options::target(), Target::Uint8, "the test");
        settings.derive(&Options::freeze_delay(), 13_u64, "the test");
        let options = Options::read(&settings).unwrap();
        assert_eq!((options.integers().target, options.freeze_delay), (Target::Uint8, Some(13)));
    }
}
