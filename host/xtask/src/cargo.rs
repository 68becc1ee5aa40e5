//! Cargo as a child: in the environment that plain cargo would have, so that both use the same
//! build.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::checkout::Checkout;
use crate::error::Error;

/// The program's package and binary.
const HOST: &str = "host";

/// Variables that `cargo run` sets for us and that would be wrong, or make build scripts run again,
/// in a child.
const OURS_ALONE: [&str; 6] = [
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_BIN_NAME",
    "CARGO_CRATE_NAME",
    "CARGO_PRIMARY_PACKAGE",
    "OUT_DIR",
];

/// What [`Cargo::build_program`] has built.
#[derive(Debug)]
pub struct Program {
    /// The program.
    pub host: PathBuf,
    /// The libraries of its plugins, by name.
    pub plugins: Vec<PathBuf>,
}

/// Cargo in one checkout.
#[derive(Debug)]
pub struct Cargo {
    root: PathBuf,
    link: PathBuf,
    program: OsString,
}

impl Cargo {
    /// The cargo that started us, or the one on the search path.
    pub fn new(checkout: &Checkout) -> Self {
        Self {
            root: checkout.root().to_path_buf(),
            link: checkout.link(),
            program: std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
        }
    }

    /// Builds the program and every plugin in release and says where they are.
    ///
    /// # Errors
    /// [`Error::Child`] where cargo fails, which has said why.
    pub fn build_program(&self) -> Result<Program, Error> {
        let metadata = self.metadata()?;
        let plugins = plugin_packages(&metadata, &self.root);
        let target = metadata["target_directory"].as_str().map(PathBuf::from).unwrap_or_default();
        if !target.join("release").join(HOST).exists() {
            eprintln!("Building the program and {} plugins in release: about 5 minutes the first time", plugins.len());
        }
        let mut command = self.command(["build", "--release", "--message-format=json-render-diagnostics"]);
        command.arg("--package").arg(HOST);
        for plugin in &plugins {
            command.arg("--package").arg(&plugin.name);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(Error::io("run", Path::new(&self.program)))?;
        let mut messages = Vec::new();
        for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
            let line = line.map_err(Error::io("read the output of", Path::new(&self.program)))?;
            // A build script of a dependency may print lines of its own.
            messages.extend(serde_json::from_str::<Value>(&line));
        }
        Error::of_child(child.wait().map_err(Error::io("wait for", Path::new(&self.program)))?)?;
        built(&messages, &plugins)
    }

    /// Builds everything, also the libraries that tests load.
    ///
    /// # Errors
    /// [`Error::Child`] where cargo fails, which has said why.
    pub fn build_workspace(&self) -> Result<(), Error> {
        eprintln!("Building everything in release: about 5 minutes the first time; then the tests");
        self.run(&["build", "--release", "--workspace"], &[])
    }

    /// Runs cargo with `arguments` and the user's own `more` behind them.
    ///
    /// # Errors
    /// [`Error::Child`] where cargo fails, which has said why.
    pub fn run(&self, arguments: &[&str], more: &[OsString]) -> Result<(), Error> {
        let mut command = self.command(arguments);
        let status = command.args(more).status().map_err(Error::io("run", Path::new(&self.program)))?;
        Error::of_child(status)
    }

    /// Becomes `program`: its signals, exit status and working directory are then the caller's own.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be started; it does not return otherwise.
    pub fn become_program(&self, program: &Path, flags: &[OsString]) -> Result<(), Error> {
        let mut command = Command::new(program);
        self.restore_environment(&mut command);
        Err(Error::io("run", program)(command.args(flags).exec()))
    }

    /// `cargo ARGUMENTS` for this checkout. The working directory stays, for relative paths in the
    /// user's settings.
    fn command<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(&self.program);
        let mut arguments = arguments.into_iter();
        command.args(arguments.next()).arg("--manifest-path").arg(self.root.join("Cargo.toml")).args(arguments);
        self.restore_environment(&mut command);
        command
    }

    /// Gives a child the environment of the user's shell, with the checkout's libtorch.
    fn restore_environment(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if OURS_ALONE.contains(&&*text) || text.starts_with("CARGO_PKG_") {
                command.env_remove(&name);
            }
        }
        // The same text as in .cargo/config.toml, also where the user names another: a change would
        // build it all anew.
        command.env("LIBTORCH", &self.link);
        if let Some(paths) = std::env::var_os("LD_LIBRARY_PATH") {
            let ours = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_path_buf));
            let toolchain = Path::new(&self.program).parent().and_then(Path::parent).map(Path::to_path_buf);
            let added: Vec<PathBuf> =
                ours.into_iter().chain(toolchain).filter(|path| !path.as_os_str().is_empty()).collect();
            match without(&paths, &added) {
                Some(rest) => command.env("LD_LIBRARY_PATH", rest),
                None => command.env_remove("LD_LIBRARY_PATH"),
            };
        }
    }

    /// What cargo knows of the packages of this workspace.
    fn metadata(&self) -> Result<Value, Error> {
        let mut command = self.command(["metadata", "--no-deps", "--format-version=1"]);
        let output = command.stderr(Stdio::inherit()).output().map_err(Error::io("run", Path::new(&self.program)))?;
        Error::of_child(output.status)?;
        serde_json::from_slice(&output.stdout)
            .map_err(|error| Error::CargoOutput { command: "metadata", problem: error.to_string() })
    }
}

/// A package whose library the program loads.
#[derive(Debug, PartialEq, Eq)]
struct Plugin {
    name: String,
    manifest: PathBuf,
}

/// The packages in folders named `dylib`; those below `tests` are made to be bad plugins.
fn plugin_packages(metadata: &Value, root: &Path) -> Vec<Plugin> {
    let mut plugins: Vec<Plugin> = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|package| {
            let manifest = PathBuf::from(package["manifest_path"].as_str()?);
            let folder = manifest.parent()?;
            let plugin = folder.file_name()? == "dylib" && !folder.starts_with(root.join("tests"));
            plugin.then(|| package["name"].as_str().map(String::from)).flatten().map(|name| Plugin { name, manifest })
        })
        .collect();
    plugins.sort_by(|a, b| a.name.cmp(&b.name));
    plugins
}

/// Where cargo says that it has put the program and the libraries of `plugins`.
fn built(messages: &[Value], plugins: &[Plugin]) -> Result<Program, Error> {
    let artifacts = || messages.iter().filter(|message| message["reason"] == "compiler-artifact");
    let missing =
        |what: &str| Error::CargoOutput { command: "build", problem: format!("it does not say where {what} is") };
    let host = artifacts()
        .filter(|artifact| artifact["target"]["name"] == HOST)
        .find_map(|artifact| artifact["executable"].as_str())
        .ok_or_else(|| missing("the program"))?;
    let mut libraries = Vec::new();
    for plugin in plugins {
        let library = artifacts()
            .filter(|artifact| artifact["manifest_path"].as_str().map(Path::new) == Some(&plugin.manifest))
            .flat_map(|artifact| artifact["filenames"].as_array().into_iter().flatten())
            .filter_map(Value::as_str)
            .find(|file| file.ends_with(std::env::consts::DLL_SUFFIX))
            .ok_or_else(|| missing(&format!("the library of {}", plugin.name)))?;
        libraries.push(PathBuf::from(library));
    }
    Ok(Program { host: host.into(), plugins: libraries })
}

/// A search path without the folders in `added`; `None` where nothing is left.
fn without(paths: &OsStr, added: &[PathBuf]) -> Option<OsString> {
    let rest: Vec<PathBuf> = std::env::split_paths(paths)
        .filter(|path| !path.as_os_str().is_empty() && !added.iter().any(|added| path.starts_with(added)))
        .collect();
    if rest.is_empty() { None } else { std::env::join_paths(rest).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn package(name: &str, manifest: &str) -> Value {
        json!({ "name": name, "manifest_path": manifest })
    }

    #[test]
    fn plugins_are_the_packages_in_dylib_folders() {
        let metadata = json!({ "packages": [
            package("host", "/r/host/Cargo.toml"),
            package("pocketflow-uniform", "/r/plugins/uniform/Cargo.toml"),
            package("pocketflow-uniform-dylib", "/r/plugins/uniform/dylib/Cargo.toml"),
            package("pocketflow-cifar10-dylib", "/r/datasets/cifar10/dylib/Cargo.toml"),
            package("bad-panics", "/r/tests/fixtures/panics/dylib/Cargo.toml"),
        ]});
        let names: Vec<String> =
            plugin_packages(&metadata, Path::new("/r")).into_iter().map(|plugin| plugin.name).collect();
        assert_eq!(names, ["pocketflow-cifar10-dylib", "pocketflow-uniform-dylib"]);
        assert_eq!(plugin_packages(&json!({}), Path::new("/r")), []);
    }

    #[test]
    fn this_checkout_has_the_plugins_of_the_main_job() {
        let checkout = Checkout::of_this_program().expect("in a checkout");
        let metadata = Cargo::new(&checkout).metadata().expect("cargo answers");
        let names: Vec<String> =
            plugin_packages(&metadata, checkout.root()).into_iter().map(|plugin| plugin.name).collect();
        for name in ["full-prec", "uniform", "resnet-cifar10", "cifar10", "synthetic"] {
            assert!(names.contains(&format!("pocketflow-{name}-dylib")), "{name} is not among {names:?}");
        }
    }

    #[test]
    fn cargo_says_where_things_are() {
        let plugins = [Plugin { name: "p-dylib".into(), manifest: "/r/p/dylib/Cargo.toml".into() }];
        let library = json!({
            "reason": "compiler-artifact", "manifest_path": "/r/p/dylib/Cargo.toml",
            "target": { "name": "plugin_p" }, "executable": null,
            "filenames": ["/t/x86/release/libplugin_p.rlib", format!("/t/x86/release/libplugin_p{}", std::env::consts::DLL_SUFFIX)],
        });
        let host = json!({
            "reason": "compiler-artifact", "manifest_path": "/r/host/Cargo.toml",
            "target": { "name": "host" }, "executable": "/t/x86/release/host", "filenames": ["/t/x86/release/host"],
        });
        let other = json!({ "reason": "build-script-executed" });
        let program = built(&[other, library.clone(), host.clone()], &plugins).expect("all there");
        assert_eq!(program.host, Path::new("/t/x86/release/host"));
        assert_eq!(program.plugins.len(), 1);
        assert!(program.plugins[0].to_string_lossy().ends_with(std::env::consts::DLL_SUFFIX));

        let error = built(&[host], &plugins).expect_err("no library").to_string();
        assert!(error.contains("where the library of p-dylib is"), "{error}");
        let error = built(&[library], &plugins).expect_err("no program").to_string();
        assert!(error.contains("where the program is"), "{error}");
    }

    #[test]
    fn only_what_cargo_added_leaves_the_search_path() {
        let added = [PathBuf::from("/r/target/debug"), PathBuf::from("/rust")];
        let left = |paths: &str| without(OsStr::new(paths), &added);
        assert_eq!(left("/r/target/debug/deps:/r/target/debug:/rust/lib"), None);
        assert_eq!(left("/r/target/debug/deps:/usr/local/cuda/lib64:/rust/lib"), Some("/usr/local/cuda/lib64".into()));
        assert_eq!(left("/r/target/debugger:/rustic"), Some("/r/target/debugger:/rustic".into()));
        assert_eq!(left(":"), None);
    }
}
