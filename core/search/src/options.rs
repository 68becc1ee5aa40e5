//! What a search is to do: plain values, which a learner reads from its own options.

/// Ways of finding bits per layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    Uniform,
    Sensitivity,
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
    pub agent: String,
    pub equivalent_bits: f64,
    pub rollouts: usize,
    pub min: u32,
    pub max: u32,
    /// Steps of each kind of tuning; 0: none.
    pub layerwise: u64,
    pub global: u64,
    pub short: u64,
    pub display: u64,
    pub random_layers: bool,
    pub budgets: Vec<f64>,
}
