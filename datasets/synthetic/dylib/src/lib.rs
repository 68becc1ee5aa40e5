//! The loadable library of `pocketflow-synthetic`.

// Named, or the linker drops it with its registrations.
use pocketflow_synthetic as _;

pocketflow::export!();
