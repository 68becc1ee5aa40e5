//! The search for bits per layer under a budget (spec §5): the budget itself, what an agent sees of it, roll-outs, and
//! the exact solver that an agent is compared with. Nothing here knows a network: rewards and losses come from outside.

pub mod budget;
pub mod knapsack;
pub mod rollout;
pub mod walk;
