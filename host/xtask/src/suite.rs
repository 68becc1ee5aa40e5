//! The test suite: what everybody runs, and with `--all` what takes an hour and more: long
//! trainings and hundreds of kills.

use std::ffi::{OsStr, OsString};

/// The flag for the long tests too.
const ALL: &str = "--all";

/// Arguments for cargo of a run with the user's own `rest`. The long tests are those that the
/// harness lists as ignored, each with a word of why.
pub fn arguments(rest: Vec<OsString>) -> Vec<OsString> {
    let all = rest.iter().take_while(|word| *word != "--").any(|word| word == ALL);
    let (mut of_cargo, mut of_tests) = (Vec::new(), Vec::new());
    let mut rest = rest.into_iter();
    of_cargo.extend(rest.by_ref().take_while(|word| word != "--").filter(|word| word != ALL));
    if all {
        of_tests.push(OsStr::new("--include-ignored").to_owned());
    }
    of_tests.extend(rest);
    if !of_tests.is_empty() {
        of_cargo.push("--".into());
        of_cargo.extend(of_tests);
    }
    of_cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_tests_are_asked_for_by_name() {
        let made = |words: &str| {
            let words = arguments(words.split_whitespace().map(OsString::from).collect());
            words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(made(""), "");
        assert_eq!(made("--all"), "-- --include-ignored");
        assert_eq!(made("-p host -- name"), "-p host -- name");
        assert_eq!(made("-p host --all -- name"), "-p host -- --include-ignored name");
        assert_eq!(made("-- --all"), "-- --all");
    }
}
