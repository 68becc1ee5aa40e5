//! Names of a file's tensors to parameters of a graph. What a graph calls its parameters comes
//! first (torchvision's names, mostly), then a few habits of other authors; a map file says the
//! rest.

mod assign;
mod compare;
mod file;
mod front;
mod in_order;
mod leftover;
mod order;
mod report;

pub use assign::{Assigned, assign};
pub use file::NameMap;
pub use in_order::match_in_order;
pub use order::match_file;
pub use report::{Absorbed, ImportReport, Matched, Misfit, Unused, Wanted};

/// Prefixes that wrappers of PyTorch add to every name: data parallelism and `torch.compile`.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// What other authors call the parts that our graphs call otherwise, as theirs, ours. Taken only
/// where the graph has ours.
const HABITS: [(&str, &str); 2] = [("linear", "fc"), ("shortcut", "downsample")];

/// What belongs to training and not to the network.
const COUNTER: &str = "num_batches_tracked";

fn unwrapped(mut name: &str) -> &str {
    while let Some(rest) = WRAPPERS.iter().find_map(|wrapper| name.strip_prefix(wrapper)) {
        name = rest;
    }
    name
}

/// The name with the habit's word exchanged where it is a part of it: `layer2.0.shortcut.0.weight`.
fn by_habit(name: &str, (theirs, ours): (&str, &str)) -> String {
    let parts: Vec<&str> = name.split('.').map(|part| if part == theirs { ours } else { part }).collect();
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others() {
        assert_eq!(unwrapped("module._orig_mod.module.conv1.weight"), "conv1.weight");
        assert_eq!(unwrapped("module_list.0"), "module_list.0");
        assert_eq!(by_habit("linear.weight", HABITS[0]), "fc.weight");
        assert_eq!(by_habit("layer2.0.shortcut.0.weight", HABITS[1]), "layer2.0.downsample.0.weight");
        assert_eq!(by_habit("nonlinear.weight", HABITS[0]), "nonlinear.weight");
    }
}
