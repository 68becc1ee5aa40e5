//! The loadable library of `pocketflow-uniform`.

// Named, or the linker drops it with its registrations.
use pocketflow_uniform as _;

pocketflow::export!(libtorch = pocketflow_torch::LIBTORCH_VERSION);
