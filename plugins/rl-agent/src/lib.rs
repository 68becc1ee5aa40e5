//! Agent `rl-agent`: deep deterministic policy gradient for short roll-outs with one reward at the
//! end, after PocketFlow's DDPG agent. Plain Rust on one thread: the networks are small, and a
//! search repeats bit for bit from its seed.
//!
//! | module | what it holds |
//! |---|---|
//! | `agent` | the plugin, which checks what comes in |
//! | `ddpg` | the networks and their update |
//! | `mlp`, `adam` | networks with gradients; their optimizer |
//! | `replay`, `normalise`, `baseline` | what was seen: transitions, the scale of states, the scale of rewards |
//! | `noise`, `random` | exploration, and where its randomness comes from |
//! | `state` | saved bytes |

mod adam;
mod agent;
mod baseline;
mod ddpg;
mod mlp;
mod noise;
mod normalise;
mod options;
mod random;
mod replay;
mod state;

pub use agent::RlAgent;

pocketflow::plugin! { agent "rl-agent" => RlAgent }
