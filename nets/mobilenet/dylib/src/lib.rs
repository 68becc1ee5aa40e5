//! The loadable library of `pocketflow-mobilenet`.

// Named, or the linker drops it with its registrations.
use pocketflow_mobilenet as _;

pocketflow::export!();
