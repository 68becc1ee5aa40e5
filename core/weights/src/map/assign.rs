//! Gives each parameter of a graph the tensor that is for it.

use super::front::{by_name, front};
use super::leftover::{absorbing, is_computed_with};
use super::report::{Absorbed, ImportReport, Matched, Misfit, Unused, Wanted};
use super::{COUNTER, NameMap, unwrapped};
use crate::{LoadedTensor, Tensors};
use pocketflow::graph::{Graph, Param, Role};
use pocketflow::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// The weights of a graph, and how they came to be its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Assigned {
    /// By the graph's names; complete only if the report is.
    pub tensors: Tensors,
    /// What was matched and what not.
    pub report: ImportReport,
}

/// Matches tensors to the parameters of `graph`, by `map` first, then by name, then by what other
/// authors call them, then by what is left of a name without what stands in front of all of them.
///
/// `unread`: tensors of the file whose numbers are not read, with what they are. A parameter cannot
/// take one, and the others are left over.
///
/// Where the file knows one class less than the graph, as files of 1,000 classes do that a graph of
/// 1,001 takes, row 0 of the last layer becomes the background: the mean of all other rows, so that
/// its logit is the mean of the logits, which is never the best of them and widens no range.
///
/// A bias that the graph's layer does not have, because a batch normalisation follows, is
/// subtracted from its running mean.
///
/// # Errors
/// Two tensors for one parameter; a line of the map that fits no tensor; a graph that is not valid.
/// What does not match is no error here but in the report ([`ImportReport::check`]).
pub fn assign(graph: &Graph, mut file: Tensors, unread: &BTreeMap<String, String>, map: &NameMap) -> Result<Assigned> {
    let params: BTreeMap<String, Param> =
        graph.params()?.into_iter().map(|param| (param.name.clone(), param)).collect();
    let absorbing = absorbing(graph);
    let mut report = ImportReport::default();
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut idle: BTreeSet<&str> = map.keys().collect();
    let is_ours = |name: &str| params.contains_key(name) || absorbing.contains_key(name);
    let all = || file.keys().chain(unread.keys());
    let front = front(all().map(String::as_str).filter(|name| map.find(name).is_none()), is_ours)?;
    let mut cannot: BTreeSet<String> = BTreeSet::new();
    for theirs in all() {
        let ours = match map.find(theirs) {
            Some((key, ours)) => {
                idle.remove(key);
                by_name(&ours, "", is_ours).unwrap_or(ours)
            }
            None if theirs.rsplit('.').next() == Some(COUNTER) => String::new(),
            None => by_name(theirs, &front, is_ours).unwrap_or_else(|| theirs.clone()),
        };
        if ours.is_empty() {
            report.ignored.push(theirs.clone());
        } else if !is_ours(&ours) {
            let shape = file.get(theirs).map(|tensor| tensor.shape.clone()).unwrap_or_default();
            report.unused.push(Unused { theirs: theirs.clone(), shape });
        } else if let Some(problem) = unread.get(theirs) {
            report.misfits.push(Misfit { ours: ours.clone(), theirs: theirs.clone(), problem: problem.clone() });
            cannot.insert(ours);
        } else if let Some(other) = names.insert(ours.clone(), theirs.clone()) {
            return Err(Error::config(format!("`{other}` and `{theirs}` are both for `{ours}`; drop one with --map")));
        }
    }
    if let Some(key) = idle.first() {
        return Err(Error::config(format!("the map names `{key}`, but the file has no such tensor")));
    }

    let logits = graph.nodes.len() - 1;
    let last = |param: &&Param| param.node == logits && matches!(param.role, Role::Weight | Role::Bias);
    let lacks_background = params.values().filter(last).all(|param| {
        let tensor = names.get(&param.name).and_then(|theirs| file.get(theirs));
        tensor.is_some_and(|tensor| is_without_first(&tensor.shape, &param.shape))
    });
    report.background_added = lacks_background && params.values().any(|param| last(&param));

    let inner = |theirs: &str| {
        let name = unwrapped(theirs);
        unwrapped(name.strip_prefix(front.as_str()).unwrap_or(name)).to_owned()
    };
    let matched: BTreeSet<String> = names.values().map(|theirs| inner(theirs)).collect();
    let unused = std::mem::take(&mut report.unused);
    (report.lacking, report.unused) =
        unused.into_iter().partition(|unused| is_computed_with(&inner(&unused.theirs), &matched));

    let mut tensors = Tensors::new();
    for (ours, param) in &params {
        let found = names.remove(ours).and_then(|theirs| Some((file.remove(&theirs)?, theirs)));
        let Some((mut tensor, theirs)) = found else {
            if cannot.contains(ours) {
                continue;
            }
            report.missing.push(Wanted { ours: ours.clone(), shape: param.shape.clone() });
            continue;
        };
        if report.background_added && last(&param) {
            put_background(&mut tensor);
        }
        let reshaped = reshape(&mut tensor, param);
        match problem(&tensor, param) {
            Some(problem) => report.misfits.push(Misfit { ours: ours.clone(), theirs, problem }),
            None => {
                report.matched.push(Matched { ours: ours.clone(), theirs, shape: tensor.shape.clone(), reshaped });
                tensors.insert(ours.clone(), tensor);
            }
        }
    }
    for (ours, theirs) in names {
        let (Some(mean), Some(bias)) = (absorbing.get(&ours), file.remove(&theirs)) else { continue };
        absorb(&bias, theirs, mean, &mut tensors, &mut report);
    }
    Ok(Assigned { tensors, report })
}

/// Subtracts a bias from the running mean of that name, if that was found.
fn absorb(bias: &LoadedTensor, theirs: String, mean: &str, tensors: &mut Tensors, report: &mut ImportReport) {
    let Some(into) = tensors.get_mut(mean) else { return };
    let problem = if bias.shape != into.shape {
        Some(format!("has the shape {:?}, not {:?}", bias.shape, into.shape))
    } else if !bias.element.is_float() {
        Some(format!("holds whole numbers ({}), not a bias", bias.element))
    } else {
        bias.values.iter().find(|value| !value.is_finite()).map(|value| format!("holds the number {value}"))
    };
    match problem {
        Some(problem) => report.misfits.push(Misfit { ours: mean.to_owned(), theirs, problem }),
        None => {
            into.values.iter_mut().zip(&bias.values).for_each(|(mean, bias)| *mean -= bias);
            report.absorbed.push(Absorbed { theirs, into: mean.to_owned() });
        }
    }
}

fn is_without_first(theirs: &[usize], ours: &[usize]) -> bool {
    match (theirs, ours) {
        ([theirs, inner @ ..], [ours, rest @ ..]) => {
            *theirs > 0 && theirs.checked_add(1) == Some(*ours) && inner == rest
        }
        _ => false,
    }
}

/// Puts the mean of all rows before them.
fn put_background(tensor: &mut LoadedTensor) {
    let rows = tensor.shape[0];
    let width = tensor.values.len() / rows;
    let mut sums = vec![0f64; width];
    for row in tensor.values.chunks_exact(width.max(1)) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    tensor.values.splice(0..0, sums.iter().map(|sum| (sum / rows as f64) as f32));
    tensor.shape[0] += 1;
}

/// Gives the tensor the parameter's shape where they differ in dimensions of 1 only; returns its
/// own. A convolution of 1 × 1 on a single pixel is a fully connected layer, and some files have it
/// so.
fn reshape(tensor: &mut LoadedTensor, param: &Param) -> Option<Vec<usize>> {
    let significant = |shape: &[usize]| shape.iter().copied().filter(|size| *size != 1).collect::<Vec<usize>>();
    let differs = tensor.shape != param.shape && significant(&tensor.shape) == significant(&param.shape);
    differs.then(|| std::mem::replace(&mut tensor.shape, param.shape.clone()))
}

fn problem(tensor: &LoadedTensor, param: &Param) -> Option<String> {
    if tensor.shape != param.shape {
        return Some(format!("has the shape {:?}, not {:?}", tensor.shape, param.shape));
    }
    if !tensor.element.is_float() {
        return Some(format!("holds whole numbers ({}), not weights", tensor.element));
    }
    if let Some(value) = tensor.values.iter().find(|value| !value.is_finite()) {
        return Some(format!("holds the number {value}"));
    }
    let negative = tensor.values.iter().find(|value| param.role == Role::RunningVar && **value < 0.0);
    negative.map(|value| format!("holds the negative variance {value}"))
}

#[cfg(test)]
mod tests;
