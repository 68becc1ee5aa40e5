//! The learners' options, and what they say when read.

pub mod quantization;
pub mod search;

use pocketflow::option::OptionSpec;
use pocketflow::quant::{FULL_PRECISION_BITS, QuantPlan};
use pocketflow::settings::Settings;
use pocketflow::{Error, Result};
use pocketflow_search::budget::BudgetError;
use pocketflow_search::options::Options as Search;
use pocketflow_search::quantization::Quantization;
use pocketflow_torch::quantizer::LEARNED_BITS;
use quantization::QuantizationOptions;
use search::SearchOptions;
use std::path::PathBuf;

pocketflow::choice! {
    /// Where grids come from.
    pub enum QuantizerKind {
        MinMax = "minmax",
        Learned = "learned",
    }
}

pocketflow::options! {
    /// The options of fine-tuning, which learner `uniform` alone has.
    pub struct TuningOptions {
        /// Bits for the weights of layers; 32 leaves them alone.
        pub weight_bits: u32 = int("uql_weight_bits", 4, 1..=32),
        /// Epochs of fine-tuning; 0 quantizes without training.
        pub epochs: u32 = int("uql_quant_epoch", 60, 0..=100_000).alias("uql_quant_epochs"),
        /// Where the grids of weights and activations come from: `minmax`, the smallest and largest
        /// weight of a bucket and the range of the activations; `learned`, steps that are trained
        /// by gradient, 2 to 16 bits.
        pub quantizer: QuantizerKind = one_of("uql_quantizer", QuantizerKind::MinMax),
        /// A TOML file with bits per layer, `[weight_bits]` and `[activation_bits]` with a line
        /// `"layer name" = bits` each; layers that it does not name take `uql_weight_bits` and
        /// `uql_activation_bits`, or with `complete = true` (as a search writes) are an error.
        pub bit_plan: Option<PathBuf> = path("uql_bit_plan", "").optional(),
        /// Epochs after which the learning rate of the original's schedule (`uql_lrn_rate` = 0)
        /// falls by ten. Unset: of 60 epochs, and of others in proportion, 15 and 40 where the
        /// first convolution keeps the size of images, as for CIFAR-10's; else 5 and 20, or with
        /// depth-wise convolutions 5 and 30.
        pub boundaries: Option<Vec<f64>> = floats("uql_lrn_rate_boundaries", 0.0..=100_000.0),
    }
}

/// The declarations.
pub fn specs() -> Vec<OptionSpec> {
    [TuningOptions::specs(), QuantizationOptions::specs(), SearchOptions::specs()].concat()
}

/// The options' values.
#[derive(Debug, Clone)]
pub struct Options {
    pub weight_bits: u32,
    pub quantization: Quantization,
    /// Whether steps are learned, in place of ranges.
    pub learned: bool,
    pub epochs: f64,
    /// Adam's first learning rate, which falls along half a cosine; `None`: the original's
    /// schedule.
    pub lrn_rate: Option<f64>,
    /// Epochs after which the rate of the original's schedule falls; `None`: by the network.
    pub boundaries: Option<Vec<f64>>,
    pub bit_plan: Option<PathBuf>,
    pub search: Search,
}

impl Options {
    /// Reads the values.
    ///
    /// # Errors
    /// Options that do not go together.
    pub fn read(settings: &Settings) -> Result<Self> {
        let own = TuningOptions::read(settings)?;
        let quantization = QuantizationOptions::read(settings)?;
        let options = Self {
            weight_bits: own.weight_bits,
            epochs: own.epochs.into(),
            lrn_rate: quantization.first_rate(),
            quantization: quantization.quantization(),
            learned: own.quantizer == QuantizerKind::Learned,
            boundaries: own.boundaries,
            bit_plan: own.bit_plan,
            search: search::read(settings)?,
        };
        if options.bit_plan.is_some() && !options.search.methods.is_empty() {
            let problem = "bits that are given need no search; leave out one of both";
            return Err(settings.invalid(&TuningOptions::bit_plan(), problem));
        }
        check_boundaries(settings, &options)?;
        options.check_learned(settings)?;
        Ok(options)
    }
}

/// That boundaries ascend, and are of a schedule that has some.
fn check_boundaries(settings: &Settings, options: &Options) -> Result<()> {
    let Some(boundaries) = &options.boundaries else { return Ok(()) };
    let wrong = |problem: &str| Err(settings.invalid(&TuningOptions::boundaries(), problem));
    match boundaries.windows(2).find(|pair| pair[0] >= pair[1]) {
        Some(pair) => wrong(&format!("{} is not before {}; boundaries ascend", pair[0], pair[1])),
        None if options.lrn_rate.is_some() => {
            let rate = QuantizationOptions::lrn_rate().typed("0");
            wrong(&format!(
                "the learning rate falls along half a cosine, without boundaries; leave them out, or give {rate}"
            ))
        }
        None => Ok(()),
    }
}

impl Options {
    /// Whether a learned step takes bits; 32 are none.
    fn takes(bits: u32) -> bool {
        let [least, most] = LEARNED_BITS;
        bits == FULL_PRECISION_BITS || (least..=most).contains(&bits)
    }

    fn check_learned(&self, settings: &Settings) -> Result<()> {
        if !self.learned {
            return Ok(());
        }
        let quantization = &self.quantization;
        let weights = match self.search.methods.is_empty() {
            true => vec![(TuningOptions::weight_bits().name(), self.weight_bits)],
            false => {
                vec![(SearchOptions::min().name(), self.search.min), (SearchOptions::max().name(), self.search.max)]
            }
        };
        let others = [
            (QuantizationOptions::activation_bits().name(), quantization.activation_bits),
            (QuantizationOptions::edge_bits().name(), quantization.edge_bits),
        ];
        let given = weights.into_iter().chain(others);
        match given.into_iter().find(|(_, bits)| !Self::takes(*bits)) {
            Some((key, _)) => Err(settings.invalid(key, LEARNED_ADVICE)),
            None => Ok(()),
        }
    }

    /// That every layer and activation of a plan has bits that a learned step takes, where steps
    /// are learned.
    ///
    /// # Errors
    /// Names the layer or activation, and where its bits were given.
    pub fn check_plan(&self, plan: &QuantPlan) -> Result<()> {
        if !self.learned {
            return Ok(());
        }
        let weights = plan.weights.iter().map(|(name, quant)| ("layer", name, quant.bits));
        let values = plan.activations.iter().map(|(name, quant)| ("activation", name, quant.bits));
        let Some((what, name, bits)) = weights.chain(values).find(|(_, _, bits)| !Self::takes(*bits)) else {
            return Ok(());
        };
        let at = self.bit_plan.as_ref().map(|path| format!("bit plan {}: ", path.display())).unwrap_or_default();
        Err(Error::config(format!("{at}{what} `{name}` = {bits}: {LEARNED_ADVICE}")))
    }
}

const LEARNED_ADVICE: &str = "with `uql_quantizer = learned` 2 to 16 bits are possible, or 32 for none; give such bits, or `uql_quantizer = minmax`";

/// Returns why there is no budget, in the words of the options; `front`: for the budget of so many
/// bits of the front.
pub fn budget_error(settings: &Settings, error: &BudgetError, front: Option<f64>) -> Error {
    let (min, max) = (SearchOptions::min().name(), SearchOptions::max().name());
    let (key, advice) = match error {
        BudgetError::NoLayers | BudgetError::Empty(_) => (QuantizationOptions::all_layers().name(), String::new()),
        BudgetError::Bits { .. } => (min, format!(" ({max})")),
        BudgetError::Mean { .. } => (SearchOptions::equivalent_bits().name(), format!(" ({min}, {max})")),
        BudgetError::Overdrawn { .. } => (SearchOptions::equivalent_bits().name(), String::new()),
    };
    let key = if front.is_some() { SearchOptions::budgets().name() } else { key };
    settings.invalid(key, &format!("{error}{advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocketflow::ErrorKind;
    use pocketflow::option::Value;

    fn settings(changes: &[(&str, Value)]) -> Settings {
        let mut settings = Settings::defaults([("uniform", specs())]);
        changes.iter().for_each(|(key, value)| settings.derive(key, value.clone(), "the test"));
        settings
    }

    fn refused(changes: &[(&str, Value)]) -> String {
        let error = Options::read(&settings(changes)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    }

    #[test]
    fn every_key_is_declared_once() {
        let specs = specs();
        let mut keys: Vec<&str> =
            specs.iter().flat_map(|spec| spec.aliases.iter().chain([&spec.key])).map(String::as_str).collect();
        keys.sort_unstable();
        let declared = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), declared);
        assert!(keys.iter().all(|key| key.starts_with("uql_")), "{keys:?}");
    }

    #[test]
    fn defaults_are_the_originals_with_a_cosine() {
        let options = Options::read(&settings(&[])).unwrap();
        assert_eq!((options.weight_bits, options.epochs, options.lrn_rate), (4, 60.0, Some(1e-3)));
        assert_eq!((options.boundaries, options.bit_plan, options.search.methods), (None, None, Vec::new()));
        let steps = Options::read(&settings(&[("uql_lrn_rate", Value::Float(0.0))])).unwrap();
        assert_eq!(steps.lrn_rate, None);
    }

    #[test]
    fn a_plan_and_a_search_do_not_go_together() {
        let plan = ("uql_bit_plan", Value::from("plan.toml"));
        assert!(refused(&[plan, ("uql_bit_search", "uniform".into())]).contains("`uql_bit_plan` = plan.toml"));
    }

    #[test]
    fn boundaries_ascend_and_belong_to_the_originals_schedule() {
        let boundaries = |numbers: &[f64]| ("uql_lrn_rate_boundaries", Value::from(numbers.to_vec()));
        let steps = ("uql_lrn_rate", Value::Float(0.0));
        for wrong in [[2.0, 1.0], [1.0, 1.0]] {
            assert!(refused(&[steps.clone(), boundaries(&wrong)]).contains("boundaries ascend"));
        }
        let said = refused(&[boundaries(&[1.0])]);
        assert!(said.contains("`uql_lrn_rate_boundaries` = 1 ") && said.contains("--uql-lrn-rate=0"), "{said}");
        let taken = Options::read(&settings(&[steps, boundaries(&[0.5, 1.0])])).unwrap();
        assert_eq!(taken.boundaries, Some(vec![0.5, 1.0]));
    }

    #[test]
    fn why_there_is_no_budget_names_the_option_to_change() {
        let settings = settings(&[("uql_budgets", Value::Floats(vec![2.5]))]);
        let said = |error: &BudgetError, front| budget_error(&settings, error, front).to_string();
        assert!(said(&BudgetError::NoLayers, None).starts_with("`uql_quantize_all_layers` = false"));
        assert!(said(&BudgetError::NoLayers, Some(2.5)).starts_with("`uql_budgets` = 2.5"));
    }
}
