//! Which class has which label. ILSVRC-12 numbers its classes by their WordNet ids in ascending
//! order from 1; 0 is the background. A subset of the classes keeps the official numbers only where
//! a list of all of them is at hand.

use pocketflow::error::Context as _;
use pocketflow::{Error, Result};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;

/// Classes without the background.
pub const OFFICIAL: usize = 1000;
/// Files that list the classes, as people have them.
pub const LISTS: [&str; 3] = ["wnids.txt", "LOC_synset_mapping.txt", "synset_words.txt"];
/// No list of classes is longer.
const LIST_BYTES_MAX: u64 = 16 << 20;

/// The label of every class.
#[derive(Debug, Clone, Default)]
pub struct Classes {
    labels: HashMap<String, u32>,
    /// By label − 1: what people call it, or its id.
    names: Vec<String>,
    /// Where the numbers come from, where they may not be the official ones.
    note: Option<String>,
}

/// A WordNet id: `n` and eight digits.
pub fn is_wnid(text: &str) -> bool {
    text.len() == 9 && text.starts_with('n') && text[1..].bytes().all(|byte| byte.is_ascii_digit())
}

impl Classes {
    /// Reads a list: a WordNet id at the start of every line, a name after it or not, in the order
    /// of the labels.
    ///
    /// # Errors
    /// A file that cannot be read; a line that begins with something else; an id twice: with file
    /// and line.
    pub fn from_list(path: &Path) -> Result<Self> {
        let place = path.display();
        let size = fs::metadata(path).with_context(|| format!("cannot read the list of classes {place}"))?.len();
        if size > LIST_BYTES_MAX {
            return Err(Error::config(format!("{place}: {size} bytes are no list of classes")));
        }
        let text = fs::read_to_string(path).with_context(|| format!("cannot read the list of classes {place}"))?;
        let mut classes = Self::default();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let (wnid, name) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
            let problem = match is_wnid(wnid) {
                false => format!("`{wnid}` is no WordNet id (n and eight digits)"),
                true if classes.labels.contains_key(wnid) => format!("{wnid} is there twice"),
                true => {
                    classes.add(wnid, name.trim());
                    continue;
                }
            };
            return Err(Error::config(format!("{place}, line {}: {problem}", number + 1)));
        }
        match classes.names.is_empty() {
            true => Err(Error::config(format!("{place}: the list of classes is empty"))),
            false => Ok(classes),
        }
    }

    /// Numbers ids in ascending order from 1: the official labels if all are there.
    pub fn from_wnids(wnids: &BTreeSet<String>) -> Self {
        let mut classes = Self::default();
        for wnid in wnids {
            classes.add(wnid, "");
        }
        if !wnids.is_empty() && wnids.len() != OFFICIAL {
            classes.note = Some(format!(
                "{} classes numbered in the order of their ids, not officially: a wnids.txt is missing",
                wnids.len()
            ));
        }
        classes
    }

    fn add(&mut self, wnid: &str, name: &str) {
        self.names.push(if name.is_empty() { wnid.to_owned() } else { name.to_owned() });
        self.labels.insert(wnid.to_owned(), self.names.len() as u32);
    }

    /// The label of a class, from 1.
    pub fn label(&self, wnid: &str) -> Option<u32> {
        self.labels.get(wnid).copied()
    }

    /// The largest label, 0 where no class is known.
    pub fn last(&self) -> u32 {
        self.names.len() as u32
    }

    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The names of `count` labels, the background first.
    pub fn names(&self, count: u32) -> Vec<String> {
        let known =
            |label: u32| self.names.get(label as usize - 1).cloned().unwrap_or_else(|| format!("class {label}"));
        std::iter::once("background".to_owned()).chain((1..count).map(known)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<Classes> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wnids.txt");
        fs::write(&path, text).unwrap();
        Classes::from_list(&path)
    }

    #[test]
    fn a_list_numbers_by_lines() {
        let classes = list("n01440764 tench, Tinca tinca\nn01443537\n\nn01484850 great white shark\r\n").unwrap();
        assert_eq!(
            (classes.label("n01440764"), classes.label("n01484850"), classes.label("n0")),
            (Some(1), Some(3), None)
        );
        assert_eq!(classes.names(5), ["background", "tench, Tinca tinca", "n01443537", "great white shark", "class 4"]);
        assert_eq!(classes.note(), None);
    }

    #[test]
    fn lists_that_are_none() {
        let problem = |text: &str| list(text).unwrap_err().to_string();
        assert!(problem("n01440764\ntench\n").contains("wnids.txt, line 2: `tench` is no WordNet id"));
        assert!(problem("n01440764\nn01440764\n").contains("wnids.txt, line 2: n01440764 is there twice"));
        assert!(problem("\n").contains("is empty"));
        assert!(problem("ñ1234567").contains("is no WordNet id"));
    }

    #[test]
    fn ids_are_sorted_and_a_subset_says_so() {
        let wnids = ["n02000000", "n01000000"].map(str::to_owned).into();
        let classes = Classes::from_wnids(&wnids);
        assert_eq!((classes.label("n01000000"), classes.label("n02000000")), (Some(1), Some(2)));
        assert!(classes.note().unwrap().starts_with("2 classes numbered in the order of their ids"));
        let all = (0..1000).map(|class| format!("n{class:08}")).collect();
        assert_eq!(Classes::from_wnids(&all).note(), None);
    }
}
