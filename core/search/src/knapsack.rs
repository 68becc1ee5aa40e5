//! The allocation with the least sum of losses per layer, exactly: a multiple-choice knapsack (one
//! choice of bits for each layer).
//!
//! Dynamic programming over the layers keeps the partial allocations that no other beats in both
//! bits and loss (Nemhauser and Ullmann 1969), less those that cannot become optimal: with a price
//! λ for each bit, the layers left cost at least Σ min(loss + λ·bits) − λ·(bits left), and if that
//! ends above an allocation already known, the partial one is dropped. λ is the price at which the
//! cheapest choices just fit the budget, which leaves few partial allocations even for large
//! networks.

use crate::budget::BitBudget;
use pocketflow::{Error, Result};

/// Halvings of the interval that holds the price; far below what f64 tells apart.
const HALVINGS: u32 = 100;
/// Sums of losses in another order differ by rounding; a bound is only believed beyond this part of
/// the losses' size.
const ROUNDING: f64 = 1e-9;

/// A partial allocation that no other beats.
#[derive(Debug, Clone, Copy)]
struct Partial {
    cost: u64,
    loss: f64,
    /// The allocation of the layers before, among those kept for the layer before; and the bits
    /// above the least.
    before: usize,
    choice: usize,
}

/// The best allocation within the budget. `losses[layer][bits − least]` is what a layer costs with
/// so many bits; losses need not fall with bits, nor be positive. Of equal allocations it takes one
/// of the cheapest.
///
/// # Errors
/// A table of another form than the budget's, or losses that are not finite numbers.
pub fn minimise(losses: &[Vec<f64>], budget: &BitBudget) -> Result<Vec<u32>> {
    let (least, most) = budget.range();
    let choices = (most - least + 1) as usize;
    if losses.len() != budget.layers().len() || losses.iter().any(|row| row.len() != choices) {
        let layers = budget.layers().len();
        return Err(Error::failed(format!("the solver needs losses for {layers} layers with {choices} choices each")));
    }
    for (row, layer) in losses.iter().zip(budget.layers()) {
        if let Some(choice) = row.iter().position(|loss| !loss.is_finite()) {
            let (name, bits, loss) = (&layer.name, least + choice as u32, row[choice]);
            return Err(Error::failed(format!(
                "the loss of layer `{name}` at {bits} bits is {loss}, not a finite number"
            )));
        }
    }
    let problem = Problem { losses, budget, least };
    let (price, known) = problem.price();
    let kept = problem.partials(price, known);
    problem.trace_back(&kept)
}

struct Problem<'a> {
    losses: &'a [Vec<f64>],
    budget: &'a BitBudget,
    least: u32,
}

impl Problem<'_> {
    fn cost(&self, layer: usize, choice: usize) -> u64 {
        self.budget.layer_cost(layer, self.least + choice as u32)
    }

    /// The choice of a layer with the least loss + price·bits, and that sum; of equal ones the
    /// first, with the fewest bits.
    fn cheapest(&self, layer: usize, price: f64) -> (usize, f64) {
        let sums = self.losses[layer].iter().enumerate();
        let sums = sums.map(|(choice, loss)| (choice, loss + price * self.cost(layer, choice) as f64));
        sums.fold((0, f64::INFINITY), |best, sum| if sum.1 < best.1 { sum } else { best })
    }

    /// Cost and loss if every layer takes its cheapest choice.
    fn at(&self, price: f64) -> (u64, f64) {
        let chosen = (0..self.losses.len()).map(|layer| (layer, self.cheapest(layer, price).0));
        chosen.fold((0, 0.0), |(cost, loss), (layer, choice)| {
            (cost + self.cost(layer, choice), loss + self.losses[layer][choice])
        })
    }

    /// The lowest price at which the cheapest choices fit the budget, and their loss.
    fn price(&self) -> (f64, f64) {
        let (cost, loss) = self.at(0.0);
        if cost <= self.budget.total() {
            return (0.0, loss);
        }
        let flat = self.losses.iter().flatten();
        let span = flat.clone().copied().fold(f64::MIN, f64::max) - flat.copied().fold(f64::MAX, f64::min);
        // A bit for a whole layer is at least one bit: at this price no loss is worth one, and the
        // fewest bits fit.
        let (mut low, mut high) = (0.0, span + 1.0);
        for _ in 0..HALVINGS {
            let middle = (low + high) / 2.0;
            match self.at(middle).0 <= self.budget.total() {
                true => high = middle,
                false => low = middle,
            }
        }
        (high, self.at(high).1)
    }

    /// The partial allocations kept after each layer, the cheapest first. `known` is the loss of
    /// some allocation that fits.
    fn partials(&self, price: f64, known: f64) -> Vec<Vec<Partial>> {
        let size: f64 =
            self.losses.iter().map(|row| row.iter().fold(0.0, |size: f64, loss| size.max(loss.abs()))).sum();
        let slack = ROUNDING * size;
        // From each layer on: what the layers cost at least with their bits paid for, and the bits
        // they need.
        let mut bounds = vec![(0.0, 0u64)];
        for layer in (0..self.losses.len()).rev() {
            let (loss, cost) = bounds[bounds.len() - 1];
            bounds.push((loss + self.cheapest(layer, price).1, cost + self.cost(layer, 0)));
        }
        bounds.reverse();
        let total = self.budget.total();
        let mut kept: Vec<Vec<Partial>> = Vec::with_capacity(self.losses.len());
        for (layer, row) in self.losses.iter().enumerate() {
            let start = [Partial { cost: 0, loss: 0.0, before: 0, choice: 0 }];
            let befores = kept.last().map_or(start.as_slice(), Vec::as_slice);
            let (rest_loss, rest_cost) = bounds[layer + 1];
            let mut candidates = Vec::with_capacity(befores.len() * row.len());
            for (before, partial) in befores.iter().enumerate() {
                for (choice, loss) in row.iter().enumerate() {
                    let (cost, loss) = (partial.cost + self.cost(layer, choice), partial.loss + loss);
                    let fits = cost + rest_cost <= total;
                    if fits && loss + rest_loss - price * (total - cost) as f64 <= known + slack {
                        candidates.push(Partial { cost, loss, before, choice });
                    }
                }
            }
            candidates.sort_by(|a, b| a.cost.cmp(&b.cost).then(a.loss.total_cmp(&b.loss)));
            let mut lowest = f64::INFINITY;
            candidates.retain(|partial| {
                let better = partial.loss < lowest;
                lowest = lowest.min(partial.loss);
                better
            });
            kept.push(candidates);
        }
        kept
    }

    fn trace_back(&self, kept: &[Vec<Partial>]) -> Result<Vec<u32>> {
        // Costs rise and losses fall along the list, so the last one is the best.
        let mut index = kept.last().map_or(0, |last| last.len().saturating_sub(1));
        let mut bits = vec![self.least; kept.len()];
        for (bits, partials) in bits.iter_mut().zip(kept).rev() {
            let partial =
                partials.get(index).ok_or_else(|| Error::failed("the solver found no allocation that fits"))?;
            *bits += partial.choice as u32;
            index = partial.before;
        }
        Ok(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::tests::{budgets, layer};
    use pocketflow::dataset::mix;
    use proptest::prelude::*;

    fn loss(losses: &[Vec<f64>], budget: &BitBudget, bits: &[u32]) -> f64 {
        losses.iter().zip(bits).map(|(row, bits)| row[(bits - budget.range().0) as usize]).sum()
    }

    /// The least loss of all allocations the budget allows.
    fn enumerated(losses: &[Vec<f64>], budget: &BitBudget) -> f64 {
        let (least, most) = budget.range();
        let mut bits = vec![least; losses.len()];
        let mut best = f64::INFINITY;
        loop {
            if budget.allows(&bits) {
                best = best.min(loss(losses, budget, &bits));
            }
            let Some(next) = bits.iter().position(|bits| *bits < most) else { return best };
            bits[next] += 1;
            bits[..next].fill(least);
        }
    }

    fn table(budget: &BitBudget, mut loss: impl FnMut(usize, u32) -> f64) -> Vec<Vec<f64>> {
        let (least, most) = budget.range();
        let layers = 0..budget.layers().len();
        layers.map(|layer| (least..=most).map(|bits| loss(layer, bits)).collect()).collect()
    }

    proptest! {
        #[test]
        fn it_is_as_good_as_trying_all(budget in budgets(1..6), seed: u64, falling: bool, coarse: bool) {
            let losses = table(&budget, |layer, bits| {
                let mut noise = (mix(mix(seed, layer as u64), u64::from(bits)) >> 11) as f64 / (1u64 << 53) as f64;
                if coarse {
                    // Many equal losses.
                    noise = (noise * 4.0).floor();
                }
                let sensitivity = (mix(seed, 1000 + layer as u64) % 1000) as f64;
                if falling { sensitivity * 0.25f64.powi(bits as i32) + 0.01 * noise } else { noise - 0.5 }
            });
            let bits = minimise(&losses, &budget).unwrap();
            prop_assert!(budget.allows(&bits), "{bits:?}");
            let (found, best) = (loss(&losses, &budget, &bits), enumerated(&losses, &budget));
            prop_assert!((found - best).abs() <= 1e-9 * (1.0 + best.abs()), "{found} against {best}");
        }
    }

    #[test]
    fn a_large_network_takes_a_moment() {
        // 160 layers of odd sizes up to 2.4 million weights.
        let layers = (0..160u64).map(|index| layer((mix(1, index) % 2_400_000) as usize + 1, 64)).collect();
        let budget = BitBudget::new(layers, 2, 8, 3.3).unwrap();
        let losses = table(&budget, |layer, bits| {
            let sensitivity = 1.0 + (mix(2, layer as u64) % 1000) as f64;
            let noise = (mix(3, layer as u64 * 16 + u64::from(bits)) % 100) as f64 / 1000.0;
            sensitivity * 0.25f64.powi(bits as i32) * (1.0 + noise)
        });
        let started = std::time::Instant::now();
        let bits = minimise(&losses, &budget).unwrap();
        assert!(budget.allows(&bits));
        assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    }

    #[test]
    fn enough_for_all_and_only_for_the_least() {
        let layers = || vec![layer(10, 0), layer(20, 0)];
        let falling = |_, bits: u32| 1.0 / f64::from(bits);
        let plenty = BitBudget::new(layers(), 2, 8, 8.0).unwrap();
        assert_eq!(minimise(&table(&plenty, falling), &plenty).unwrap(), [8, 8]);
        let scarce = BitBudget::new(layers(), 2, 8, 2.0).unwrap();
        assert_eq!(minimise(&table(&scarce, falling), &scarce).unwrap(), [2, 2]);
        let constant = |_, _| 1.0;
        assert_eq!(minimise(&table(&plenty, constant), &plenty).unwrap(), [2, 2], "equal losses take the fewest bits");
    }

    #[test]
    fn tables_that_are_none() {
        let budget = BitBudget::new(vec![layer(10, 0), layer(20, 0)], 2, 3, 2.5).unwrap();
        assert!(minimise(&[vec![1.0, 0.5]], &budget).is_err());
        assert!(minimise(&[vec![1.0], vec![1.0]], &budget).is_err());
        let error = minimise(&[vec![1.0, 0.5], vec![1.0, f64::NAN]], &budget).unwrap_err();
        assert!(error.to_string().contains("`conv20` at 3 bits is NaN"), "{error}");
    }
}
