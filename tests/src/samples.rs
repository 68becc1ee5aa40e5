//! Files of other people that some tests use where they are at hand, and what is said where they
//! are not: a test that checks less than it could must not look like one that checks all.

use std::io::Write;
use std::path::{Path, PathBuf};

/// The folder of such files, where it is not `shared/data` beside the checkout.
pub const VARIABLE: &str = "POCKETFLOW_SAMPLES";

/// A file of that folder; `None`, and a line on the test's error output, where it is not there.
pub fn sample(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let path = std::env::var_os(VARIABLE).map_or_else(beside, PathBuf::from).join(name);
    if path.is_file() {
        return Some(path);
    }
    lacks(&format!("{name} in {} ({VARIABLE} names another folder)", path.parent().unwrap_or(&path).display()));
    None
}

/// Says what the running test does without, past the test harness, which hides what tests print.
pub fn lacks(what: &str) {
    let thread = std::thread::current();
    let line = format!("test {} checks less: there is no {what}\n", thread.name().unwrap_or("?"));
    // Who reads the tests' output is told; that nobody can be is no failure.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
