//! Bits for five layers under a budget, with a reward in closed form: the problem of `uniform`'s search, small enough that the
//! best allocation is known by trying all.

use pocketflow::agent::{Agent, AgentSpace, Transition};

pub const MIN: u32 = 2;
pub const MAX: u32 = 8;

/// Layers with a number of parameters and a sensitivity each; the sum of `params·bits` stays within `budget`.
pub struct Bits {
    pub params: Vec<u64>,
    pub sensitivity: Vec<f64>,
    pub budget: u64,
    pub asked: std::cell::RefCell<Vec<f32>>,
}

impl Bits {
    pub fn new(params: &[u64], sensitivity: &[f64], equivalent_bits: f64) -> Self {
        let budget = (params.iter().sum::<u64>() as f64 * equivalent_bits) as u64;
        Self { params: params.to_vec(), sensitivity: sensitivity.to_vec(), budget, asked: Default::default() }
    }

    pub fn space(&self, rollouts: usize, seed: u64) -> AgentSpace {
        let state_dims = self.params.len() + 8;
        AgentSpace { state_dims, action_dims: 1, action_max: (MAX - MIN) as f32, rollouts, seed }
    }

    pub fn cost(&self, bits: &[u32]) -> u64 {
        self.params.iter().zip(bits).map(|(params, bits)| params * u64::from(*bits)).sum()
    }

    /// 1 for no loss, 0 for the loss with all layers at the fewest bits: the error of a weight falls by 4 with each bit.
    pub fn reward(&self, bits: &[u32]) -> f64 {
        let loss = |bits: &dyn Fn(usize) -> u32| -> f64 {
            let terms = self.sensitivity.iter().enumerate();
            terms.map(|(layer, sensitivity)| sensitivity * 0.25f64.powi(bits(layer) as i32)).sum()
        };
        1.0 - loss(&|layer| bits[layer]) / loss(&|_| MIN)
    }

    /// The best reward of all allocations within the budget.
    pub fn optimum(&self) -> (f64, Vec<u32>) {
        let mut best = (f64::NEG_INFINITY, Vec::new());
        let mut bits = vec![MIN; self.params.len()];
        loop {
            if self.cost(&bits) <= self.budget && self.reward(&bits) > best.0 {
                best = (self.reward(&bits), bits.clone());
            }
            let Some(layer) = bits.iter().position(|bits| *bits < MAX) else { return best };
            bits[layer] += 1;
            bits[..layer].fill(MIN);
        }
    }

    fn state(&self, order: &[usize], position: usize, spent: u64) -> Vec<f32> {
        let layer = order[position.min(order.len() - 1)];
        let (total, largest) = (self.params.iter().sum::<u64>() as f32, *self.params.iter().max().unwrap() as f32);
        let rest: u64 = order[position..].iter().map(|layer| self.params[*layer]).sum();
        let params = self.params[layer] as f32;
        let mut state = vec![0.0; self.params.len()];
        state[layer] = 1.0;
        let width = (params / 9.0).sqrt();
        state.extend([width, width, 3.0, 3.0, params / largest, rest as f32 / total]);
        state.extend([spent as f32 / self.budget as f32, (self.budget - spent) as f32 / self.budget as f32]);
        state
    }

    /// One roll-out with layers in this order: the agent's bits, cut so that the layers left can have the fewest; the last takes what
    /// is left.
    pub fn roll_out(&self, agent: &mut dyn Agent, order: &[usize]) -> Vec<u32> {
        agent.begin().unwrap();
        let mut bits = vec![MIN; order.len()];
        let mut spent = 0;
        for (position, layer) in order.iter().enumerate() {
            let state = self.state(order, position, spent);
            let action = agent.act(&state).unwrap()[0];
            self.asked.borrow_mut().push(action);
            let later: u64 = order[position + 1..].iter().map(|layer| self.params[*layer] * u64::from(MIN)).sum();
            let most = ((self.budget - spent - later) / self.params[*layer]).min(u64::from(MAX)) as u32;
            let terminal = position + 1 == order.len();
            let wanted = if terminal { MAX } else { MIN + action.round() as u32 };
            bits[*layer] = wanted.clamp(MIN, most);
            spent += self.params[*layer] * u64::from(bits[*layer]);
            let next_state = self.state(order, position + 1, spent);
            let action = vec![if std::env::var("REC").is_ok() { action } else { (bits[*layer] - MIN) as f32 }];
            agent.record(Transition { state, action, next_state, terminal }).unwrap();
        }
        assert!(spent <= self.budget, "{bits:?}");
        agent.finish(self.reward(&bits) as f32).unwrap();
        bits
    }
}
