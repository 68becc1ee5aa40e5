//! The bit budget: which allocations of bits to layers it allows, and in which order a roll-out
//! visits the layers.

use pocketflow::dataset::mix;

/// Why there is no budget. The learner, which has names for these numbers, adds them.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BudgetError {
    /// Nothing to give bits to.
    #[error("there is no layer to give bits to")]
    NoLayers,
    /// A layer without weights.
    #[error("layer `{0}` has no weights to give bits to")]
    Empty(String),
    /// Bits that a layer cannot have, or a minimum above the maximum.
    #[error("{min} to {max} bits a layer: 1 to 31, the first not above the second")]
    Bits {
        /// The fewest that were asked for.
        min: u32,
        /// The most that were asked for.
        max: u32,
    },
    /// A mean that no allocation has.
    #[error("{bits} bits a weight are out of {min} to {max}, the bits of a layer")]
    Mean {
        /// Of a weight, as asked for.
        bits: f64,
        /// The fewest bits of a layer.
        min: u32,
        /// The most bits of a layer.
        max: u32,
    },
    /// The fewest bits take more than there is.
    #[error(
        "{bits} bits a weight are a budget of {total} bits for {params} weights; {min} bits each and {overhead} bits for \
         the buckets' ranges take {least}: raise it, or take fewer buckets"
    )]
    Overdrawn {
        /// Of a weight, as asked for.
        bits: f64,
        /// What they come to, in bits.
        total: u64,
        /// The number of weights.
        params: u64,
        /// The fewest bits of a layer.
        min: u32,
        /// Bits that do not depend on the choice.
        overhead: u64,
        /// What the fewest bits take.
        least: u64,
    },
}

/// Keeps visiting orders apart from other uses of the same seed.
const ORDER_STREAM: u64 = 0x0b17_0bde_7a11_0ca7;

/// A layer that the budget covers.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Of the node.
    pub name: String,
    /// Of the weights, with ones in front where there are fewer than four dimensions.
    pub shape: [usize; 4],
    /// Bits that do not depend on the choice and count in the budget: the ranges of buckets, 64
    /// bits each; 0 without buckets.
    pub overhead_bits: u64,
}

impl Layer {
    /// The number of weights.
    pub fn params(&self) -> u64 {
        self.shape.iter().map(|size| *size as u64).product()
    }
}

/// How many bits all layers together may take: their number of parameters times the equivalent
/// bits.
#[derive(Debug, Clone, PartialEq)]
pub struct BitBudget {
    layers: Vec<Layer>,
    min: u32,
    max: u32,
    total: u64,
}

impl BitBudget {
    /// Layers in the network's order. `min` and `max` are the bits a layer may have, 1 to 31;
    /// `equivalent_bits` need not be whole.
    ///
    /// # Errors
    /// No layers, an empty layer, bits out of range or a minimum above the maximum, equivalent bits
    /// below the minimum or above the maximum, or a budget that the fewest bits and the buckets
    /// overdraw. All mistakes of the settings.
    pub fn new(layers: Vec<Layer>, min: u32, max: u32, equivalent_bits: f64) -> Result<Self, BudgetError> {
        if layers.is_empty() {
            return Err(BudgetError::NoLayers);
        }
        if let Some(layer) = layers.iter().find(|layer| layer.params() == 0) {
            return Err(BudgetError::Empty(layer.name.clone()));
        }
        if min == 0 || max > 31 || min > max {
            return Err(BudgetError::Bits { min, max });
        }
        if !(f64::from(min)..=f64::from(max)).contains(&equivalent_bits) {
            return Err(BudgetError::Mean { bits: equivalent_bits, min, max });
        }
        let params: u64 = layers.iter().map(Layer::params).sum();
        // A product that should be whole may fall short of it by rounding.
        let total = (params as f64 * equivalent_bits + 1e-6).floor() as u64;
        let budget = Self { layers, min, max, total };
        let least = budget.cost(&vec![min; budget.layers.len()]);
        if least > total {
            let overhead: u64 = budget.layers.iter().map(|layer| layer.overhead_bits).sum();
            return Err(BudgetError::Overdrawn { bits: equivalent_bits, total, params, min, overhead, least });
        }
        Ok(budget)
    }

    /// The layers that share the budget, in the order of the graph.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The bits that a layer may have: least and most.
    pub fn range(&self) -> (u32, u32) {
        (self.min, self.max)
    }

    /// In bits, overheads included.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// What a layer takes with so many bits for each weight, in bits.
    pub fn layer_cost(&self, layer: usize, bits: u32) -> u64 {
        self.layers[layer].params() * u64::from(bits) + self.layers[layer].overhead_bits
    }

    /// What an allocation, one entry a layer, takes in bits.
    pub fn cost(&self, bits: &[u32]) -> u64 {
        bits.iter().enumerate().map(|(layer, bits)| self.layer_cost(layer, *bits)).sum()
    }

    /// An allocation for all layers, in range and within the budget.
    pub fn allows(&self, bits: &[u32]) -> bool {
        bits.len() == self.layers.len()
            && bits.iter().all(|bits| (self.min..=self.max).contains(bits))
            && self.cost(bits) <= self.total
    }

    /// The most bits that all layers can have alike.
    pub fn uniform(&self) -> Vec<u32> {
        let alike = |bits: u32| vec![bits; self.layers.len()];
        let most = (self.min..=self.max).rev().find(|bits| self.allows(&alike(*bits)));
        // The fewest fit, or there were no budget.
        alike(most.unwrap_or(self.min))
    }

    /// The order in which a roll-out visits the layers: the network's, or a random one that only
    /// seed and roll-out decide.
    pub fn order(&self, random: bool, seed: u64, rollout: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.layers.len()).collect();
        if random {
            let stream = mix(mix(seed, ORDER_STREAM), rollout as u64);
            for last in (1..order.len()).rev() {
                let draw = u128::from(mix(stream, last as u64)) * (last as u128 + 1);
                order.swap(last, (draw >> 64) as usize);
            }
        }
        order
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub fn layer(params: usize, overhead_bits: u64) -> Layer {
        Layer { name: format!("conv{params}"), shape: [params, 1, 1, 1], overhead_bits }
    }

    /// Budgets that there can be.
    pub fn budgets(layers: std::ops::Range<usize>) -> impl Strategy<Value = BitBudget> {
        let sizes = prop::collection::vec((1usize..5000, 0u64..500), layers);
        (sizes, 1u32..6, 0u32..5, 0.0f64..1.0).prop_filter_map(
            "the buckets take too much",
            |(sizes, min, more, part)| {
                let layers = sizes.into_iter().map(|(params, overhead)| layer(params, overhead)).collect();
                BitBudget::new(layers, min, min + more, f64::from(min) + part * f64::from(more)).ok()
            },
        )
    }

    #[test]
    fn a_budget_of_whole_bits_is_what_uniform_bits_take() {
        let layers = || vec![layer(432, 0), layer(2304, 0), layer(90, 0)];
        for bits in 2..=8 {
            let budget = BitBudget::new(layers(), 2, 8, f64::from(bits)).unwrap();
            assert_eq!(budget.uniform(), [bits; 3]);
            assert_eq!(budget.cost(&budget.uniform()), budget.total());
        }
        assert_eq!(BitBudget::new(layers(), 2, 8, 3.99).unwrap().uniform(), [3; 3]);
        let with_buckets = vec![layer(432, 16 * 64), layer(2304, 16 * 64), layer(90, 10 * 64)];
        assert_eq!(BitBudget::new(with_buckets, 2, 8, 4.0).unwrap().uniform(), [3; 3]);
    }

    #[test]
    fn settings_that_make_no_budget() {
        let error =
            |layers: Vec<Layer>, min, max, bits| BitBudget::new(layers, min, max, bits).unwrap_err().to_string();
        let layers = || vec![layer(100, 0), layer(50, 0)];
        assert!(error(Vec::new(), 2, 8, 4.0).contains("no layer"));
        assert!(error(vec![layer(0, 0)], 2, 8, 4.0).contains("`conv0`"));
        assert!(error(layers(), 5, 3, 4.0).contains("1 to 31"));
        assert!(error(layers(), 0, 3, 2.0).contains("1 to 31"));
        assert!(error(layers(), 2, 32, 4.0).contains("1 to 31"));
        for bits in [1.9, 8.1, f64::NAN] {
            assert!(error(layers(), 2, 8, bits).contains("out of 2 to 8"));
        }
        assert!(error(vec![layer(100, 640)], 2, 8, 4.0).contains("buckets"));
    }

    #[test]
    fn orders_are_those_of_seed_and_roll_out() {
        let budget = BitBudget::new((1..=9).map(|size| layer(size, 0)).collect(), 2, 8, 4.0).unwrap();
        assert_eq!(budget.order(false, 1, 2), (0..9).collect::<Vec<_>>());
        assert_eq!(budget.order(true, 1, 2), budget.order(true, 1, 2));
        assert_ne!(budget.order(true, 1, 2), budget.order(true, 1, 3));
        assert_ne!(budget.order(true, 1, 2), budget.order(true, 2, 2));
        let mut first = [0u32; 9];
        (0..9000).for_each(|rollout| first[budget.order(true, 7, rollout)[0]] += 1);
        assert!(first.iter().all(|count| (850..1150).contains(count)), "{first:?}");
    }

    proptest! {
        #[test]
        fn an_order_has_every_layer_once(budget in budgets(1..20), seed: u64, rollout in 0usize..1000) {
            let mut order = budget.order(true, seed, rollout);
            order.sort_unstable();
            prop_assert_eq!(order, (0..budget.layers().len()).collect::<Vec<_>>());
        }
    }
}
