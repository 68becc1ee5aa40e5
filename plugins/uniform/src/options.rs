//! The learners' options, and what they say when read.

pub mod quantization;
pub mod search;

use pocketflow::option::OptionSpec;
use pocketflow::settings::Settings;
use pocketflow::{Error, Result};
use pocketflow_search::budget::BudgetError;
use pocketflow_search::options::Options as Search;
use pocketflow_search::quantization::Quantization;
use std::path::PathBuf;

/// The declarations.
pub fn specs() -> Vec<OptionSpec> {
    let mut specs = vec![
        OptionSpec::int("uql_weight_bits", 4, 1..=32, "Bits for the weights of layers; 32 leaves them alone."),
        OptionSpec::int("uql_quant_epoch", 60, 0..=100_000, "Epochs of fine-tuning; 0 quantizes without training.")
            .alias("uql_quant_epochs"),
        OptionSpec::path(
            "uql_bit_plan",
            "",
            "A TOML file with bits per layer, `[weight_bits]` and `[activation_bits]` with a line `\"layer name\" = bits` \
             each; layers that it does not name take `uql_weight_bits` and `uql_activation_bits`, or with `complete = true` \
             (as a search writes) are an error.",
        )
        .optional(),
    ];
    specs.extend(quantization::specs());
    specs.extend(search::specs());
    specs
}

/// The options' values.
#[derive(Debug, Clone)]
pub struct Options {
    pub weight_bits: u32,
    pub quantization: Quantization,
    pub epochs: f64,
    pub bit_plan: Option<PathBuf>,
    pub search: Search,
}

impl Options {
    /// Reads the values.
    ///
    /// # Errors
    /// Options that do not go together.
    pub fn read(settings: &Settings) -> Result<Self> {
        let options = Self {
            weight_bits: settings.get("uql_weight_bits")?,
            quantization: quantization::read(settings)?,
            epochs: settings.get::<u32>("uql_quant_epoch")?.into(),
            bit_plan: settings.find("uql_bit_plan")?,
            search: search::read(settings)?,
        };
        match options.bit_plan.is_some() && !options.search.methods.is_empty() {
            true => Err(settings.invalid("uql_bit_plan", "bits that are given need no search; leave out one of both")),
            false => Ok(options),
        }
    }
}

/// Returns why there is no budget, in the words of the options; `front`: for the budget of so many
/// bits of the front.
pub fn budget_error(settings: &Settings, error: &BudgetError, front: Option<f64>) -> Error {
    let (key, advice) = match error {
        BudgetError::NoLayers | BudgetError::Empty(_) => ("uql_quantize_all_layers", ""),
        BudgetError::Bits { .. } => ("uql_w_bit_min", " (uql_w_bit_max)"),
        BudgetError::Mean { .. } => ("uql_equivalent_bits", " (uql_w_bit_min, uql_w_bit_max)"),
        BudgetError::Overdrawn { .. } => ("uql_equivalent_bits", ""),
    };
    let key = if front.is_some() { "uql_budgets" } else { key };
    settings.invalid(key, &format!("{error}{advice}"))
}
