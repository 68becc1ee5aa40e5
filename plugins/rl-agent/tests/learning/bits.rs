//! Bits for a few layers under a budget, with a reward in closed form: the problem of `uniform`'s
//! search, small enough that the best allocation is known by trying all.

use pocketflow::agent::{Agent, AgentSpace, Transition};
use pocketflow::dataset::mix;

/// Layers with a number of parameters and a sensitivity each; the sum of `params·bits` stays within
/// the budget.
pub struct Bits {
    params: Vec<u64>,
    sensitivity: Vec<f64>,
    min: u32,
    max: u32,
    budget: u64,
}

impl Bits {
    pub fn new(params: &[u64], sensitivity: &[f64], [min, max]: [u32; 2], equivalent_bits: f64) -> Self {
        let budget = (params.iter().sum::<u64>() as f64 * equivalent_bits) as u64;
        Self { params: params.to_vec(), sensitivity: sensitivity.to_vec(), min, max, budget }
    }

    pub fn layers(&self) -> usize {
        self.params.len()
    }

    pub fn space(&self, rollouts: usize, seed: u64) -> AgentSpace {
        let action_max = (self.max - self.min) as f32;
        AgentSpace { seed, ..AgentSpace::new(self.layers() + 8, 1, action_max, rollouts, self.layers()) }
    }

    fn cost(&self, bits: &[u32]) -> u64 {
        self.params.iter().zip(bits).map(|(params, bits)| params * u64::from(*bits)).sum()
    }

    /// 1 for no loss, 0 for the loss with all layers at the fewest bits: the error of a weight
    /// falls by 4 with each bit.
    pub fn reward(&self, bits: &[u32]) -> f64 {
        let loss = |bits: &[u32]| -> f64 {
            let terms = self.sensitivity.iter().zip(bits);
            terms.map(|(sensitivity, bits)| sensitivity * 0.25f64.powi(*bits as i32)).sum()
        };
        1.0 - loss(bits) / loss(&vec![self.min; self.layers()])
    }

    /// The best reward of all allocations within the budget.
    pub fn optimum(&self) -> f64 {
        let mut best = f64::NEG_INFINITY;
        let mut bits = vec![self.min; self.layers()];
        loop {
            if self.cost(&bits) <= self.budget {
                best = best.max(self.reward(&bits));
            }
            let Some(layer) = bits.iter().position(|bits| *bits < self.max) else { return best };
            bits[layer] += 1;
            bits[..layer].fill(self.min);
        }
    }

    fn order(&self, seed: u64, rollout: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.layers()).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, (mix(mix(seed, rollout), last as u64) % (last as u64 + 1)) as usize);
        }
        order
    }

    /// As spec §5: one-hot layer, shape, parameters, what is left of them, bits spent and left.
    fn state(&self, order: &[usize], position: usize, spent: u64) -> Vec<f32> {
        let mut state = vec![0.0; self.layers()];
        let (total, largest) = (self.params.iter().sum::<u64>() as f32, *self.params.iter().max().unwrap() as f32);
        match order.get(position) {
            Some(layer) => {
                state[*layer] = 1.0;
                let params = self.params[*layer] as f32;
                let width = (params / 9.0).sqrt();
                state.extend([width, width, 3.0, 3.0, params / largest]);
            }
            None => state.extend([0.0; 5]),
        }
        let rest: u64 = order[position..].iter().map(|layer| self.params[*layer]).sum();
        let part = |bits: u64| bits as f32 / self.budget as f32;
        state.extend([rest as f32 / total, part(spent), part(self.budget - spent)]);
        state
    }

    /// One roll-out through the layers in a random order: the agent's bits, cut so that the layers
    /// left can have the fewest; the last takes what is left.
    fn roll_out(&self, agent: &mut dyn Agent, order: &[usize]) -> Vec<u32> {
        agent.begin().unwrap();
        let mut bits = vec![self.min; order.len()];
        let mut spent = 0;
        for (position, layer) in order.iter().enumerate() {
            let state = self.state(order, position, spent);
            let action = agent.act(&state).unwrap()[0];
            let later: u64 = order[position + 1..].iter().map(|layer| self.params[*layer] * u64::from(self.min)).sum();
            let most = ((self.budget - spent - later) / self.params[*layer]).min(u64::from(self.max)) as u32;
            let terminal = position + 1 == order.len();
            let asked = if terminal { self.max } else { self.min + action.round() as u32 };
            bits[*layer] = asked.clamp(self.min, most);
            spent += self.params[*layer] * u64::from(bits[*layer]);
            let next_state = self.state(order, position + 1, spent);
            let action = vec![(bits[*layer] - self.min) as f32];
            agent.record(Transition { state, action, next_state, terminal }).unwrap();
        }
        assert!(spent <= self.budget, "{bits:?}");
        bits
    }

    /// The rewards of a search, roll-out by roll-out; after a quarter of those planned the agent
    /// learns three times a step.
    pub fn search(&self, agent: &mut dyn Agent, rollouts: usize, planned: usize, seed: u64) -> Vec<f64> {
        let one = |rollout: usize| {
            let bits = self.roll_out(agent, &self.order(seed, rollout as u64));
            let reward = self.reward(&bits);
            agent.finish(reward as f32).unwrap();
            if rollout + 1 >= planned / 4 {
                (0..3 * self.layers()).for_each(|_| assert!(agent.learn().is_ok()));
            }
            reward
        };
        (0..rollouts).map(one).collect()
    }
}
