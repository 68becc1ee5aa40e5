//! Which libtorch this repository is written for, and which one a folder holds.

use std::fmt;
use std::path::Path;

use crate::error::Error;

/// The libtorch that tch 0.24 binds. Another minor version has other symbols; a patch of it has the
/// same.
pub const WANTED: Version = Version { major: 2, minor: 11, patch: 0 };

/// A release of libtorch, without the suffix that names its build (`+cpu`, `+cu130`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number: changes what the library exports.
    pub minor: u32,
    /// Third number: repairs only.
    pub patch: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl Version {
    /// Reads `2.11.0`, `2.11.0+cu130`, `2.11.0a0+git70d99e9`; `None` where it is no version.
    pub fn parse(text: &str) -> Option<Self> {
        let release = text.trim().split('+').next()?;
        let mut numbers = release.split('.');
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?.parse().ok()?;
        let patch = match numbers.next() {
            None => 0,
            // A pre-release is written right behind the number: 0a0, 0rc1.
            Some(patch) => patch[..patch.find(|c: char| !c.is_ascii_digit()).unwrap_or(patch.len())].parse().ok()?,
        };
        Some(Self { major, minor, patch })
    }

    /// Whether what is built against the wanted one also runs with this one.
    pub fn fits(self) -> bool {
        (self.major, self.minor) == (WANTED.major, WANTED.minor)
    }

    /// The version of the libtorch in `dir`, from the first of three files that tells it: the
    /// archives of pytorch.org have `build-version`, wheels have `version.py`, and both have the
    /// header.
    ///
    /// # Errors
    /// [`Error::UnknownVersion`] where no file tells it.
    pub fn of_install(dir: &Path) -> Result<Self, Error> {
        let read = |name: &str| std::fs::read_to_string(dir.join(name)).ok();
        read("build-version")
            .and_then(|text| Self::parse(&text))
            .or_else(|| read("version.py").and_then(|text| Self::from_python(&text)))
            .or_else(|| read("include/torch/headeronly/version.h").and_then(|text| Self::from_header(&text)))
            .or_else(|| {
                read("include/torch/csrc/api/include/torch/version.h").and_then(|text| Self::from_header(&text))
            })
            .ok_or_else(|| Error::UnknownVersion { dir: dir.to_path_buf() })
    }

    /// From a line `__version__ = '2.11.0+cu130'`.
    fn from_python(text: &str) -> Option<Self> {
        let line = text.lines().find(|line| line.starts_with("__version__"))?;
        Self::parse(line.split_once('=')?.1.trim().trim_matches(['\'', '"']))
    }

    /// From lines `#define TORCH_VERSION_MAJOR 2`.
    fn from_header(text: &str) -> Option<Self> {
        let number = |name: &str| {
            text.lines().find_map(|line| {
                let mut words = line.split_whitespace();
                let found = words.next() == Some("#define") && words.next() == Some(name);
                if found { words.next()?.parse().ok() } else { None }
            })
        };
        Some(Self {
            major: number("TORCH_VERSION_MAJOR")?,
            minor: number("TORCH_VERSION_MINOR")?,
            patch: number("TORCH_VERSION_PATCH")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(major: u32, minor: u32, patch: u32) -> Version {
        Version { major, minor, patch }
    }

    #[test]
    fn releases_are_read_whatever_their_build_is_called() {
        for text in ["2.11.0", " 2.11.0\n", "2.11.0+cpu", "2.11.0+cu130", "2.11.0a0+git70d99e9", "2.11.0rc3", "2.11"] {
            assert_eq!(Version::parse(text), Some(WANTED), "{text}");
        }
        assert_eq!(Version::parse("10.2.31+cpu"), Some(version(10, 2, 31)));
        for text in ["", "2", "two.eleven", "2.x.0", "2.11.rc1", "-2.11.0", "2..0"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_patch_fits_and_another_minor_does_not() {
        assert!(version(2, 11, 0).fits() && version(2, 11, 3).fits());
        assert!(!version(2, 10, 0).fits() && !version(2, 12, 0).fits() && !version(3, 11, 0).fits());
    }

    #[test]
    fn each_layout_tells_its_version() {
        let header = "#pragma once\n#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 9\n\
                      #define TORCH_VERSION_PATCH 1\n#define TORCH_VERSION \\\n  \"2.9.1\"\n";
        for (name, text) in [
            ("build-version", "2.9.1+cpu\n"),
            ("version.py", "__all__ = ['__version__']\n__version__ = '2.9.1+cu130'\ndebug = False\n"),
            ("include/torch/headeronly/version.h", header),
            ("include/torch/csrc/api/include/torch/version.h", header),
        ] {
            let dir = tempfile::tempdir().expect("a folder");
            let file = dir.path().join(name);
            std::fs::create_dir_all(file.parent().expect("has one")).expect("created");
            std::fs::write(&file, text).expect("written");
            assert_eq!(Version::of_install(dir.path()).expect(name), version(2, 9, 1), "{name}");
        }
    }

    #[test]
    fn a_file_that_tells_nothing_does_not_hide_the_next() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("build-version"), "nightly").expect("written");
        assert!(matches!(Version::of_install(dir.path()), Err(Error::UnknownVersion { .. })));
        std::fs::write(dir.path().join("version.py"), "__version__ = \"2.11.0\"").expect("written");
        assert_eq!(Version::of_install(dir.path()).expect("told"), WANTED);
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(major in 0u32..100, minor in 0u32..100, patch in 0u32..100, build in "[+][a-z0-9]{0,8}") {
            let it = version(major, minor, patch);
            prop_assert_eq!(Version::parse(&format!("{it}{build}")), Some(it));
        }

        #[test]
        fn garbage_is_refused_or_read_but_never_panics(text in "\\PC{0,24}") {
            let _ = Version::parse(&text);
            let _ = Version::from_python(&format!("__version__{text}"));
            let _ = Version::from_header(&format!("#define TORCH_VERSION_MAJOR{text}"));
        }
    }
}
