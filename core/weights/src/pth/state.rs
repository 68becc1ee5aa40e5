//! Finds the state dictionary in what `torch.save` was given: the dictionary itself, or a
//! checkpoint that holds it beside the epoch, the optimizer and so on.

use crate::error::WeightsError;
use crate::pickle::{Id, Loaded, Node, TensorRef};
use std::collections::{BTreeMap, HashSet};

/// The keys under which most training scripts keep it.
const KEYS: [&str; 4] = ["state_dict", "model_state_dict", "model", "net"];
/// How deep dictionaries are looked into.
const DEPTH_MAX: usize = 4;
/// Dictionaries of tensors that are looked at.
const FOUND_MAX: usize = 64;

type Named<'a> = BTreeMap<&'a str, &'a TensorRef>;

/// The tensors by name: those of the dictionary under `key`, where it is given, as `ema.model`;
/// else those that a script most likely meant.
///
/// # Errors
/// There is no dictionary with tensors where one is looked for; several that may be meant, with
/// their keys; a pickle of an object instead, by its class.
pub fn tensors<'a>(loaded: &'a Loaded, key: Option<&str>) -> Result<Named<'a>, WeightsError> {
    let mut found = dictionaries(loaded);
    if let Some(key) = key {
        return match found.iter().position(|(path, _)| path == key) {
            Some(at) => Ok(found.swap_remove(at).1),
            None => Err(WeightsError::Key { key: key.into(), there: listed(&found) }),
        };
    }
    let under = |wanted: &str| found.iter().position(|(path, _)| path == wanted);
    let is_weights = |(_, tensors): &(String, Named<'_>)| tensors.keys().any(|name| name.ends_with("weight"));
    let likely: Vec<usize> = (0..found.len()).filter(|at| is_weights(&found[*at])).collect();
    let root = under("");
    let at = KEYS
        .iter()
        .find_map(|key| under(key))
        .or_else(|| root.filter(|root| likely.contains(root)))
        .or(match likely[..] {
            [only] => Some(only),
            _ => None,
        })
        .or(if likely.is_empty() { root.or(if found.len() == 1 { Some(0) } else { None }) } else { None });
    if let Some(at) = at {
        return Ok(found.swap_remove(at).1);
    }
    if found.len() > 1 {
        return Err(WeightsError::Several { there: listed(&found) });
    }
    if let Some((at, name)) = &loaded.foreign {
        return Err(WeightsError::Code { at: *at, name: name.clone() });
    }
    let what = match &loaded.nodes[loaded.root] {
        Node::Dict(_) => {
            let names: Vec<String> =
                loaded.pairs(loaded.root).take(8).map(|(name, _)| name.chars().take(40).collect()).collect();
            format!("a dictionary with the keys [{}]", names.join(", "))
        }
        Node::List(_) | Node::Tuple(_) => "a list, and no dictionary that names its tensors".into(),
        _ => "no dictionary".into(),
    };
    Err(WeightsError::Malformed(format!(
        "it holds {what}; the tensors must be in it, or in a dictionary under one of {}",
        KEYS.join(", ")
    )))
}

/// Every dictionary that holds tensors, by the keys that lead to it from the root, joined by dots;
/// the root's is empty.
fn dictionaries(loaded: &Loaded) -> Vec<(String, Named<'_>)> {
    let mut found = Vec::new();
    let mut seen: HashSet<Id> = HashSet::new();
    let mut level: Vec<(String, Id)> = vec![(String::new(), loaded.root)];
    for _ in 0..=DEPTH_MAX {
        let mut deeper = Vec::new();
        for (path, id) in level {
            if !seen.insert(id) || found.len() == FOUND_MAX {
                continue;
            }
            let tensors: Named<'_> =
                loaded.pairs(id).filter_map(|(name, value)| Some((name, loaded.tensor(value)?))).collect();
            if !tensors.is_empty() {
                found.push((path.clone(), tensors));
            }
            // A later pair replaces an earlier one of the same key.
            let inner: BTreeMap<&str, Id> = loaded.pairs(id).collect();
            let inner = inner.into_iter().filter(|(_, value)| matches!(loaded.nodes[*value], Node::Dict(_)));
            deeper.extend(inner.map(|(key, value)| match path.is_empty() {
                true => (key.to_owned(), value),
                false => (format!("{path}.{key}"), value),
            }));
        }
        level = deeper;
    }
    found
}

/// Paths with numbers of tensors, for a message.
fn listed(found: &[(String, Named<'_>)]) -> Vec<(String, usize)> {
    found.iter().map(|(path, tensors)| (path.chars().take(80).collect(), tensors.len())).collect()
}
