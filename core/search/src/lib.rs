//! The search for bits per layer under a budget (spec §5), for every learner that quantizes
//! weights.
//!
//! | module | what it holds |
//! |---|---|
//! | [`options`], [`quantization`] | the options of the search, and of what it quantizes |
//! | [`budget`], [`walk`] | which allocations a budget allows; one way through the layers, as an agent sees it |
//! | [`rollout`] | roll-outs of an agent, resumable |
//! | [`knapsack`] | the exact solver that an agent is compared with |
//! | [`evaluator`] | a network that goes from allocation to allocation |
//! | [`sensitivity`] | what each layer costs at each number of bits |
//! | [`tune`] | short fine-tuning within a search |
//! | [`reward`] | the reward of an allocation |
//! | [`state`] | all that a search is resumed from |
//! | [`search`] | the whole: uniform bits, the solver, the agent, and what they found |
//! | [`plan`] | bits per layer in a file |

pub mod budget;
pub mod evaluator;
pub mod knapsack;
pub mod options;
pub mod plan;
pub mod quantization;
pub mod reward;
pub mod rollout;
pub mod search;
pub mod sensitivity;
pub mod state;
pub mod tune;
pub mod walk;
