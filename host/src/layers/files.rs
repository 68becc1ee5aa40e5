//! Configuration files as layers: which there are, what each extends, and in which order they
//! count.

use super::Layer;
use super::leaf::Leaf;
use super::parse::{self, EXTENDS, Syntax};
use super::problem::Problem;
use pocketflow::settings::Origin;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The project's own file, in the working directory.
pub const PROJECT_FILE: &str = "pocketflow.toml";

/// Files that extend files that extend files: more are a mistake.
const MAX_DEPTH: usize = 32;
/// Files in all; each of two files that extend one more twice doubles them.
const MAX_FILES: usize = 256;
/// Bytes in a file; settings are some hundred lines.
const MAX_BYTES: u64 = 4 << 20;

/// `$XDG_CONFIG_HOME/pocketflow/config.toml`, or under `~/.config` where that is not set (or
/// relative, which the XDG specification says to ignore).
pub fn user_file(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
    let base = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
    Some(base.join("pocketflow").join("config.toml"))
}

/// Reads files into layers, in the order in which they count, and collects what is wrong with them.
#[derive(Default)]
pub struct Files {
    pub layers: Vec<Layer>,
    pub problems: Vec<Problem>,
    /// Files being read: the path as said, and as the system knows it.
    open: Vec<(PathBuf, PathBuf)>,
    read: usize,
}

impl Files {
    /// A file that need not be there.
    pub fn add_if_there(&mut self, path: &Path) {
        // Nothing is wrong with a file that nobody wrote; any other trouble is found again, and
        // reported, in reading it.
        if !matches!(path.metadata(), Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory))
        {
            self.add(path, &Origin::File { path: path.into(), line: None }, "");
        }
    }

    /// A file that was asked for with `--config`.
    pub fn add_named(&mut self, path: &Path) {
        self.add(path, &Origin::Flag { name: "--config".into() }, "");
    }

    /// Adds what the file extends, then the file. `origin` asked for it; `how` says so in an error.
    fn add(&mut self, path: &Path, origin: &Origin, how: &str) {
        let mut wrong = |text: String| self.problems.push(Problem::at(origin, text));
        let Some(syntax) = Syntax::of(path) else {
            return wrong(format!("`{}`{how} is no .toml, .yaml or .json file", path.display()));
        };
        let (real, text) = match read(path) {
            Ok(read) => read,
            Err(reason) => return wrong(format!("cannot read `{}`{how}: {reason}", path.display())),
        };
        if let Some(first) = self.open.iter().position(|(_, open)| *open == real) {
            let circle: Vec<_> = self.open[first..].iter().map(|(said, _)| said.display().to_string()).collect();
            return wrong(format!("`{EXTENDS}` goes in a circle: {} → {}", circle.join(" → "), path.display()));
        }
        if self.open.len() >= MAX_DEPTH || self.read >= MAX_FILES {
            return wrong(format!("`{}`{how} is one file too many: `{EXTENDS}` goes too deep", path.display()));
        }
        self.read += 1;
        let parsed = parse::parse(&text, syntax);
        // Origins go to plugins with the settings, as text.
        let at = |line: Option<usize>| Origin::File { path: path.to_string_lossy().into_owned().into(), line };
        self.problems.extend(parsed.faults.iter().map(|fault| Problem::at(&at(fault.line), &fault.text)));
        self.open.push((path.into(), real));
        for (name, line) in &parsed.extends {
            let extended = path.parent().unwrap_or(Path::new("")).join(name);
            self.add(&extended, &at(Some(*line)), &format!(" (named in `{EXTENDS}`)"));
        }
        self.open.pop();
        let leaves = parsed.entries.into_iter();
        let leaves = leaves.map(|entry| Leaf { key: entry.key, raw: entry.raw, origin: at(Some(entry.line)) });
        self.layers.push(Layer { leaves: leaves.collect(), strict: false });
    }
}

/// The path as the system knows it, and the text.
fn read(path: &Path) -> Result<(PathBuf, String), String> {
    let plain = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "reading it is not permitted".to_owned(),
        _ => error.to_string(),
    };
    let real = path.canonicalize().map_err(plain)?;
    let about = real.metadata().map_err(plain)?;
    if !about.is_file() {
        return Err("it is no file".into());
    }
    if about.len() > MAX_BYTES {
        return Err(format!("it has {} bytes; files of settings have at most {MAX_BYTES}", about.len()));
    }
    let bytes = std::fs::read(&real).map_err(plain)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok((real, text)),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..good].iter().filter(|byte| **byte == b'\n').count();
            Err(format!("line {line} is no UTF-8 text"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn said(files: &Files, dir: &Path) -> String {
        let lines: Vec<String> = files.problems.iter().map(ToString::to_string).collect();
        lines.join("\n").replace(&format!("{}/", dir.display()), "")
    }

    #[test]
    fn a_file_comes_after_what_it_extends() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        fs::create_dir(file("sub")).unwrap();
        fs::write(file("top.toml"), "extends = ['sub/a.yaml', 'sub/b.json']\nseed = 1\n").unwrap();
        fs::write(file("sub/a.yaml"), "extends: b.json\nseed: 2\n").unwrap();
        fs::write(file("sub/b.json"), "{\"seed\": 3}").unwrap();
        let mut files = Files::default();
        files.add_named(&file("top.toml"));
        assert_eq!(said(&files, dir.path()), "");
        let order: Vec<String> = files.layers.iter().map(|layer| layer.leaves[0].origin.to_string()).collect();
        let names = ["sub/b.json:1", "sub/a.yaml:2", "sub/b.json:1", "top.toml:2"];
        assert_eq!(order, names.map(|name| file(name).display().to_string()));
    }

    #[test]
    fn circles_and_missing_files_name_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        fs::write(file("a.toml"), "seed = 1\nextends = ['b.toml', 'none.toml', 'readme.md']\n").unwrap();
        fs::write(file("b.toml"), "extends = ['./a.toml']\n").unwrap();
        let mut files = Files::default();
        files.add_named(&file("a.toml"));
        files.add_named(&file("other.toml"));
        files.add_if_there(&file("absent.toml"));
        files.add_if_there(dir.path());
        let shown = said(&files, dir.path()).replace(&dir.path().display().to_string(), "DIR");
        insta::assert_snapshot!(shown, @r"
        b.toml:1: `extends` goes in a circle: a.toml → b.toml → ./a.toml
        a.toml:2: cannot read `none.toml` (named in `extends`): there is no such file
        a.toml:2: `readme.md` (named in `extends`) is no .toml, .yaml or .json file
        flag --config: cannot read `other.toml`: there is no such file
        DIR: `DIR` is no .toml, .yaml or .json file
        ");
    }

    #[test]
    fn files_that_multiply_come_to_an_end() {
        let dir = tempfile::tempdir().unwrap();
        for level in 0..30 {
            let next = format!("extends = ['{0}.toml', '{0}.toml']", level + 1);
            fs::write(dir.path().join(format!("{level}.toml")), next).unwrap();
        }
        fs::write(dir.path().join("30.toml"), "").unwrap();
        let mut files = Files::default();
        files.add_named(&dir.path().join("0.toml"));
        assert!(said(&files, dir.path()).contains("too deep"));
        assert!(files.layers.len() <= MAX_FILES);
    }

    #[test]
    fn what_is_no_text_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.toml");
        fs::write(&path, b"seed = 1\n\xff\xfe\n").unwrap();
        let mut files = Files::default();
        files.add_if_there(&path);
        assert!(said(&files, dir.path()).ends_with("line 2 is no UTF-8 text"));
    }

    #[test]
    fn the_user_file_follows_xdg() {
        let from = |xdg: Option<&str>, home: Option<&str>| {
            user_file(|name| if name == "HOME" { home.map(PathBuf::from) } else { xdg.map(PathBuf::from) })
        };
        assert_eq!(from(Some("/x"), Some("/h")), Some("/x/pocketflow/config.toml".into()));
        assert_eq!(from(Some("x"), Some("/h")), Some("/h/.config/pocketflow/config.toml".into()));
        assert_eq!(from(Some(""), Some("/h")), Some("/h/.config/pocketflow/config.toml".into()));
        assert_eq!(from(None, None), None);
    }
}
