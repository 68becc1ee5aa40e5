//! The loadable library of `pocketflow-folder`.

// Named, or the linker drops it with its registrations.
use pocketflow_folder as _;

pocketflow::export!();
