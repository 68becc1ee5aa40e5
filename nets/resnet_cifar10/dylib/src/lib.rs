//! The loadable library of `pocketflow-resnet-cifar10`.

// Named, or the linker drops it with its registrations.
use pocketflow_resnet_cifar10 as _;

pocketflow::export!();
