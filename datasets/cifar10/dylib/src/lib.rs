//! The loadable library of `pocketflow-cifar10`.

// Named, or the linker drops it with its registrations.
use pocketflow_cifar10 as _;

pocketflow::export!();
