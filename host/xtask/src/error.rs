//! What can go wrong on the way from a checkout to a running program, each with what to do about
//! it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use crate::USAGE;

/// A failure of a command; its text is what the user reads.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line asks for something that is not there. Exit status 2.
    #[error("{message}\n\n{USAGE}")]
    Usage {
        /// What was asked for.
        message: String,
    },

    /// A program that was started has failed and has said why itself.
    #[error("a program that was started failed with status {status}")]
    Child {
        /// Its exit status; 128 + the signal's number where a signal ended it.
        status: u8,
    },

    /// `LIBTORCH` names a folder that holds no libtorch.
    #[error(
        "LIBTORCH is {}, but there is no {} in it.\nSet LIBTORCH to a folder that holds lib/ and include/ of \
         libtorch {wanted}, or unset it to have one fetched.", .dir.display(), .library.display()
    )]
    NoLibraryThere {
        /// What the variable holds.
        dir: PathBuf,
        /// The file that was looked for, relative to it.
        library: PathBuf,
        /// The version that this repository is written for.
        wanted: String,
    },

    /// The user's libtorch is another version than tch binds.
    #[error(
        "LIBTORCH is {}, which is libtorch {found}; this repository needs {wanted}.\n\
         Set LIBTORCH to a libtorch {wanted}, or unset it to have one fetched.", .dir.display()
    )]
    OtherVersion {
        /// The folder of that libtorch.
        dir: PathBuf,
        /// Its version.
        found: String,
        /// The version that this repository is written for.
        wanted: String,
    },

    /// A folder has the library but nothing that tells its version.
    #[error(
        "cannot tell which version the libtorch in {} is: none of build-version, version.py and \
         include/torch/headeronly/version.h says so.\nA libtorch needs its headers to be built against: \
         use a complete one, or unset LIBTORCH to have one fetched.", .dir.display()
    )]
    UnknownVersion {
        /// The folder of that libtorch.
        dir: PathBuf,
    },

    /// Neither `XDG_CACHE_HOME` nor `HOME` says where the user's files go.
    #[error(
        "there is no place to keep libtorch: neither XDG_CACHE_HOME nor HOME is an absolute path.\n\
         Set one of them, or set LIBTORCH to a libtorch that is there already."
    )]
    NoCachePlace,

    /// PyPI has no libtorch that this platform could use.
    #[error(
        "libtorch can be fetched on Linux (glibc, x86-64 or aarch64) only; this is {platform}.\n\
         Install libtorch {wanted} and set LIBTORCH to its folder."
    )]
    Platform {
        /// Architecture and system.
        platform: String,
        /// The version that this repository is written for.
        wanted: String,
    },

    /// There is no Python that has pip.
    #[error(
        "libtorch {wanted} is fetched from PyPI by pip, and {found}.\nInstall it (Debian, Ubuntu: `apt-get install \
         python3-pip`; Fedora: `dnf install python3-pip`; elsewhere: `python3 -m ensurepip --user`) and run this \
         again,\nor set LIBTORCH to a libtorch {wanted} that is there already."
    )]
    NoPip {
        /// Which of the two is missing.
        found: &'static str,
        /// The version that this repository is written for.
        wanted: String,
    },

    /// pip ran and failed.
    #[error("pip could not fetch libtorch:\n\n{output}\n\n{advice}")]
    Pip {
        /// The last lines that it printed.
        output: String,
        /// What to do, from what it printed.
        advice: String,
    },

    /// What pip installed is not what was asked for.
    #[error("pip reported success, but {} is missing: please report this together with `python3 -m pip --version`", .path.display())]
    IncompleteFetch {
        /// The file that should be there.
        path: PathBuf,
    },

    /// `.libtorch` in the checkout is something that this program did not make.
    #[error("{} is in the way: it is not a link that `cargo xtask` made. Move it elsewhere and run this again.", .path.display())]
    LinkInTheWay {
        /// What is there.
        path: PathBuf,
    },

    /// This program was built in a checkout that is no longer where it was.
    #[error("{} is not the root of this repository; run `cargo xtask` inside a checkout", .path.display())]
    NoCheckout {
        /// Where the checkout should be.
        path: PathBuf,
    },

    /// cargo's own output is not as documented.
    #[error("cargo {command} printed what it should not: {problem}")]
    CargoOutput {
        /// Its subcommand.
        command: &'static str,
        /// What is wrong with it.
        problem: String,
    },

    /// The folder for `dist` holds something else.
    #[error("{} holds files and is no folder that `cargo xtask dist` made; name another folder, or empty it", .path.display())]
    DistInTheWay {
        /// The folder that was asked for.
        path: PathBuf,
    },

    /// A library cannot be read as what it should be.
    #[error("{} is not a readable ELF library: {problem}", .path.display())]
    Library {
        /// The library.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// A run's report cannot be read.
    #[error("{} is no report: {problem}; remove its folder to run it again", .path.display())]
    Report {
        /// The report.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// The system refused something.
    #[error("cannot {action} {}: {source}{}", .path.display(), hint(.source))]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file, folder or program.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl Error {
    /// A command line that cannot be followed.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into() }
    }

    /// For `map_err` on what the system refuses: `Error::io("create", &path)`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// `Ok` where a child did well, else its status as ours.
    pub fn of_child(status: ExitStatus) -> Result<(), Self> {
        use std::os::unix::process::ExitStatusExt;
        if status.success() {
            return Ok(());
        }
        let number = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
        Err(Self::Child { status: u8::try_from(number).unwrap_or(1) })
    }
}

/// What to do about the refusals that people meet.
fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull => ". Free some space, or set XDG_CACHE_HOME to a folder on another disk",
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            ". Make it writable; for libtorch, XDG_CACHE_HOME may name another folder"
        }
        _ => "",
    }
}
