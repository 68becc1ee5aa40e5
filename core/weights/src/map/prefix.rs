//! The front that a program puts before the name of every parameter, as Lightning's `model.` or the
//! `1.` of a network behind its normalisation.

use super::unwrapped;
use std::collections::BTreeMap;

/// The front under which most names are parameters; empty where some are without one. Of fronts
/// that serve as many the shortest is taken.
pub(super) fn prefix<'a>(names: impl Iterator<Item = &'a str> + Clone, is_ours: impl Fn(&str) -> bool) -> String {
    if names.clone().any(&is_ours) {
        return String::new();
    }
    let mut served: BTreeMap<&str, usize> = BTreeMap::new();
    for name in names.map(unwrapped) {
        for (at, _) in name.match_indices('.') {
            if is_ours(&name[at + 1..]) {
                *served.entry(&name[..=at]).or_default() += 1;
            }
        }
    }
    let best = served.into_iter().max_by_key(|(front, names)| (*names, std::cmp::Reverse(front.len())));
    best.map(|(front, _)| front.to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_of_most_names_is_found() {
        let ours = ["conv1.weight", "layer1.0.conv1.weight", "fc.weight", "fc.bias"];
        let of = |names: &[&str]| prefix(names.iter().copied(), |name| ours.contains(&name));
        assert_eq!(of(&["model.conv1.weight", "model.layer1.0.conv1.weight", "model.fc.bias", "epoch"]), "model.");
        assert_eq!(of(&["module.a.b.conv1.weight", "module.a.b.fc.weight"]), "a.b.");
        assert_eq!(of(&["0.mean", "0.std", "1.conv1.weight", "1.fc.weight"]), "1.");
        assert_eq!(of(&["conv1.weight", "ema.conv1.weight", "ema.fc.weight"]), "", "some are without one");
        assert_eq!(of(&["student.fc.bias", "teacher.fc.weight", "teacher.fc.bias"]), "teacher.");
        assert_eq!(of(&["nothing", "of.this"]), "");
    }
}
