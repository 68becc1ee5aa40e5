//! Finds the state dictionary in what `torch.save` was given: the dictionary itself, or a
//! checkpoint that holds it beside the epoch, the optimizer and so on.

use crate::error::WeightsError;
use crate::pickle::{Id, Loaded, Node, StorageKind, TensorRef};
use std::collections::BTreeMap;

/// The keys under which training scripts keep it, those that are taken first in front.
const KEYS: [&str; 12] = [
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "module",
    "network",
    "model_state",
    "weights",
    "params",
    "classifier",
    "model_ema",
    "ema_state_dict",
];
/// Dictionaries within each other that are looked into.
const DEPTH: usize = 6;
/// Values that are looked at: a forged pickle may hold one dictionary many times.
const MOST_VALUES: usize = 1 << 20;

/// A state dictionary, flat.
#[derive(Default)]
pub struct Found<'a> {
    pub tensors: BTreeMap<String, &'a TensorRef>,
    /// Their names in the order of the file.
    pub order: Vec<String>,
    /// Tensors whose numbers are not read, with what they are.
    pub unread: BTreeMap<String, String>,
    /// Keys of other state dictionaries of the file.
    pub others: Vec<String>,
}

/// The state dictionary that `key` names (`model.encoder`: of one within another), or the one that
/// there is.
///
/// # Errors
/// There is none, or not under `key`; there are several and none is known to be the usual one.
pub fn find<'a>(loaded: &'a Loaded, key: Option<&str>) -> Result<Found<'a>, WeightsError> {
    let root = loaded.root;
    if let Node::Opaque(Some(index)) | Node::Global(crate::pickle::Global::Foreign(index)) = loaded.nodes[root] {
        let foreign = &loaded.foreign[index];
        return Err(WeightsError::Code { at: foreign.at, name: foreign.name.clone() });
    }
    let keys = candidates(loaded);
    if let Some(key) = key {
        let id = key.split('.').try_fold(root, |id, part| value(loaded, id, part));
        return match id.map(|id| flat(loaded, id)).transpose()?.filter(|found| !found.is_empty()) {
            Some(found) => Ok(Found { others: keys.into_iter().filter(|other| other != key).collect(), ..found }),
            None => Err(WeightsError::Key { key: key.into(), keys }),
        };
    }
    let usual = KEYS.iter().find(|key| keys.iter().any(|other| other == *key));
    if let Some((key, id)) = usual.and_then(|key| Some((*key, value(loaded, root, key)?))) {
        let others = keys.into_iter().filter(|other| other != key).collect();
        return Ok(Found { others, ..flat(loaded, id)? });
    }
    let own = loaded.pairs(root).any(|(_, id)| kind(loaded, id).is_some());
    match keys.as_slice() {
        _ if own => flat(loaded, root),
        [] => Err(none(loaded)),
        [only] => match value(loaded, root, only) {
            Some(id) => flat(loaded, id),
            None => Err(none(loaded)),
        },
        _ => Err(WeightsError::Several { keys }),
    }
}

impl Found<'_> {
    fn is_empty(&self) -> bool {
        self.tensors.is_empty() && self.unread.is_empty()
    }
}

/// The last value of a key, as the last pair counts.
fn value(loaded: &Loaded, id: Id, key: &str) -> Option<Id> {
    loaded.pairs(id).filter(|(name, _)| *name == key).last().map(|(_, id)| id)
}

/// What a value of a state dictionary is: a tensor that is read, or, in words, one that is not.
/// `None`: no tensor.
fn kind(loaded: &Loaded, id: Id) -> Option<Result<&TensorRef, String>> {
    if let Some(tensor) = loaded.tensor(id) {
        let other = tensor.of_new_type || matches!(loaded.storages[tensor.storage].kind, StorageKind::Other(_));
        let problem = format!("holds numbers of a type that is not read, in the shape {:?}", tensor.shape);
        return Some(if other { Err(problem) } else { Ok(tensor) });
    }
    match loaded.nodes[id] {
        Node::Opaque(Some(index)) => {
            let name = &loaded.foreign[index].name;
            name.starts_with("torch._utils._rebuild").then(|| {
                let advice = if name.contains("qtensor") { "quantized: save the float model" } else { "not read" };
                Err(format!("is made by `{name}`, {advice}"))
            })
        }
        _ => None,
    }
}

/// The top keys under which there are dictionaries with tensors.
fn candidates(loaded: &Loaded) -> Vec<String> {
    // Of pairs with one key the last counts.
    let values: BTreeMap<&str, Id> = loaded.pairs(loaded.root).collect();
    let mut budget = MOST_VALUES;
    let is_one = |id: Id, budget: &mut usize| {
        matches!(loaded.nodes[id], Node::Dict(_)) && holds_tensors(loaded, id, DEPTH, budget)
    };
    values.into_iter().filter(|(_, id)| is_one(*id, &mut budget)).map(|(name, _)| name.to_owned()).collect()
}

fn holds_tensors(loaded: &Loaded, id: Id, depth: usize, budget: &mut usize) -> bool {
    loaded.pairs(id).any(|(_, id)| {
        *budget = budget.saturating_sub(1);
        *budget > 0 && (kind(loaded, id).is_some() || (depth > 0 && holds_tensors(loaded, id, depth - 1, budget)))
    })
}

/// All tensors of a dictionary and of those within it, their names joined by dots.
///
/// # Errors
/// More values than any network has.
fn flat(loaded: &Loaded, id: Id) -> Result<Found<'_>, WeightsError> {
    let mut found = Found::default();
    let mut budget = MOST_VALUES;
    gather(loaded, id, "", DEPTH, &mut budget, &mut found);
    match budget {
        0 => Err(WeightsError::Malformed(format!("its dictionaries hold more than {MOST_VALUES} values"))),
        _ => Ok(found),
    }
}

fn gather<'a>(loaded: &'a Loaded, id: Id, front: &str, depth: usize, budget: &mut usize, found: &mut Found<'a>) {
    for (name, id) in loaded.pairs(id) {
        // A name takes memory, too: one front may stand before many.
        *budget = budget.saturating_sub(1 + (front.len() + name.len()) / 32);
        if *budget == 0 {
            return;
        }
        let name = if front.is_empty() { name.to_owned() } else { format!("{front}.{name}") };
        match kind(loaded, id) {
            Some(Ok(tensor)) => {
                found.order.push(name.clone());
                found.tensors.insert(name, tensor);
            }
            Some(Err(what)) => drop(found.unread.insert(name, what)),
            None if depth > 0 => gather(loaded, id, &name, depth - 1, budget, found),
            None => {}
        }
    }
}

fn none(loaded: &Loaded) -> WeightsError {
    let what = match &loaded.nodes[loaded.root] {
        Node::Dict(_) => {
            let names: Vec<String> =
                loaded.pairs(loaded.root).take(8).map(|(name, _)| name.chars().take(40).collect()).collect();
            format!("a dictionary with the keys [{}], and no tensors with names", names.join(", "))
        }
        _ => "no dictionary".into(),
    };
    WeightsError::Malformed(format!(
        "it holds {what}; the tensors must be in it, or in a dictionary under one of {}, or another key",
        KEYS[..4].join(", ")
    ))
}
