//! Where the fixture libraries are, and registries over some of them.

use host::discover::PluginDirs;
use host::registry::Registry;
use pocketflow::option::OptionSpec;
use pocketflow::settings::Settings;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Set in processes that [`in_child`] starts.
const CHILD: &str = "POCKETFLOW_TEST_CHILD";

/// This program answers when a library is to be tried, as the host does: before the tests begin.
#[used]
#[unsafe(link_section = ".init_array")]
static PROBE: extern "C" fn() = {
    extern "C" fn answer() {
        host::probe::child::answer_if_asked();
    }
    answer
};

/// A fixture's library. Cargo puts it beside the test, as it does with each library that a test's
/// package depends on.
pub fn library(name: &str) -> PathBuf {
    own_cache();
    let exe = env::current_exe().unwrap();
    let path = exe.with_file_name(format!("libpocketflow_fixture_{name}.so"));
    assert!(path.exists(), "{} is not there; is it still a dependency of the tests?", path.display());
    path
}

/// The user's cache stays as it is.
fn own_cache() {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        if env::var_os(CHILD).is_none() {
            // SAFETY: before any library is loaded, everything that reads the environment is this
            // program's Rust code, which holds the standard library's lock.
            unsafe { env::set_var("XDG_CACHE_HOME", folder.path()) };
        }
        folder
    });
}

pub fn discover(files: impl IntoIterator<Item = impl Into<PathBuf>>) -> Registry {
    own_cache();
    let dirs = PluginDirs { named: files.into_iter().map(Into::into).collect(), program: None };
    Registry::discover(&dirs, &host::reserved())
}

/// A registry with the good plugins.
pub fn toy() -> Registry {
    discover([library("toy")])
}

/// The defaults of all plugins of a registry, with some values given as in flags.
pub fn settings(registry: &Registry, given: &[(&str, &str)]) -> Settings {
    let owned =
        registry.entries().iter().map(|entry| (entry.declaration.name.as_str(), entry.declaration.options.clone()));
    let specs: Vec<OptionSpec> = owned.clone().flat_map(|(_, specs)| specs).collect();
    let mut settings = Settings::defaults(owned);
    for (key, text) in given {
        let spec = specs.iter().find(|spec| spec.key == *key).unwrap_or_else(|| panic!("no option {key}"));
        settings.derive(key, spec.kind.parse(text).unwrap(), "the test wants it");
    }
    settings
}

/// A copy of a library with some bytes replaced, for plugins of other versions.
pub fn patched(name: &str, to: &Path, edit: impl FnOnce(&mut [u8])) {
    let mut bytes = std::fs::read(library(name)).unwrap();
    let magic = b"PocketFlow/Rust\0";
    // The host's side of the comparison may be in the library too, without an interface version
    // behind it.
    let start = bytes
        .windows(48)
        .position(|window| window.starts_with(magic) && window[16..20] == pocketflow::abi::INTERFACE.to_ne_bytes())
        .expect("a handshake");
    edit(&mut bytes[start..start + 48]);
    std::fs::write(to, bytes).unwrap();
}

/// Runs one test of this program alone, in a process of its own; `None` in that process. Gives
/// stdout and stderr.
pub fn in_child(test: &str, variables: &[(&str, &Path)]) -> Option<(String, String)> {
    if env::var_os(CHILD).is_some() {
        return None;
    }
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture"]).env(CHILD, "1").envs(variables.iter().copied());
    let output = child.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.contains("1 passed"), "the name of a test: {stdout}");
    Some((stdout, stderr))
}
