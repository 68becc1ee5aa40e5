//! What a search is to do: plain values, which a learner reads from its own options.

/// Ways of finding bits per layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// The most bits that fit, alike for all layers.
    Uniform,
    /// The exact solution for measured sensitivities.
    Sensitivity,
    /// Reinforcement learning.
    Agent,
}

impl Method {
    /// As in options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Sensitivity => "sensitivity",
            Self::Agent => "rl",
        }
    }
}

/// What a search is to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Those compared; empty: no search.
    pub methods: Vec<Method>,
    /// Name of the agent's plugin.
    pub agent: String,
    /// Bits of a weight on average: the budget.
    pub equivalent_bits: f64,
    /// How many times the agent goes through all layers.
    pub rollouts: usize,
    /// Fewest bits of a layer, 1 to 31.
    pub min: u32,
    /// Most bits of a layer, 1 to 31.
    pub max: u32,
    /// Steps of each kind of tuning; 0: none.
    pub layerwise: u64,
    /// Of all layers together, in each roll-out.
    pub global: u64,
    /// Of all layers together, for what is compared at the end.
    pub short: u64,
    /// Steps between two lines in the log.
    pub display: u64,
    /// Whether each roll-out visits the layers in another order.
    pub random_layers: bool,
    /// Further budgets, bits of a weight each, for the curve of accuracy over size.
    pub budgets: Vec<f64>,
}
