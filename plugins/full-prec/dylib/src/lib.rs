//! The loadable library of `pocketflow-full-prec`.

// Named, or the linker drops it with its registrations.
use pocketflow_full_prec as _;

pocketflow::export!(libtorch = pocketflow_torch::LIBTORCH_VERSION);
