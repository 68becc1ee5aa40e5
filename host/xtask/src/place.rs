//! Where libtorch is to come from, decided from the environment alone.
//!
//! `.cargo/config.toml` gives `LIBTORCH` to everything that cargo starts, this program included, so
//! that the variable being set does not yet mean that the user has set it: only another value than
//! the checkout's own link does.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::version::WANTED;

/// The variables that matter, taken once so that the rest is a function of them.
#[derive(Debug, Default, Clone)]
pub struct Surroundings {
    /// `LIBTORCH`.
    pub libtorch: Option<OsString>,
    /// `XDG_CACHE_HOME`.
    pub xdg_cache_home: Option<OsString>,
    /// `HOME`.
    pub home: Option<OsString>,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_this_process() -> Self {
        Self {
            libtorch: std::env::var_os("LIBTORCH"),
            xdg_cache_home: std::env::var_os("XDG_CACHE_HOME"),
            home: std::env::var_os("HOME"),
        }
    }

    /// The libtorch that the user names, where it is not just `link`, the checkout's own.
    pub fn own_libtorch(&self, link: &Path) -> Option<PathBuf> {
        let dir = self.libtorch.as_ref().filter(|dir| !dir.is_empty()).map(PathBuf::from)?;
        (dir != link).then_some(dir)
    }

    /// The folder that all checkouts of this user share: `pocketflow/libtorch-2.11.0` among the
    /// user's cached files.
    ///
    /// # Errors
    /// [`Error::NoCachePlace`] where no variable says where those are.
    pub fn shared(&self) -> Result<PathBuf, Error> {
        // A relative XDG_CACHE_HOME is to be ignored (XDG base directory specification).
        let absolute = |value: &Option<OsString>| value.as_ref().map(PathBuf::from).filter(|path| path.is_absolute());
        let cache = absolute(&self.xdg_cache_home)
            .or_else(|| absolute(&self.home).map(|home| home.join(".cache")))
            .ok_or(Error::NoCachePlace)?;
        Ok(cache.join("pocketflow").join(format!("libtorch-{WANTED}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "/work/clone/.libtorch/torch";

    fn around(libtorch: Option<&str>, xdg: Option<&str>, home: Option<&str>) -> Surroundings {
        Surroundings {
            libtorch: libtorch.map(OsString::from),
            xdg_cache_home: xdg.map(OsString::from),
            home: home.map(OsString::from),
        }
    }

    #[test]
    fn what_cargo_sets_is_not_the_users_choice() {
        let own = |value: Option<&str>| around(value, None, None).own_libtorch(Path::new(LINK));
        assert_eq!(own(None), None);
        assert_eq!(own(Some("")), None);
        assert_eq!(own(Some(LINK)), None);
        assert_eq!(own(Some("/work/clone/.libtorch/torch/")), None);
        assert_eq!(own(Some("/opt/libtorch")), Some(PathBuf::from("/opt/libtorch")));
        assert_eq!(own(Some("/work/other/.libtorch/torch")), Some(PathBuf::from("/work/other/.libtorch/torch")));
    }

    #[test]
    fn the_shared_place_follows_the_xdg_rules() {
        let shared = |xdg, home| around(None, xdg, home).shared().ok();
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(shared(Some("/c"), Some("/h")), path("/c/pocketflow/libtorch-2.11.0"));
        assert_eq!(shared(None, Some("/h")), path("/h/.cache/pocketflow/libtorch-2.11.0"));
        assert_eq!(shared(Some(""), Some("/h")), path("/h/.cache/pocketflow/libtorch-2.11.0"));
        assert_eq!(shared(Some("relative"), Some("/h")), path("/h/.cache/pocketflow/libtorch-2.11.0"));
        assert_eq!(shared(None, None), None);
        assert_eq!(shared(Some("relative"), Some("")), None);
    }
}
