//! Bytes that other versions wrote or read: one file for each type that crosses the boundary,
//! committed when the type got its form and read for ever.
//!
//! Where a type changes, `POCKETFLOW_WRITE_GOLDEN=1 cargo test -p pocketflow golden` writes the
//! missing file, never one that is there.

use super::samples::samples;
use super::{pack, unpack};
use crate::abi::INTERFACE;
use crate::abi::declared::{self, Declared};
use crate::error::Error;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

/// A value and the name of its file.
pub struct Sample<T> {
    pub name: &'static str,
    pub value: T,
}

/// A [`Sample`] of whatever type.
pub trait Golden {
    fn name(&self) -> &'static str;
    fn packed(&self) -> Vec<u8>;
    /// Panics unless the bytes are read as the value.
    fn compare(&self, bytes: &[u8]);
    /// The error of bytes that are refused.
    fn refused(&self, bytes: &[u8]) -> Option<Error>;
}

impl<T: Serialize + DeserializeOwned + PartialEq + Debug> Golden for Sample<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn packed(&self) -> Vec<u8> {
        pack(self.name, &self.value).unwrap().into_vec()
    }

    fn compare(&self, bytes: &[u8]) {
        let read: T = unpack(self.name, bytes).unwrap();
        assert_eq!(read, self.value, "{}", self.name);
    }

    fn refused(&self, bytes: &[u8]) -> Option<Error> {
        unpack::<T>(self.name, bytes).err()
    }
}

/// As [`Sample`]; a library's declarations are read in a way of their own.
pub struct Declarations {
    pub name: &'static str,
    pub value: Vec<Declared>,
}

impl Golden for Declarations {
    fn name(&self) -> &'static str {
        self.name
    }

    fn packed(&self) -> Vec<u8> {
        pack(self.name, &self.value).unwrap().into_vec()
    }

    fn compare(&self, bytes: &[u8]) {
        assert_eq!(declared::read(bytes).unwrap(), self.value);
    }

    fn refused(&self, bytes: &[u8]) -> Option<Error> {
        declared::read(bytes).err()
    }
}

/// Where the files of the present interface are; those of interfaces that are no longer understood
/// stay only in the history.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/wire/v{INTERFACE}"))
}

/// The bytes of one file.
pub fn bytes(name: &str) -> Vec<u8> {
    let path = folder().join(format!("{name}.bin"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether a sample is of the form that its type has today: no other has its name and a higher
/// number.
fn is_todays(name: &str, names: &[&str]) -> bool {
    let number =
        |name: &str| name.rsplit_once('.').and_then(|(type_, number)| Some((type_.to_owned(), number.parse().ok()?)));
    let (of, own): (String, u32) = number(name).expect("a name and a number");
    names.iter().filter_map(|other| number(other)).all(|(other, number)| other != of || number <= own)
}

#[test]
fn todays_values_have_the_committed_bytes() {
    let samples = samples();
    let names: Vec<&str> = samples.iter().map(|sample| sample.name()).collect();
    for sample in &samples {
        let path = folder().join(format!("{}.bin", sample.name()));
        if std::env::var_os("POCKETFLOW_WRITE_GOLDEN").is_some() && !path.exists() {
            std::fs::write(&path, sample.packed()).unwrap();
        }
        let bytes = bytes(sample.name());
        sample.compare(&bytes);
        assert!(
            bytes == sample.packed() || !is_todays(sample.name(), &names),
            "`{}` crosses the boundary in another form than it was committed in: see `abi::wire` whether older plugins \
             and hosts can live with that, then give the sample the next number and keep the old file with the value \
             that it is read as",
            sample.name()
        );
    }
}

/// A file that nobody compares would not be read for ever.
#[test]
fn every_committed_file_is_a_sample() {
    let mut committed: Vec<String> = Vec::new();
    for file in std::fs::read_dir(folder()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        committed.extend(name.strip_suffix(".bin").map(str::to_owned));
    }
    committed.sort();
    let samples: Vec<&str> = samples().iter().map(|sample| sample.name()).collect();
    assert_eq!(committed, samples, "they are in order of their names");
}
