//! Finds plugins, resolves settings, runs learners. All of it is in the library beside this file.

#[cfg(target_os = "linux")]
mod intercepted;

use std::process::ExitCode;

fn main() -> ExitCode {
    host::program::main()
}
