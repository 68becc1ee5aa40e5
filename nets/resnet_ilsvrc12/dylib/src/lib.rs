//! The loadable library of `pocketflow-resnet-ilsvrc12`.

// Named, or the linker drops it with its registrations.
use pocketflow_resnet_ilsvrc12 as _;

pocketflow::export!();
