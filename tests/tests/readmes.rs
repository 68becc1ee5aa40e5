//! The READMEs say what is there: their commands and options are known to the programs, their links
//! lead somewhere. Their Rust examples are tests of documentation (`tests/src/lib.rs`).

use pocketflow_tests::place::{Place, built};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folders whose files a README may name.
const FOLDERS: [&str; 6] = ["core", "plugins", "nets", "datasets", "host", "tests"];
/// The README that everybody opens is read in a few minutes.
const LINES_MAX: usize = 150;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A README and what it consists of.
struct Readme {
    path: PathBuf,
    text: String,
    /// The code of its fences, each with the language.
    fences: Vec<(String, String)>,
    /// Its text without fences.
    prose: String,
}

impl Readme {
    fn read(path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).unwrap();
        let (mut fences, mut prose, mut open) = (Vec::new(), String::new(), false);
        for line in text.lines() {
            match line.strip_prefix("```") {
                Some(language) => {
                    open = !open;
                    if open {
                        assert!(!language.is_empty(), "{}: a fence without a language", path.display());
                        fences.push((language.to_owned(), String::new()));
                    }
                }
                None => {
                    let into = if open { &mut fences.last_mut().unwrap().1 } else { &mut prose };
                    into.push_str(line);
                    into.push('\n');
                }
            }
        }
        assert!(!open, "{}: a fence is not closed", path.display());
        Self { path, text, fences, prose }
    }

    /// What it has between single back quotes.
    fn quoted(&self) -> Vec<&str> {
        self.prose.split('\n').flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
    }

    /// The commands for a shell, a line each, without comments.
    fn commands(&self) -> Vec<String> {
        let shell = self.fences.iter().filter(|(language, _)| language == "sh");
        let lines =
            shell.flat_map(|(_, code)| code.replace("\\\n", " ").lines().map(str::to_owned).collect::<Vec<_>>());
        let quoted = self.quoted().into_iter().filter(|text| text.starts_with("host ") || text.starts_with("cargo "));
        let quoted = quoted.filter(|text| !text.ends_with('…')).map(str::to_owned);
        lines.chain(quoted).map(|line| line.split(" #").next().unwrap().trim().to_owned()).collect()
    }

    /// Its headings, as links name them.
    fn anchors(&self) -> BTreeSet<String> {
        let headings = self.prose.lines().filter_map(|line| line.strip_prefix('#'));
        let headings = headings.map(|line| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-"));
        headings.map(|text| text.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect()).collect()
    }

    /// Where its links lead, those into the web left out.
    fn links(&self) -> Vec<&str> {
        let after = self.prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        after.filter(|target| !target.contains("://")).collect()
    }
}

fn find(folder: &Path, depth: usize, into: &mut Vec<Readme>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() && depth > 0 && FOLDERS.iter().any(|known| path.starts_with(root().join(known))) {
            find(&path, depth - 1, into);
        } else if name == "README.md" {
            into.push(Readme::read(path));
        }
    }
}

fn readmes() -> Vec<Readme> {
    let mut found = Vec::new();
    find(&root(), 2, &mut found);
    assert!(found.len() > FOLDERS.len(), "{} READMEs found", found.len());
    found
}

/// What `program` prints with these words.
fn printed(program: &str, words: &[&str]) -> String {
    let mut command = Command::new(built().join(program));
    // That of this test, in which xtask would look for its own.
    command.args(words).current_dir(root()).env_remove("CARGO_MANIFEST_DIR");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn plugins() -> BTreeSet<String> {
    let list: Value = serde_json::from_str(&printed("host", &["plugins", "list", "--format=json"])).unwrap();
    list["plugins"].as_array().unwrap().iter().map(|plugin| plugin["name"].as_str().unwrap().to_owned()).collect()
}

/// The help of both programs, of all their commands and plugins.
fn help() -> String {
    let mut text = ["run", "eval", "export", "import", "bench", "data check", "plugins check", "config init"]
        .map(|command| printed("host", &command.split(' ').chain(["--help"]).collect::<Vec<_>>()))
        .concat();
    text.extend(plugins().iter().map(|name| printed("host", &["plugins", "show", name])));
    text + &printed("xtask", &["help"]) + &printed("xtask", &["bench", "step", "--help"])
}

/// The flags in a text, spelled as in `--help`.
fn flags(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| c.is_whitespace() || "`[(=,;:".contains(c));
    let names = words.filter_map(|word| word.strip_prefix("--")).map(|name| name.replace('_', "-"));
    names.map(|name| name.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect::<String>()).collect()
}

/// That the program knows commands and flags of `words`, and takes the values of options. Nothing
/// is run.
fn try_host(words: &str) -> Result<(), String> {
    let is_run = words.starts_with('-') && !words.contains("--config ") && !words.contains("--help");
    let line = if is_run { format!("config show {words}") } else { format!("{words} --help") };
    let outcome = Place::new().host(&line);
    if outcome.status == 0 { Ok(()) } else { Err(outcome.stderr) }
}

/// As [`try_host`], of `cargo xtask`. `help` is its text.
fn try_xtask(words: &str, help: &str) -> Result<(), String> {
    let (command, rest) = words.split_once(' ').unwrap_or((words, ""));
    if !help.lines().any(|line| line.trim_start().split(' ').next() == Some(command)) {
        return Err(format!("`cargo xtask` has no command `{command}`"));
    }
    if matches!(command, "host" | "accuracy") && !rest.is_empty() {
        return try_host(rest);
    }
    match flags(rest).difference(&flags(help)).next() {
        None => Ok(()),
        Some(flag) => Err(format!("`cargo xtask {command}` has no flag --{flag}")),
    }
}

#[test]
fn commands_are_known_to_the_programs() {
    let help = printed("xtask", &["help"]) + &printed("xtask", &["bench", "step", "--help"]);
    let mut tried = 0;
    for readme in readmes() {
        for command in readme.commands() {
            let outcome = if let Some(words) = command.strip_prefix("cargo xtask ") {
                try_xtask(words, &help)
            } else if let Some(words) = command.strip_prefix("host ") {
                try_host(words)
            } else {
                continue;
            };
            tried += 1;
            if let Err(problem) = outcome {
                panic!("{}: `{command}`: {problem}", readme.path.display());
            }
        }
    }
    assert!(tried > 20, "{tried} commands found");
}

#[test]
fn a_command_that_is_not_known_is_found() {
    assert!(try_host("--learner=uniform --net=resnet_at_cifar10 --uql_weight_bits=4").is_ok());
    for words in
        ["--learner=uniform --uql_bits=4", "--learner=uniform --uql_weight_bits=99", "exprot", "eval --modle=a"]
    {
        assert!(try_host(words).is_err(), "{words}");
    }
    let help = printed("xtask", &["help"]);
    assert!(try_xtask("test --all", &help).is_ok());
    for words in ["tset", "test --al", "accuracy --data_dri=DIR", "host --nte=a"] {
        assert!(try_xtask(words, &help).is_err(), "{words}");
    }
}

#[test]
fn options_have_these_names() {
    let help = help();
    let known = flags(&help);
    let plugins = plugins();
    for readme in readmes() {
        let ours = |text: &&str| !["pip ", "cargo "].iter().any(|program| text.starts_with(program));
        for text in readme.quoted().into_iter().filter(ours) {
            if let Some(flag) = flags(text).difference(&known).next() {
                panic!("{}: `{text}`: there is no flag --{flag}", readme.path.display());
            }
            // Also a key of a file is an option; other names of this form are those of plugins.
            let is_word = text.starts_with(|c: char| c.is_ascii_lowercase());
            let of_key = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            let is_key = is_word && text.contains('_') && text.chars().all(of_key);
            let is_known = known.contains(&text.replace('_', "-")) || plugins.contains(text);
            assert!(!is_key || is_known, "{}: there is no option `{text}`", readme.path.display());
        }
    }
}

#[test]
fn links_and_paths_lead_somewhere() {
    for readme in readmes() {
        let place = readme.path.display();
        for link in readme.links() {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let to = if file.is_empty() { readme.path.clone() } else { readme.path.parent().unwrap().join(file) };
            assert!(to.exists(), "{place}: {link}: no such file");
            assert!(
                anchor.is_empty() || Readme::read(to).anchors().contains(anchor),
                "{place}: {link}: no such heading"
            );
        }
        for text in readme.quoted().into_iter().filter(|text| !text.contains(char::is_whitespace)) {
            let is_path = FOLDERS.iter().any(|folder| text.starts_with(&format!("{folder}/")));
            assert!(!is_path || root().join(text).exists(), "{place}: `{text}`: no such file");
        }
    }
}

#[test]
fn the_example_of_a_quantizer_is_the_one_that_trains() {
    let readme = Readme::read(root().join("plugins/README.md"));
    let source = std::fs::read_to_string(root().join("tests/fixtures/outside/src/quantizer.rs")).unwrap();
    assert!(readme.fences.iter().any(|(_, code)| *code == source), "its code in plugins/README.md is another");
}

#[test]
fn the_first_readme_is_short_and_all_are_tested() {
    let lines = std::fs::read_to_string(root().join("README.md")).unwrap().lines().count();
    assert!(lines <= LINES_MAX, "README.md has {lines} lines; more belongs into the README of a folder");
    let tested = std::fs::read_to_string(root().join("tests/src/lib.rs")).unwrap();
    for readme in readmes() {
        let path = readme.path.strip_prefix(root()).unwrap();
        let from_here = Path::new("../..").join(path);
        let included = [from_here, Path::new("..").join(path.strip_prefix("tests").unwrap_or(path))];
        let is_tested = included.iter().any(|path| tested.contains(&format!("include_str!({path:?})")));
        assert!(is_tested, "{}: tests/src/lib.rs does not include it", path.display());
        assert!(!readme.text.contains("\n    host "), "{}: an example without a fence", path.display());
    }
}
