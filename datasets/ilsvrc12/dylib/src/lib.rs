//! The loadable library of `pocketflow-ilsvrc12`.

// Named, or the linker drops it with its registrations.
use pocketflow_ilsvrc12 as _;

pocketflow::export!();
