//! One roll-out's way through the layers: what is spent, what the next layer may have, and the
//! state that an agent sees.

use crate::budget::{BitBudget, Layer};

/// Numbers of a state beside the one-hot layer: the shape (4), parameters, what is left of them,
/// bits spent and left.
const FIXED_STATE: usize = 8;

/// Layers given bits so far, in some order. Whatever is asked for, the budget is kept and no layer
/// gets less than the least.
#[derive(Debug, Clone, PartialEq)]
pub struct Walk<'a> {
    budget: &'a BitBudget,
    order: Vec<usize>,
    /// Layers done.
    done: usize,
    spent: u64,
    /// What the layers left take at least, with their overheads.
    reserved: u64,
    params_left: u64,
    bits: Vec<u32>,
}

/// The length of [`Walk::state`].
pub fn state_dims(budget: &BitBudget) -> usize {
    budget.layers().len() + FIXED_STATE
}

impl<'a> Walk<'a> {
    /// `order` holds every layer of the budget once.
    pub fn new(budget: &'a BitBudget, order: Vec<usize>) -> Self {
        let (least, _) = budget.range();
        let bits = vec![least; order.len()];
        let params_left = budget.layers().iter().map(Layer::params).sum();
        Self { budget, order, done: 0, spent: 0, reserved: budget.cost(&bits), params_left, bits }
    }

    /// The layer whose turn it is; `None` when all have bits.
    pub fn layer(&self) -> Option<usize> {
        self.order.get(self.done).copied()
    }

    /// The most bits that the layer whose turn it is may have; at least the least. `None` when all
    /// have bits.
    pub fn most(&self) -> Option<u32> {
        let layer = self.layer()?;
        let (least, most) = self.budget.range();
        // Nothing was ever given that the least of the others did not leave.
        let spare = self.budget.total() - self.spent - self.reserved;
        let more = (spare / self.budget.layers()[layer].params()).min(u64::from(most - least)) as u32;
        Some(least + more)
    }

    /// Gives the layer whose turn it is the bits asked for, cut to what it may have; the last layer
    /// takes all it may have. Returns what it got; `None` when all have bits.
    pub fn give(&mut self, asked: u32) -> Option<u32> {
        match self.done + 1 == self.order.len() {
            true => self.give_exactly(self.most()?),
            false => self.give_exactly(asked),
        }
    }

    /// As [`Walk::give`], but the last layer too gets what is asked for: to follow an allocation
    /// that is known.
    pub fn give_exactly(&mut self, asked: u32) -> Option<u32> {
        let (layer, most) = (self.layer()?, self.most()?);
        let (least, _) = self.budget.range();
        let given = asked.clamp(least, most);
        self.bits[layer] = given;
        self.spent += self.budget.layer_cost(layer, given);
        self.reserved -= self.budget.layer_cost(layer, least);
        self.params_left -= self.budget.layers()[layer].params();
        self.done += 1;
        Some(given)
    }

    /// Bits by layer, in the network's order; layers that had no turn yet at the least.
    pub fn bits(&self) -> &[u32] {
        &self.bits
    }

    /// What an agent sees (spec §5), [`state_dims`] numbers: one-hot layer; the shape of its
    /// weights; its parameters as a part of the largest layer's; the parameters of this and later
    /// layers as a part of all; the bits spent and those left, as parts of the budget. When all
    /// layers have bits, what is of a layer is 0.
    pub fn state(&self) -> Vec<f32> {
        let layers = self.budget.layers();
        let mut state = vec![0.0; layers.len()];
        let sizes = layers.iter().map(Layer::params);
        let (all, largest) = (sizes.clone().sum::<u64>(), sizes.max().unwrap_or(1));
        let part = |some: u64, of: u64| (some as f64 / of as f64) as f32;
        match self.layer() {
            Some(layer) => {
                state[layer] = 1.0;
                state.extend(layers[layer].shape.map(|size| size as f32));
                state.push(part(layers[layer].params(), largest));
            }
            None => state.extend([0.0; 5]),
        }
        let total = self.budget.total();
        state.extend([part(self.params_left, all), part(self.spent, total), part(total - self.spent, total)]);
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::tests::{budgets, layer};
    use pocketflow::dataset::mix;
    use proptest::prelude::*;

    #[test]
    fn a_walk_by_hand() {
        // 300 bits for 100 weights, of which 2 each are the least.
        let budget = BitBudget::new(vec![layer(50, 0), layer(10, 0), layer(40, 0)], 2, 8, 3.0).unwrap();
        let mut walk = Walk::new(&budget, vec![1, 0, 2]);
        assert_eq!(walk.state(), [0.0, 1.0, 0.0, 10.0, 1.0, 1.0, 1.0, 0.2, 1.0, 0.0, 1.0]);
        assert_eq!((walk.layer(), walk.most()), (Some(1), Some(8)));
        assert_eq!(walk.give(20), Some(8));
        // 40 bits spare, too few for another bit of 50 weights.
        assert_eq!((walk.layer(), walk.most()), (Some(0), Some(2)));
        assert_eq!(walk.give(7), Some(2));
        assert_eq!((walk.layer(), walk.most()), (Some(2), Some(3)));
        assert_eq!(walk.give(0), Some(3), "the last takes what is left");
        assert_eq!((walk.layer(), walk.most(), walk.give(5)), (None, None, None));
        assert_eq!(walk.bits(), [2, 8, 3]);
        assert_eq!(walk.state(), [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    }

    proptest! {
        #[test]
        fn whatever_is_asked_the_budget_is_kept_and_no_layer_starves(
            budget in budgets(1..12),
            asked in prop::collection::vec(0u32..40, 12),
            seed: u64,
        ) {
            let (least, _) = budget.range();
            let mut walk = Walk::new(&budget, budget.order(true, seed, 0));
            for asked in asked {
                let Some(most) = walk.most() else { break };
                prop_assert!(most >= least);
                let state = walk.state();
                prop_assert_eq!(state.len(), state_dims(&budget));
                prop_assert!(state.iter().all(|value| value.is_finite() && *value >= 0.0));
                let given = walk.give(asked).unwrap();
                prop_assert!((least..=most).contains(&given));
                prop_assert!(given == asked || asked < least || asked > most || walk.layer().is_none());
            }
            prop_assert_eq!(walk.layer(), None);
            prop_assert!(budget.allows(walk.bits()), "{:?}", walk.bits());
            prop_assert_eq!(walk.spent, budget.cost(walk.bits()));
            prop_assert_eq!((walk.reserved, walk.params_left), (0, 0));
        }

        #[test]
        fn an_allocation_the_budget_allows_is_followed(budget in budgets(2..8), seed: u64, other: u64) {
            let mut walk = Walk::new(&budget, budget.order(true, seed, 1));
            (0..8).for_each(|step| {
                walk.give_exactly((mix(other, step) % 9) as u32);
            });
            let bits = walk.bits().to_vec();
            prop_assert!(budget.allows(&bits));
            let mut again = Walk::new(&budget, budget.order(true, seed, 2));
            while let Some(layer) = again.layer() {
                again.give_exactly(bits[layer]);
            }
            prop_assert_eq!(again.bits(), bits);
        }
    }
}
