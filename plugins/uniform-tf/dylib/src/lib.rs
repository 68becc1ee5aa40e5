//! The loadable library of `pocketflow-uniform-tf`.

// Named, or the linker drops it with its registrations.
use pocketflow_uniform_tf as _;

pocketflow::export!(libtorch = pocketflow_torch::LIBTORCH_VERSION);
