//! The rules for names: which keys and plugin names are legal, which spellings mean the same, which
//! name a mistyped one may have meant, and how a text from a file or a plugin is printed.
//!
//! Everything that compares, suggests or prints a name asks here, so that a name means the same at
//! every place.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The longest name of a plugin, and the longest key of an option, in bytes.
pub const LONGEST: usize = 64;

/// The most characters of a name that [`shown`] prints.
const SHOWN_NAME: usize = 200;

/// The most characters of a text that [`shown_text`] and [`shown_line`] print.
const SHOWN_TEXT: usize = 4_000;

/// Below this likeness (1 is equal), a suggestion would mislead.
const ALIKE: f64 = 0.45;

/// The one spelling of a name or key: `-` and `_` mean the same, and so do flags with their leading
/// dashes.
pub fn canonical(name: &str) -> String {
    name.trim_start_matches('-').replace('-', "_")
}

/// Whether two names are spellings of one.
pub fn same(one: &str, other: &str) -> bool {
    let plain = |name: &str| name.trim_start_matches('-').len();
    plain(one) == plain(other) && canonical(one) == canonical(other)
}

/// Whether a text can be the key of an option: it becomes a flag, a variable and a key of files.
///
/// # Errors
/// The rule that it breaks, as a text that names the key.
pub fn check_key(key: &str) -> Result<(), String> {
    let starts = key.starts_with(|first: char| first.is_ascii_lowercase());
    let rest = key.chars().all(|each| each.is_ascii_lowercase() || each.is_ascii_digit() || each == '_');
    if !starts || !rest || key.ends_with('_') || key.contains("__") || key.len() > LONGEST {
        return Err(format!(
            "`{}` is not a legal key: a key has lower-case letters, digits and single `_` between them, begins with a \
             letter, and has at most {LONGEST} characters, as `batch_size`",
            shown(key)
        ));
    }
    Ok(())
}

/// Whether a text can be the name of a plugin: it is a value of a flag and a part of file names.
///
/// # Errors
/// The rule that it breaks, as a text that names it.
pub fn check_name(name: &str) -> Result<(), String> {
    let legal = |each: char| each.is_ascii_lowercase() || each.is_ascii_digit() || matches!(each, '_' | '-');
    let starts = name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
    if !starts || !name.chars().all(legal) || name.len() > LONGEST {
        return Err(format!(
            "`{}` is not a legal name: a name has lower-case letters, digits, `_` and `-`, begins with a letter or a digit, \
             and has at most {LONGEST} characters, as `resnet_at_cifar10`",
            shown(name)
        ));
    }
    Ok(())
}

/// The candidate most like `written`, if one is much like it. Case and the spelling of `_` do not
/// count.
pub fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The comparison takes the product of both lengths, and a text so long is no typing error.
    if written.len() > SHOWN_NAME {
        return None;
    }
    let plain = |name: &str| canonical(name).to_ascii_lowercase();
    let wanted = plain(written);
    let likeness = |candidate: &str| strsim::normalized_damerau_levenshtein(&wanted, &plain(candidate));
    let scored = candidates.into_iter().filter(|candidate| candidate.len() <= SHOWN_NAME);
    let best = scored
        .map(|candidate| (likeness(candidate), candidate))
        .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)));
    best.filter(|(score, _)| *score >= ALIKE).map(|(_, candidate)| candidate)
}

/// [`nearest`] as the end of a message: `; did you mean …?`, or nothing.
pub fn hint<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(written, candidates).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

/// A name from a file or a plugin as it is printed: control characters escaped, and cut after 200
/// characters.
pub fn shown(name: &str) -> Cow<'_, str> {
    printed(name, SHOWN_NAME, |each| each.is_control() || is_format(each))
}

/// A text of several lines as it is printed: control characters but the line feed and the tab
/// escaped, and cut after 4,000 characters.
pub fn shown_text(text: &str) -> Cow<'_, str> {
    printed(text, SHOWN_TEXT, |each| !matches!(each, '\n' | '\t') && (each.is_control() || is_format(each)))
}

/// A text of one line as it is printed, as a path: all control characters escaped, and cut after
/// 4,000 characters.
pub fn shown_line(text: &str) -> Cow<'_, str> {
    printed(text, SHOWN_TEXT, |each| each.is_control() || is_format(each))
}

/// Many names as one list, `, ` between them: the first 20, and how many more there are.
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const MOST: usize = 20;
    let mut names = names.into_iter();
    let first: Vec<Cow<'_, str>> = names.by_ref().take(MOST).map(shown).collect();
    match names.count() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// Characters that are not drawn but change how others are: marks of the writing direction can hide
/// what a text says.
fn is_format(each: char) -> bool {
    matches!(each, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn printed(text: &str, most: usize, escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    let cut = text.char_indices().nth(most).map(|(end, _)| end);
    let kept = &text[..cut.unwrap_or(text.len())];
    if cut.is_none() && !kept.contains(&escaped) {
        return Cow::Borrowed(text);
    }
    let mut made = String::with_capacity(kept.len() + 32);
    for each in kept.chars() {
        if escaped(each) {
            made.extend(each.escape_default());
        } else {
            made.push(each);
        }
    }
    if cut.is_some() {
        // The length in bytes is known without another pass over what may be very long.
        let _ = write!(made, "… ({} bytes in all)", text.len());
    }
    Cow::Owned(made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_that_a_flag_a_variable_and_a_file_can_hold() {
        let long = "a".repeat(65);
        for key in ["", "Uql", "a-b", "1a", "a__b", "a_", "a b", "_a", "ünd", "a\u{7}", &long] {
            assert!(check_key(key).is_err(), "{key}");
        }
        for key in ["n", "uql_weight_bits", "a1", &long[1..]] {
            assert_eq!(check_key(key), Ok(()));
        }
    }

    #[test]
    fn names_that_are_safe_in_paths_and_on_terminals() {
        let long = "a".repeat(65);
        for name in ["", "../../escape", "a/b", ".", "..", "a.b", "-x", "_x", "A", "a b", "a\u{1b}[31m", "nät", &long]
        {
            assert!(check_name(name).is_err(), "{name}");
        }
        for name in ["full-prec", "resnet_at_cifar10", "2bit", "a", &long[1..]] {
            assert_eq!(check_name(name), Ok(()));
        }
    }

    #[test]
    fn spellings_of_one_name() {
        assert!(same("uniform_tf", "uniform-tf") && same("--uql-weight_bits", "uql_weight_bits"));
        assert!(!same("uniform", "uniform-tf"));
    }

    #[test]
    fn suggestions() {
        let names = ["full-prec", "uniform", "uniform-tf"];
        assert_eq!(nearest("unifrom", names), Some("uniform"));
        assert_eq!(nearest("Uniform_TF", names), Some("uniform-tf"));
        assert_eq!(nearest("zzzzzzzz", names), None);
        assert_eq!(nearest(&"x".repeat(100_000), names), None);
        assert_eq!(hint("ful-prec", names), "; did you mean `full-prec`?");
        assert_eq!(hint("qqq", names), "");
    }

    #[test]
    fn what_is_printed_is_short_and_plain() {
        assert!(matches!(shown("layer1.0.conv1"), Cow::Borrowed("layer1.0.conv1")));
        assert_eq!(shown("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(shown("good\u{202e}live"), "good\\u{202e}live");
        assert_eq!(shown_text("two\nlines\tand\rthat\u{7}"), "two\nlines\tand\\rthat\\u{7}");
        assert_eq!(shown_line("two\nlines"), "two\\nlines");
        let long = shown(&"é".repeat(50_000)).into_owned();
        assert!(long.starts_with("ééé") && long.ends_with("… (100000 bytes in all)"), "{long}");
        assert!(long.chars().count() < 240);
        assert_eq!(shown_text(&"x".repeat(4_000)).len(), 4_000);
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(list(["a", "b"]), "a, b");
        let names: Vec<String> = (0..100_000).map(|index| format!("node{index}")).collect();
        let text = list(names.iter().map(String::as_str));
        assert!(text.ends_with("node19 and 99980 more"), "{text}");
    }

    proptest! {
        #[test]
        fn nothing_printed_can_move_the_cursor(text in "\\PC*|[\\x00-\\x1f\\x7f-\\x9f]{0,300}") {
            prop_assert!(!shown(&text).contains(char::is_control));
            prop_assert!(!shown_text(&text).contains(|each: char| each.is_control() && each != '\n' && each != '\t'));
        }
    }
}
