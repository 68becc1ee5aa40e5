//! The checkout that the commands work in, and its link `.libtorch/torch` to the libtorch in use.
//!
//! `.cargo/config.toml` names that link as `LIBTORCH`, so every cargo command in the checkout
//! builds against the same libtorch without a variable in the user's shell, and building once by
//! `cargo xtask` serves plain cargo too.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The root folder of this repository.
#[derive(Debug, Clone)]
pub struct Checkout {
    root: PathBuf,
}

impl Checkout {
    /// The checkout that `cargo xtask` was called in.
    ///
    /// # Errors
    /// [`Error::NoCheckout`] where it is no longer there.
    pub fn of_this_program() -> Result<Self, Error> {
        // What cargo says now wins over what it said when this was compiled: the checkout may have
        // been moved.
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let here = PathBuf::from(manifest);
        match here.ancestors().nth(2) {
            Some(root) if root.join("host/xtask/Cargo.toml").is_file() => Ok(Self { root: root.to_path_buf() }),
            _ => Err(Error::NoCheckout { path: here }),
        }
    }

    /// Its root, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where cargo looks for libtorch: `ROOT/.libtorch/torch`.
    pub fn link(&self) -> PathBuf {
        self.root.join(".libtorch").join("torch")
    }

    /// Makes the link point to `dir`, which must be absolute. Two calls at once are fine: the link
    /// is replaced whole.
    ///
    /// # Errors
    /// [`Error::LinkInTheWay`] where something else has the link's name, [`Error::Io`] where the
    /// system refuses.
    pub fn point_link_to(&self, dir: &Path) -> Result<(), Error> {
        let link = self.link();
        let folder = self.root.join(".libtorch");
        // A link in the folder's place would have us write into the libtorch that it points to.
        if folder.is_symlink() {
            fs::remove_file(&folder).map_err(Error::io("remove", &folder))?;
        }
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        if link.exists() && !link.is_symlink() {
            return Err(Error::LinkInTheWay { path: link });
        }
        let fresh = folder.join(format!("torch.{}", std::process::id()));
        let _ = fs::remove_file(&fresh);
        symlink(dir, &fresh).map_err(Error::io("create the link", &fresh))?;
        fs::rename(&fresh, &link).map_err(Error::io("replace the link", &link))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout() -> (tempfile::TempDir, Checkout) {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().to_path_buf();
        (dir, Checkout { root })
    }

    #[test]
    fn the_link_is_made_and_moved() {
        let (dir, checkout) = checkout();
        for name in ["first", "second"] {
            let target = dir.path().join(name);
            fs::create_dir(&target).expect("created");
            checkout.point_link_to(&target).expect("linked");
            assert_eq!(fs::read_link(checkout.link()).expect("a link"), target);
        }
        assert_eq!(fs::read_dir(dir.path().join(".libtorch")).expect("readable").count(), 1, "nothing left over");
    }

    #[test]
    fn a_link_in_the_folders_place_is_replaced_and_its_target_is_left_alone() {
        let (dir, checkout) = checkout();
        let shared = dir.path().join("shared");
        fs::create_dir_all(shared.join("torch/lib")).expect("created");
        symlink(&shared, dir.path().join(".libtorch")).expect("linked");
        let other = dir.path().join("other");
        fs::create_dir(&other).expect("created");
        checkout.point_link_to(&other).expect("linked");
        assert_eq!(fs::read_link(checkout.link()).expect("a link"), other);
        assert!(shared.join("torch/lib").is_dir() && !shared.join("torch").is_symlink());
    }

    #[test]
    fn what_the_user_put_there_is_not_removed() {
        let (_dir, checkout) = checkout();
        fs::create_dir_all(checkout.link().join("lib")).expect("created");
        let error = checkout.point_link_to(Path::new("/opt/libtorch")).expect_err("refused");
        assert!(matches!(error, Error::LinkInTheWay { .. }), "{error}");
        assert!(checkout.link().join("lib").is_dir());
    }
}
