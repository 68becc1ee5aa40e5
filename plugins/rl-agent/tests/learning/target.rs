//! Move to a target: a point on a line that goes where the actions say, and one reward when it is
//! over.

use pocketflow::agent::{Agent, AgentSpace, Transition};
use pocketflow::dataset::mix;

const STEPS: usize = 4;
/// The farthest that a step goes, either way.
const STRIDE: f32 = 0.6;

pub fn space(rollouts: usize, seed: u64) -> AgentSpace {
    AgentSpace { seed, ..AgentSpace::new(2, 1, 2.0, rollouts, STEPS) }
}

/// From a random place to a random target, both from −1 to 1. Returns the distance at the end; the
/// reward is less the mean distance after each step.
pub fn roll_out(agent: &mut dyn Agent, seed: u64, rollout: usize) -> f32 {
    let draw = |stream| (mix(mix(seed, rollout as u64), stream) >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
    let (mut place, target) = (draw(0), draw(1));
    let mut sum = 0.0;
    agent.begin().unwrap();
    for step in 1..=STEPS {
        let state = vec![place, target];
        let action = agent.act(&state).unwrap();
        place += STRIDE * (action[0] - 1.0);
        sum += (place - target).abs();
        let next_state = vec![place, target];
        agent.record(Transition { state, action, next_state, terminal: step == STEPS }).unwrap();
    }
    agent.finish(-sum / STEPS as f32).unwrap();
    (place - target).abs()
}
