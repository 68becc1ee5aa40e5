//! The loadable library of `pocketflow-rl-agent`.

// Named, or the linker drops it with its registrations.
use pocketflow_rl_agent as _;

pocketflow::export!();
