//! Finds the state dictionary in what `torch.save` was given: the dictionary itself, or a
//! checkpoint that holds it beside the epoch, the optimizer and so on.

use crate::error::WeightsError;
use crate::pickle::{Id, Loaded, Node, TensorRef};
use std::collections::BTreeMap;

/// The keys under which training scripts keep it.
const KEYS: [&str; 4] = ["state_dict", "model_state_dict", "model", "net"];

/// The tensors by name.
///
/// # Errors
/// There is no dictionary with tensors where one is looked for.
pub fn tensors(loaded: &Loaded) -> Result<BTreeMap<&str, &TensorRef>, WeightsError> {
    let within = |id: Id| -> BTreeMap<&str, &TensorRef> {
        loaded.pairs(id).filter_map(|(name, value)| Some((name, loaded.tensor(value)?))).collect()
    };
    let inner = KEYS.iter().filter_map(|key| {
        let found = loaded.pairs(loaded.root).filter(|(name, _)| name == key).last();
        found.map(|(_, id)| within(id))
    });
    let found = inner.chain([within(loaded.root)]).find(|tensors| !tensors.is_empty());
    found.ok_or_else(|| {
        let what = match &loaded.nodes[loaded.root] {
            Node::Dict(_) => {
                let names: Vec<String> =
                    loaded.pairs(loaded.root).take(8).map(|(name, _)| name.chars().take(40).collect()).collect();
                format!("a dictionary with the keys [{}]", names.join(", "))
            }
            _ => "no dictionary".into(),
        };
        WeightsError::Malformed(format!(
            "it holds {what}; the tensors must be in it, or in a dictionary under one of {}",
            KEYS.join(", ")
        ))
    })
}
