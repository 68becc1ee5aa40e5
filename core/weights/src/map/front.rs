//! What stands in front of all names of a network in a file: `model.` of Lightning, `backbone.`,
//! the number of a part in a sequence of modules. It is the front under which most parameters find
//! their tensor.

use super::{HABITS, by_habit, unwrapped};
use pocketflow::{Error, Result};
use std::collections::BTreeMap;

/// Parts of a front, as `model.backbone.` has two.
const LONGEST: usize = 4;

/// The graph's name for a tensor, with `front` taken away where it is needed; `None` where there is
/// none.
pub(super) fn by_name(theirs: &str, front: &str, is_ours: impl Fn(&str) -> bool) -> Option<String> {
    let name = unwrapped(theirs);
    let own = |name: &str| {
        let candidates = std::iter::once(name.to_owned()).chain(HABITS.iter().map(|habit| by_habit(name, *habit)));
        candidates.into_iter().find(|candidate| is_ours(candidate))
    };
    let inner = name.strip_prefix(front).map(unwrapped).filter(|_| !front.is_empty());
    is_ours(theirs).then(|| theirs.to_owned()).or_else(|| own(name)).or_else(|| own(inner?))
}

/// The front of the names of a file, with its dot; empty where more parameters find their tensor
/// without.
///
/// # Errors
/// Two fronts under which equally many do: the file holds two networks.
pub(super) fn front<'a>(names: impl Iterator<Item = &'a str>, is_ours: impl Fn(&str) -> bool) -> Result<String> {
    let mut plain = 0;
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for theirs in names {
        if by_name(theirs, "", &is_ours).is_some() {
            plain += 1;
            continue;
        }
        let name = unwrapped(theirs);
        for (at, _) in name.match_indices('.').take(LONGEST) {
            let front = &name[..=at];
            if by_name(theirs, front, &is_ours).is_some() {
                *found.entry(front).or_default() += 1;
            }
        }
    }
    let Some(most) = found.values().copied().max().filter(|most| *most > plain) else { return Ok(String::new()) };
    let mut best = found.iter().filter(|(_, count)| **count == most).map(|(front, _)| *front);
    match (best.next(), best.next()) {
        (Some(one), Some(other)) => {
            let [one, other] = [one, other].map(|front| front.trim_end_matches('.'));
            Err(Error::config(format!(
                "the file holds the network twice, under `{one}` and under `{other}`: leave one out by a line \"{other}\" = \"\" \
                 in a file for --map"
            )))
        }
        (one, _) => Ok(one.unwrap_or_default().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [&str; 4] = ["conv1.weight", "bn1.bias", "fc.weight", "fc.bias"];

    fn is_ours(name: &str) -> bool {
        OURS.contains(&name)
    }

    fn of(names: &[&str]) -> String {
        front(names.iter().copied(), is_ours).unwrap()
    }

    #[test]
    fn the_front_under_which_most_fits() {
        assert_eq!(of(&OURS), "");
        assert_eq!(of(&["model.conv1.weight", "model.bn1.bias", "model.linear.weight", "lr"]), "model.");
        assert_eq!(of(&["module.model.net.conv1.weight", "model.net.fc.bias"]), "model.net.");
        assert_eq!(of(&["0.mean", "0.std", "1.conv1.weight", "1.fc.bias"]), "1.");
        // A second head beside the network is none.
        assert_eq!(of(&["conv1.weight", "bn1.bias", "fc.weight", "aux.fc.weight"]), "");
        assert_eq!(by_name("model._orig_mod.linear.bias", "model.", is_ours).as_deref(), Some("fc.bias"));
        assert_eq!(by_name("model.other", "model.", is_ours), None);
    }

    #[test]
    fn two_networks_are_not_guessed_among() {
        let names = ["student.conv1.weight", "student.fc.bias", "teacher.conv1.weight", "teacher.fc.bias"];
        let message = front(names.into_iter(), is_ours).unwrap_err().to_string();
        assert!(message.contains("under `student` and under `teacher`"), "{message}");
    }

    proptest::proptest! {
        #[test]
        fn any_front_is_found(front in "[a-zü][a-zü0-9_]{0,8}(\\.[a-z0-9]{1,5}){0,2}") {
            let names: Vec<String> = OURS.iter().map(|name| format!("{front}.{name}")).collect();
            proptest::prop_assert_eq!(super::front(names.iter().map(String::as_str), is_ours).unwrap(), format!("{front}."));
        }
    }
}
