//! What is wrong with the settings: each problem with its source, and all of them in one error.

use pocketflow::Error;
use pocketflow::settings::Origin;
use std::collections::{HashMap, HashSet};
use std::fmt;

/// The most problems that are printed: who sees so many mends the first ones, and asks again.
const SHOWN: usize = 30;

/// One thing wrong in one place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Problem {
    source: String,
    line: Option<usize>,
    text: String,
}

impl Problem {
    /// A problem with a value from `origin`.
    pub fn at(origin: &Origin, text: impl Into<String>) -> Self {
        let (source, line) = match origin {
            Origin::File { path, line } => (path.display().to_string(), *line),
            other => (other.to_string(), None),
        };
        Self { source, line, text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.source, self.text),
            None => write!(f, "{}: {}", self.source, self.text),
        }
    }
}

/// Nothing, or one error that says them all: sources as they came, lines in order, nothing twice (a
/// file may be read more than once).
///
/// # Errors
/// There are problems.
pub(crate) fn report(problems: &[Problem]) -> Result<(), Error> {
    let mut sources: HashMap<&str, usize> = HashMap::new();
    let mut seen: HashSet<&Problem> = HashSet::new();
    let mut said: Vec<(usize, &Problem)> = Vec::new();
    for (index, problem) in problems.iter().enumerate() {
        let first = *sources.entry(&problem.source).or_insert(index);
        if seen.insert(problem) {
            said.push((first, problem));
        }
    }
    said.sort_by_key(|(source, problem)| (*source, problem.line));
    match said.as_slice() {
        [] => Ok(()),
        [(_, one)] => Err(Error::config(one.to_string())),
        many => {
            let lines = many.iter().take(SHOWN).map(|(_, problem)| format!("\n  {problem}"));
            let more = match many.len().saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!("\n  and {more} more"),
            };
            Err(Error::config(format!("{} problems with the settings:{}{more}", many.len(), lines.collect::<String>())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_as_they_came_and_lines_in_order() {
        let file = |name: &str, line| Problem::at(&Origin::File { path: name.into(), line: Some(line) }, "bad");
        let flag = Problem::at(&Origin::Flag { name: "--x".into() }, "worse");
        let error = report(&[file("b", 9), file("b", 2), flag, file("a", 1), file("b", 9)]).unwrap_err();
        insta::assert_snapshot!(error, @r"
        4 problems with the settings:
          b:2: bad
          b:9: bad
          flag --x: worse
          a:1: bad
        ");
        assert_eq!(report(&[]), Ok(()));
    }

    #[test]
    fn hundreds_of_thousands_are_counted_and_the_first_are_shown() {
        let begin = std::time::Instant::now();
        let at = |line| Problem::at(&Origin::File { path: "a".into(), line: Some(line) }, "bad");
        let problems: Vec<Problem> = (1..=200_000).map(at).collect();
        let text = report(&problems).unwrap_err().to_string();
        assert!(text.starts_with("200000 problems") && text.ends_with("\n  a:30: bad\n  and 199970 more"), "{text}");
        assert!(begin.elapsed().as_secs() < 10, "{:?}", begin.elapsed());
    }
}
