//! The replay buffer: the transitions of finished roll-outs, the oldest overwritten when it is
//! full.

use crate::random::Random;
use serde::{Deserialize, Serialize};

/// A ring of transitions, each with the reward of its roll-out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    state_dims: usize,
    action_dims: usize,
    capacity: usize,
    /// Where the next transition goes.
    next: usize,
    states: Vec<f32>,
    actions: Vec<f32>,
    next_states: Vec<f32>,
    rewards: Vec<f32>,
    terminals: Vec<bool>,
}

/// One transition in the buffer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Memory<'a> {
    pub state: &'a [f32],
    /// In the policy's units, −1 to 1.
    pub action: &'a [f32],
    pub next_state: &'a [f32],
    pub reward: f32,
    pub terminal: bool,
}

impl Replay {
    /// `capacity` is at least 1.
    pub fn new(state_dims: usize, action_dims: usize, capacity: usize) -> Self {
        let (states, actions, next_states) = (Vec::new(), Vec::new(), Vec::new());
        let (rewards, terminals) = (Vec::new(), Vec::new());
        Self { state_dims, action_dims, capacity, next: 0, states, actions, next_states, rewards, terminals }
    }

    pub fn len(&self) -> usize {
        self.rewards.len()
    }

    /// Remembers a transition, in place of the oldest if there is no room.
    pub fn push(&mut self, memory: Memory<'_>) {
        if self.len() < self.capacity {
            self.states.extend_from_slice(memory.state);
            self.actions.extend_from_slice(memory.action);
            self.next_states.extend_from_slice(memory.next_state);
            self.rewards.push(memory.reward);
            self.terminals.push(memory.terminal);
        } else {
            let (states, actions) = (self.next * self.state_dims, self.next * self.action_dims);
            self.states[states..][..self.state_dims].copy_from_slice(memory.state);
            self.actions[actions..][..self.action_dims].copy_from_slice(memory.action);
            self.next_states[states..][..self.state_dims].copy_from_slice(memory.next_state);
            self.rewards[self.next] = memory.reward;
            self.terminals[self.next] = memory.terminal;
        }
        self.next = (self.next + 1) % self.capacity;
    }

    fn memory(&self, index: usize) -> Memory<'_> {
        Memory {
            state: &self.states[index * self.state_dims..][..self.state_dims],
            action: &self.actions[index * self.action_dims..][..self.action_dims],
            next_state: &self.next_states[index * self.state_dims..][..self.state_dims],
            reward: self.rewards[index],
            terminal: self.terminals[index],
        }
    }

    /// `count` transitions drawn uniformly, with replacement; none from an empty buffer.
    pub fn sample(&self, count: usize, random: &mut Random) -> Vec<Memory<'_>> {
        match self.len() {
            0 => Vec::new(),
            len => (0..count).map(|_| self.memory(random.below(len))).collect(),
        }
    }

    /// It holds transitions of these dimensions, and its parts agree.
    pub fn fits(&self, state_dims: usize, action_dims: usize, capacity: usize) -> bool {
        let len = self.len();
        (self.state_dims, self.action_dims, self.capacity) == (state_dims, action_dims, capacity)
            && len <= capacity
            && self.next < capacity
            && (len == capacity || self.next == len)
            && self.states.len() == len * state_dims
            && self.next_states.len() == len * state_dims
            && self.actions.len() == len * action_dims
            && self.terminals.len() == len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_newest_are_kept_whole(capacity in 1usize..20, pushed in 0usize..60) {
            let mut replay = Replay::new(2, 1, capacity);
            for index in 0..pushed {
                let value = index as f32;
                let (state, next_state) = ([value, -value], [value + 1.0, -value - 1.0]);
                let action = [value / 2.0];
                let terminal = index % 3 == 0;
                let memory = Memory { state: &state, action: &action, next_state: &next_state, reward: value, terminal };
                replay.push(memory);
            }
            prop_assert_eq!(replay.len(), pushed.min(capacity));
            prop_assert!(replay.fits(2, 1, capacity));
            let mut kept: Vec<usize> = (0..replay.len())
                .map(|index| {
                    let memory = replay.memory(index);
                    let value = memory.reward;
                    assert_eq!(memory.state, [value, -value]);
                    assert_eq!(memory.action, [value / 2.0]);
                    assert_eq!(memory.next_state, [value + 1.0, -value - 1.0]);
                    assert_eq!(memory.terminal, (value as usize).is_multiple_of(3));
                    value as usize
                })
                .collect();
            kept.sort_unstable();
            prop_assert_eq!(kept, (pushed.saturating_sub(capacity)..pushed).collect::<Vec<_>>());
            let drawn = replay.sample(7, &mut Random::new(1)).len();
            prop_assert_eq!(drawn, if pushed == 0 { 0 } else { 7 });
        }
    }
}
