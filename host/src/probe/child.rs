//! The process that opens a library for the first time.

use super::answer::{self, Answer, MAX_DECLARED, Stage};
use super::{ARGUMENT, limits};
use crate::discover::handshake;
use crate::libtorch::Libtorch;
use pocketflow::abi::{Library, OpenError};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::path::Path;

/// Opens the library and answers, if the command line asks for a probe: then it does not return.
pub fn answer_if_asked() {
    let mut args = std::env::args_os().skip(1);
    let (Some(first), Some(path), None) = (args.next(), args.next(), args.next()) else { return };
    if first == *ARGUMENT {
        let status = match run(&path) {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("the answer cannot be given: {error}");
                1
            }
        };
        // At once: what the library and libtorch do when a process ends is nobody's concern here.
        // SAFETY: it ends the process.
        unsafe { libc::_exit(status) }
    }
}

fn run(path: &OsString) -> io::Result<()> {
    limits::set()?;
    // Never dropped: the library may have closed it, and closing it again ends the process without
    // a word.
    let file = ManuallyDrop::new(private_stdout()?);
    let answer = ask(Path::new(path), &file)?;
    answer::write(&*file, &answer)
}

/// The file behind stdout, for this program alone: what the library prints goes where stderr goes.
#[cfg(unix)]
fn private_stdout() -> io::Result<File> {
    use std::os::fd::AsFd;
    let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    rustix::stdio::dup2_stdout(io::stderr())?;
    Ok(file)
}

#[cfg(not(unix))]
fn private_stdout() -> io::Result<File> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

fn ask(path: &Path, file: &File) -> io::Result<Answer> {
    let handshake = match handshake::read(path) {
        Ok(handshake) => handshake,
        Err(error) => return Ok(Answer::Unloadable { reason: error.to_string() }),
    };
    if let Some(wanted) = handshake.libtorch() {
        Stage::Libtorch.begin(file)?;
        if let Err(error) = Libtorch::find(&wanted).and_then(|libtorch| libtorch.open()) {
            return Ok(Answer::Unloadable { reason: error.to_string() });
        }
    }
    Stage::Opening.begin(file)?;
    let library = match Library::open(path, path) {
        Ok(library) => library,
        Err(error @ OpenError::Load(_)) => return Ok(Answer::Unloadable { reason: error.to_string() }),
        Err(error) => return Ok(Answer::Refused { reason: error.to_string() }),
    };
    Stage::Asking.begin(file)?;
    Ok(match library.declarations() {
        Err(error) => Answer::Refused { reason: error.to_string() },
        Ok(declared) if declared.is_empty() => {
            let hint = "does it name the crates whose plugins it exports (`use pocketflow_synthetic as _;`)?";
            Answer::Refused { reason: format!("it holds no plugins; {hint}") }
        }
        Ok(declared) => match rmp_serde::to_vec_named(&declared).map(|bytes| bytes.len()) {
            Ok(length) if length <= MAX_DECLARED => Answer::Declared(declared),
            Ok(length) => Answer::Refused {
                reason: format!(
                    "its plugins and options are described in {length} bytes; at most {MAX_DECLARED} are read"
                ),
            },
            Err(error) => Answer::Refused { reason: format!("what its plugins declare cannot be kept: {error}") },
        },
    })
}
