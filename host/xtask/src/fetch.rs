//! Fetches libtorch once per user: the wheel of PyPI, without what only Python and CUDA need.
//!
//! torch-sys has nothing it could download for this version from a place that is always reachable;
//! the wheel holds the same libraries and headers. It is unpacked beside its final place and
//! renamed, so that a fetch that was interrupted is never taken for a libtorch, and a lock keeps
//! several checkouts from fetching at once.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::error::Error;
use crate::meter::{Meter, bytes_in, megabytes};
use crate::setup::LIBRARY;
use crate::version::WANTED;

/// The wheel, and the two that hold the CUDA libraries which even the CPU half of it names.
const WHEELS: [&str; 3] = ["torch==2.11.0", "nvidia-cuda-runtime==13.0.96", "nvidia-cuda-cupti==13.0.85"];

/// What the fetch has on disk at its fullest: the wheel beside its unpacked files.
const EXPECTED_BYTES: u64 = 1_700_000_000;

/// What stays of the wheel's folder `torch`: what is needed to build and to run.
const KEPT: [&str; 4] = ["lib", "include", "share", "version.py"];

/// Libraries that need CUDA or Python. torch-sys links CUDA wherever it sees it, so they must not
/// be seen.
const CUDA_AND_PYTHON: [&str; 4] = ["libtorch_cuda", "libc10_cuda.so", "libtorch_python.so", "libtorch_nvshmem.so"];

/// Puts libtorch at `place` (which will hold `torch/lib`, `torch/include` and `nvidia`), unless
/// another process does so first.
///
/// # Errors
/// Whatever pip or the system has against it. Nothing is at `place` then.
pub fn fetch(place: &Path) -> Result<(), Error> {
    if !cfg!(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64"))) {
        let platform = format!("{} {}", std::env::consts::ARCH, std::env::consts::OS);
        return Err(Error::Platform { platform, wanted: WANTED.to_string() });
    }
    let parent = place.parent().unwrap_or(place);
    fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    // Held until the end of this function.
    let _lock = lock(&beside(place, ".lock"))?;
    if place.join("torch").join(LIBRARY).is_file() {
        return Ok(());
    }
    let python = python()?;
    let start = Instant::now();
    eprintln!(
        "Fetching libtorch {WANTED} (530 MB; 10 to 30 s on a fast line), once for all checkouts of this user, into {}",
        place.display()
    );
    let staging = beside(place, ".partial");
    remove(&staging)?;
    let unpacked = install(python, &staging)?;
    trim(&unpacked)?;
    remove(place)?;
    fs::rename(&unpacked, place).map_err(Error::io("move libtorch into", place))?;
    remove(&staging)?;
    eprintln!("libtorch {WANTED} is there: {} in {} s", megabytes(bytes_in(place)), start.elapsed().as_secs());
    Ok(())
}

/// `place` with `ending` behind its name.
fn beside(place: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(place);
    name.push(ending);
    PathBuf::from(name)
}

/// Waits for the lock; it goes with the process that holds it, however that ends.
fn lock(path: &Path) -> Result<File, Error> {
    let file = File::create(path).map_err(Error::io("create", path))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {
            eprintln!("Another `cargo xtask` is fetching libtorch; waiting for it (lock: {})", path.display());
        }
        Err(TryLockError::Error(source)) => return Err(Error::io("lock", path)(source)),
    }
    file.lock().map_err(Error::io("lock", path))?;
    Ok(file)
}

/// Removes a folder with all it holds, if it is there.
fn remove(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", folder)(source)),
        _ => Ok(()),
    }
}

/// The first Python with pip.
fn python() -> Result<&'static str, Error> {
    let mut found = "there is no python3";
    for python in ["python3", "python"] {
        let asked = Command::new(python)
            .args(["-m", "pip", "--version"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        match asked {
            Ok(status) if status.success() => return Ok(python),
            Ok(_) => found = "the python3 that is there has no pip",
            Err(_) => {}
        }
    }
    Err(Error::NoPip { found, wanted: WANTED.to_string() })
}

/// Has pip unpack the wheels under `staging` and returns the folder that holds them.
fn install(python: &str, staging: &Path) -> Result<PathBuf, Error> {
    let target = staging.join("unpacked");
    let temporary = staging.join("tmp");
    fs::create_dir_all(&temporary).map_err(Error::io("create", &temporary))?;
    let (mut output, into) = io::pipe().map_err(Error::io("make a pipe for", Path::new(python)))?;
    let also_into = into.try_clone().map_err(Error::io("make a pipe for", Path::new(python)))?;
    let mut command = Command::new(python);
    command
        .args(pip_arguments(std::env::consts::ARCH))
        .arg("--target")
        .arg(&target)
        .args(WHEELS)
        // Unpacking goes through the temporary folder, and /tmp may be too small for it.
        .env("TMPDIR", &temporary)
        // A user's pip settings that are about their own Python must not keep `--target` from
        // working.
        .envs([("PIP_USER", "0"), ("PIP_REQUIRE_VIRTUALENV", "0"), ("PIP_ROOT_USER_ACTION", "ignore")])
        .envs([("PIP_NO_INPUT", "1"), ("PIP_DISABLE_PIP_VERSION_CHECK", "1")])
        .env_remove("PIP_PREFIX")
        .env_remove("PIP_TARGET")
        .stdin(Stdio::null())
        .stdout(into)
        .stderr(also_into);
    let meter = Meter::start(staging, EXPECTED_BYTES);
    let mut child = command.spawn().map_err(Error::io("run", Path::new(python)))?;
    // `command` holds our ends of the pipe; reading to the end needs them closed.
    drop(command);
    let mut printed = Vec::new();
    let read = output.read_to_end(&mut printed);
    let status = child.wait().map_err(Error::io("wait for", Path::new(python)))?;
    read.map_err(Error::io("read the output of", Path::new(python)))?;
    drop(meter);
    let printed = String::from_utf8_lossy(&printed);
    if !status.success() {
        remove(staging)?;
        return Err(Error::Pip { output: last_lines(&printed, 12), advice: advice(&printed, staging) });
    }
    let library = target.join("torch").join(LIBRARY);
    if library.is_file() { Ok(target) } else { Err(Error::IncompleteFetch { path: library }) }
}

/// How pip is called for a machine of the architecture `arch`, without the target and the wheels.
///
/// The Python that runs pip need not be one that the wheel is made for, as nothing of it will run:
/// the tags are those of one wheel that exists.
fn pip_arguments(arch: &str) -> Vec<String> {
    let fixed = [
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-compile",
        "--no-cache-dir",
        "--progress-bar",
        "off",
        "--only-binary=:all:",
        "--implementation",
        "cp",
        "--python-version",
        "3.12",
        "--abi",
        "cp312",
    ];
    let mut arguments: Vec<String> = fixed.map(String::from).into();
    for minor in (17..=28).rev() {
        arguments.extend(["--platform".into(), format!("manylinux_2_{minor}_{arch}")]);
    }
    arguments.extend(["--platform".into(), format!("manylinux2014_{arch}")]);
    arguments
}

/// The end of what pip printed, where it says what was wrong.
fn last_lines(printed: &str, count: usize) -> String {
    let lines: Vec<&str> = printed.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// What to do, from what pip printed.
fn advice(printed: &str, staging: &Path) -> String {
    let says = |any: &[&str]| any.iter().any(|text| printed.contains(text));
    let own = format!("or set LIBTORCH to a libtorch {WANTED} that is there already");
    // Without a network pip also says that no version matches, so the network comes first.
    if says(&["Errno 28", "No space left"]) {
        format!("{} needs 2 GB: free some space, or set XDG_CACHE_HOME to a folder on another disk.", staging.display())
    } else if says(&["Connection", "connection", "name resolution", "timed out", "Timeout", "Proxy", "SSL"]) {
        format!(
            "This machine does not reach PyPI: connect it, or set HTTPS_PROXY or PIP_INDEX_URL to what it may use, {own}."
        )
    } else if says(&["no such option"]) {
        format!("This pip is too old: `python3 -m pip install --upgrade pip`, {own}.")
    } else if says(&["No matching distribution"]) {
        format!(
            "The package index in use (see `python3 -m pip config list`) does not hold it: use https://pypi.org/simple, \
             {own}."
        )
    } else {
        format!("Repair what pip complains about and run this again, {own}.")
    }
}

/// Removes what neither building nor running needs.
fn trim(unpacked: &Path) -> Result<(), Error> {
    keep_only(unpacked, |name| name == "torch" || name == "nvidia" || name.ends_with(".dist-info"))?;
    keep_only(&unpacked.join("torch"), |name| KEPT.contains(&name))?;
    keep_only(&unpacked.join("torch/lib"), |name| !CUDA_AND_PYTHON.iter().any(|start| name.starts_with(start)))
}

/// Removes what is in `folder` and has a name that is not `kept`.
fn keep_only(folder: &Path, kept: impl Fn(&str) -> bool) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let path = entry.map_err(Error::io("read", folder))?.path();
        if path.file_name().and_then(|name| name.to_str()).is_some_and(&kept) {
            continue;
        }
        let removed =
            if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(Error::io("remove", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wheel_is_the_version_that_is_wanted() {
        assert_eq!(WHEELS[0], format!("torch=={WANTED}"));
    }

    #[test]
    fn the_advice_fits_what_pip_says() {
        let staging = Path::new("/c/pocketflow/libtorch-2.11.0.partial");
        let offline = "WARNING: Retrying after connection broken by 'NewConnectionError: Temporary failure in name \
                       resolution'\nERROR: Could not find a version\nERROR: No matching distribution found for torch==2.11.0";
        assert!(advice(offline, staging).contains("does not reach PyPI"));
        let mirror = "ERROR: Could not find a version\nERROR: No matching distribution found for torch==2.11.0";
        assert!(advice(mirror, staging).contains("does not hold it"));
        let full = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device";
        assert!(advice(full, staging).starts_with("/c/pocketflow"));
        assert!(advice("no such option: --abi", staging).contains("too old"));
        assert!(advice("ERROR: something new", staging).contains("Repair what pip complains about"));
    }

    #[test]
    fn only_the_end_of_a_long_complaint_is_shown() {
        let printed = (0..50).map(|line| format!("line {line}\n\n")).collect::<String>();
        insta::assert_snapshot!(last_lines(&printed, 2), @r"
          line 48
          line 49
        ");
        assert_eq!(last_lines("", 5), "");
    }

    #[test]
    fn trimming_keeps_what_building_and_running_need() {
        let dir = tempfile::tempdir().expect("a folder");
        let kept = [
            "nvidia/cu13/lib/libcudart.so.13",
            "torch-2.11.0.dist-info/licenses/LICENSE",
            "torch/include/torch/library.h",
            "torch/lib/libc10.so",
            "torch/lib/libtorch.so",
            "torch/lib/libtorch_cpu.so",
            "torch/version.py",
        ];
        let removed = [
            "bin/torchrun",
            "torchgen/model.py",
            "torch/__init__.py",
            "torch/bin/protoc",
            "torch/lib/libc10_cuda.so",
            "torch/lib/libtorch_cuda.so",
            "torch/lib/libtorch_cuda_linalg.so",
            "torch/lib/libtorch_nvshmem.so",
            "torch/lib/libtorch_python.so",
        ];
        for name in kept.iter().chain(&removed) {
            let file = dir.path().join(name);
            fs::create_dir_all(file.parent().expect("has one")).expect("created");
            fs::write(file, "x").expect("written");
        }
        trim(dir.path()).expect("trimmed");
        for name in kept {
            assert!(dir.path().join(name).is_file(), "{name} is gone");
        }
        for name in removed {
            assert!(!dir.path().join(name).exists(), "{name} is still there");
        }
    }

    #[test]
    fn the_second_to_come_finds_it_fetched() {
        // Without the early return this would call pip.
        let dir = tempfile::tempdir().expect("a folder");
        let place = dir.path().join("libtorch-2.11.0");
        fs::create_dir_all(place.join("torch/lib")).expect("created");
        fs::write(place.join("torch").join(LIBRARY), "").expect("written");
        let other = lock(&beside(&place, ".lock")).expect("locked");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| fetch(&place));
            std::thread::sleep(std::time::Duration::from_millis(100));
            assert!(!waiting.is_finished(), "did not wait for the lock");
            drop(other);
            waiting.join().expect("no panic").expect("found");
        });
    }
}
