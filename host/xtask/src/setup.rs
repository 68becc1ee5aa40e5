//! Makes libtorch ready: finds the one to use, fetches it where there is none, points the
//! checkout's link to it.

use std::path::{Path, PathBuf};

use crate::checkout::Checkout;
use crate::error::Error;
use crate::fetch;
use crate::place::Surroundings;
use crate::version::{Version, WANTED};

/// What every libtorch has, relative to its folder; the one file whose presence means that it is
/// there.
pub const LIBRARY: &str = if cfg!(target_os = "macos") { "lib/libtorch_cpu.dylib" } else { "lib/libtorch_cpu.so" };

/// A libtorch of the right version that the checkout's link points to.
#[derive(Debug, Clone)]
pub struct Libtorch {
    /// The folder with `lib` and `include`, links resolved.
    pub dir: PathBuf,
    /// Its version.
    pub version: Version,
}

/// Makes libtorch ready for every cargo command in the checkout.
///
/// The user's own (`LIBTORCH`) comes first, then what the checkout is linked to, then the one that
/// the user's checkouts share, which is fetched where it is missing.
///
/// # Errors
/// Whatever keeps libtorch from being there, with what to do about it.
pub fn setup(checkout: &Checkout) -> Result<Libtorch, Error> {
    let around = Surroundings::of_this_process();
    let link = checkout.link();
    if let Some(dir) = around.own_libtorch(&link) {
        let own = own(&dir)?;
        if std::fs::canonicalize(&link).ok().as_ref() != Some(&own.dir) {
            eprintln!("Using the libtorch {} that LIBTORCH names: {}", own.version, own.dir.display());
            checkout.point_link_to(&own.dir)?;
        }
        return Ok(own);
    }
    if let Some(linked) = fitting(&link) {
        return Ok(linked);
    }
    let shared = around.shared()?;
    let torch = shared.join("torch");
    if fitting(&torch).is_none() {
        fetch::fetch(&shared)?;
    }
    let shared = fitting(&torch).ok_or_else(|| Error::IncompleteFetch { path: torch.join(LIBRARY) })?;
    checkout.point_link_to(&shared.dir)?;
    Ok(shared)
}

/// The libtorch that the user names, or why it cannot be used.
fn own(dir: &Path) -> Result<Libtorch, Error> {
    let wanted = || WANTED.to_string();
    if !dir.join(LIBRARY).is_file() {
        return Err(Error::NoLibraryThere { dir: dir.to_path_buf(), library: LIBRARY.into(), wanted: wanted() });
    }
    let version = Version::of_install(dir)?;
    if !version.fits() {
        let found = version.to_string();
        return Err(Error::OtherVersion { dir: dir.to_path_buf(), found, wanted: wanted() });
    }
    let dir = std::fs::canonicalize(dir).map_err(Error::io("find", dir))?;
    Ok(Libtorch { dir, version })
}

/// The libtorch in `dir` where there is one that serves; what does not serve is replaced, so why
/// does not matter.
fn fitting(dir: &Path) -> Option<Libtorch> {
    own(dir).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(version: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join("lib")).expect("created");
        std::fs::write(dir.path().join(LIBRARY), "").expect("written");
        std::fs::write(dir.path().join("build-version"), version).expect("written");
        dir
    }

    #[test]
    fn a_folder_of_the_users_is_judged_by_what_it_holds() {
        let right = install("2.11.0+cpu");
        assert_eq!(own(right.path()).expect("fits").version, WANTED);

        let old = install("2.4.1");
        let text = own(old.path()).expect_err("too old").to_string();
        assert!(text.contains("is libtorch 2.4.1; this repository needs 2.11.0"), "{text}");

        let silent = install("?");
        assert!(matches!(own(silent.path()), Err(Error::UnknownVersion { .. })));

        let empty = tempfile::tempdir().expect("a folder");
        let text = own(empty.path()).expect_err("nothing there").to_string();
        assert!(text.contains(LIBRARY) && text.contains("unset it to have one fetched"), "{text}");
    }
}
