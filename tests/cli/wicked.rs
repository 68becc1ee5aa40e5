//! Plugin files that are broken in every way there is: each is one line of `plugins list`, and
//! every command works beside them.

use crate::{Outcome, Place, library, outcome, patient};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Deeds in a constructor, and what the list says of them.
const AT_OPENING: [(&str, &str); 23] = [
    ("abort", "its process ended by SIGABRT (abort) while it was opened"),
    ("exit0", "it ended its process with status 0 while it was opened"),
    ("exit3", "it ended its process with status 3 while it was opened"),
    ("at_once", "it ended its process with status 0 while it was opened"),
    ("quick", "it ended its process with status 0 while it was opened"),
    ("exec", "it ended its process with status 0 while it was opened"),
    ("loop", "it gave no answer within 2 s while it was opened"),
    ("sleep", "it gave no answer within 2 s while it was opened"),
    ("stop", "it gave no answer within 2 s while it was opened"),
    ("overflow", "its process ended by SIG"),
    ("segfault", "its process ended by SIGSEGV"),
    ("bus", "its process ended by SIGBUS"),
    ("divide", "its process ended by SIGFPE"),
    ("unknown", "its process ended by SIGILL"),
    ("kill", "its process was killed"),
    ("terminate", "its process ended by SIGTERM while it was opened"),
    ("flood", "it wrote more than 16 MiB while it was opened; it said: xxx"),
    ("flood_stderr", "it wrote more than 16 MiB while it was opened; it said: help!"),
    ("memory", "it said: memory allocation of 67108864 bytes failed"),
    ("panic", "it is in a bad temper"),
    ("close_all", "it ended its process with status 1"),
    ("corrupt", "its process ended by SIGABRT (abort) while it was opened"),
    ("alarm", "its process ended by SIGALRM while it was opened"),
];

/// Deeds where it is asked for its plugins.
const AT_OPTIONS: [(&str, &str); 11] = [
    ("exit_in_thread", "it ended its process with status 0 when it was asked for its plugins"),
    ("abort_in_thread", "its process ended by SIGABRT (abort) when it was asked for its plugins"),
    ("abort", "its process ended by SIGABRT (abort) when it was asked for its plugins"),
    ("exit0", "it ended its process with status 0 when it was asked for its plugins"),
    ("at_once", "it ended its process with status 0 when it was asked for its plugins"),
    ("loop", "it gave no answer within 2 s when it was asked for its plugins"),
    ("overflow", "has overflowed its stack"),
    ("segfault", "its process ended by SIGSEGV"),
    ("flood", "it wrote more than 16 MiB when it was asked for its plugins"),
    ("memory", "it said: memory allocation of 67108864 bytes failed"),
    ("endless", "at most 4194304 are read"),
];

/// Deeds that a library may commit and still be used; all of these have the same plugins, and the
/// first counts.
const HARMLESS: [&str; 5] = ["open-close", "open-folder", "open-fork", "open-garbage", "open-threads"];

/// A library whose name tells what it does, small and unlike all others.
fn wicked(folder: &Path, name: &str) {
    let file = folder.join(format!("wicked-{name}.so"));
    std::fs::write(&file, [stripped().as_slice(), name.as_bytes()].concat()).unwrap();
}

/// The fixture without what a debugger wants, nine tenths of it.
fn stripped() -> &'static Vec<u8> {
    static BYTES: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    BYTES.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let small = folder.path().join("small.so");
        // Of the package that holds the linker.
        let status = Command::new("strip").arg("--strip-all").arg("-o").arg(&small).arg(library("wicked")).status();
        assert!(status.unwrap().success(), "`strip` must work");
        std::fs::read(small).unwrap()
    })
}

/// Files that are no libraries, or no libraries of ours.
fn strange(folder: &Path) -> Vec<(&'static str, &'static str)> {
    use rustix::fs::{CWD, FileType, Mode, mknodat, symlinkat};
    let at = |name: &str| folder.join(format!("{name}.so"));
    mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    mknodat(CWD, at("socket"), FileType::Socket, Mode::RWXU, 0).unwrap();
    assert!(std::fs::metadata(at("socket")).unwrap().file_type().is_socket());
    symlinkat("/dev/zero", CWD, at("device")).unwrap();
    symlinkat("/no/such/file", CWD, at("dangling")).unwrap();
    symlinkat("circle.so", CWD, at("circle")).unwrap();
    std::fs::create_dir(at("folder")).unwrap();
    std::fs::write(at("empty"), "").unwrap();
    std::fs::write(at("text"), "Plugins are described in README.md.").unwrap();
    std::fs::write(at("locked"), "text").unwrap();
    std::fs::set_permissions(at("locked"), PermissionsExt::from_mode(0o000)).unwrap();
    std::fs::write(at("truncated"), &stripped()[..stripped().len() / 3]).unwrap();
    let mut other = stripped().clone();
    // e_machine: AArch64.
    other[18..20].copy_from_slice(&[0xb7, 0]);
    std::fs::write(at("machine"), other).unwrap();
    std::fs::write(at("missing"), replaced(stripped(), b"libgcc_s.so.1", b"libgcc_x.so.1")).unwrap();
    std::fs::copy(library("hollow"), at("hollow")).unwrap();
    vec![
        ("/dev/zero", "it is a device"),
        ("pipe.so", "it is a pipe"),
        ("socket.so", "it is a socket"),
        ("dangling.so", "it is a link to `/no/such/file`: No such file"),
        ("circle.so", "it is a link to `circle.so`"),
        ("folder.so", "it is a folder"),
        ("empty.so", "is not a library"),
        ("text.so", "is not a library"),
        // Who is root may read it.
        ("locked.so", if rustix::process::geteuid().is_root() { "is not a library" } else { "cannot be read" }),
        ("truncated.so", ""),
        ("machine.so", "is a library for aarch64"),
        ("missing.so", "libgcc_x.so.1: cannot open shared object file"),
        ("hollow.so", "it exports no plugins"),
    ]
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let found: Vec<usize> = (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
    assert!(!found.is_empty(), "{} is in the library", String::from_utf8_lossy(from));
    for at in found {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

/// The program beside the files of `plugins`, with the good library first.
fn host(place: &Place, line: &str) -> (Outcome, Duration) {
    let line = format!("{} --plugin-dir=plugins {line}", patient());
    let start = Instant::now();
    let ended = outcome(place.command(&line).env("POCKETFLOW_PROBE_SECONDS", "2").spawn().unwrap());
    (ended, start.elapsed())
}

/// Files and reasons.
fn failed(place: &Place) -> (Vec<(String, String)>, Duration) {
    let (listed, time) = host(place, "plugins list --format=json");
    let listed: serde_json::Value = serde_json::from_str(&listed.expect(0).stdout).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let failed = listed["failed"].as_array().unwrap().iter();
    (failed.map(|failed| (text(&failed["file"]), text(&failed["reason"]))).collect(), time)
}

/// What is listed of a file, in one line.
#[track_caller]
fn only<'a>(failed: &'a [(String, String)], file: &str) -> &'a str {
    let of_file: Vec<&String> =
        failed.iter().filter(|(path, _)| path.ends_with(file)).map(|(_, reason)| reason).collect();
    assert!(of_file.len() == 1 && !of_file[0].contains(['\n', '\u{1b}']), "{file}: {of_file:?}");
    of_file[0]
}

#[test]
fn every_bad_file_is_one_line_and_every_command_works() {
    let place = Place::new();
    let folder = place.path("plugins");
    std::fs::create_dir(&folder).unwrap();
    let mut expected: Vec<(String, &str)> =
        strange(&folder).into_iter().map(|(file, said)| (file.to_owned(), said)).collect();
    for (when, deeds) in [("open", &AT_OPENING[..]), ("options", &AT_OPTIONS[..])] {
        for (deed, said) in deeds {
            wicked(&folder, &format!("{when}-{deed}"));
            expected.push((format!("wicked-{when}-{deed}.so"), said));
        }
    }
    let (first, _) = failed(&place);
    for (file, said) in &expected {
        assert!(only(&first, file).contains(said), "{file}: {}", only(&first, file));
    }
    assert_eq!(first.len(), expected.len(), "{first:?}");
    for file in ["wicked-open-loop.so", "wicked-open-abort.so"] {
        assert!(only(&first, file).contains("`host plugins check FILE` tries it again"), "{}", only(&first, file));
    }

    // The verdicts are kept: nothing waits a second time.
    let (second, time) = failed(&place);
    assert_eq!(second, first);
    assert!(time < Duration::from_secs(2), "{time:?}");
    for line in ["--version", "--help", "config show", "completions bash", "plugins show patient"] {
        host(&place, line).0.expect(0);
    }
    let checked = host(&place, &format!("plugins check {}", library("patient").display())).0.expect(0);
    assert!(checked.stdout.ends_with("usable\n"), "{}", checked.stdout);
    host(&place, "--run_dir=out").0.expect(0).says(&["plugin", "wicked-open-abort.so is left out: its process ended"]);
    assert_eq!(place.report("out")["learner"], "patient");
    assert_eq!(children_of(&folder), Vec::<String>::new(), "no process is left");
}

/// Command lines of processes that have a library of this folder, or were started for one.
fn children_of(folder: &Path) -> Vec<String> {
    let folder = folder.canonicalize().unwrap().display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains("@probe") && line.contains(&folder)).collect()
}

#[test]
fn libraries_that_leave_something_behind_are_used_and_what_they_leave_is_removed() {
    let place = Place::new();
    let folder = place.path("plugins");
    std::fs::create_dir(&folder).unwrap();
    for name in HARMLESS {
        wicked(&folder, name);
    }
    let (failed, time) = failed(&place);
    assert!(time < Duration::from_secs(20), "{time:?}");
    // All have the same plugins: those of the first file count.
    assert!(
        failed.iter().all(|(_, reason)| reason.contains("wicked-open-close.so`, which was found first")),
        "{failed:?}"
    );
    assert_eq!(failed.len(), 2 * (HARMLESS.len() - 1), "{failed:?}");
    assert_eq!(children_of(&folder), Vec::<String>::new(), "no process is left");
}

#[test]
fn a_verdict_is_of_the_content_and_a_check_renews_it() {
    let place = Place::new();
    let folder = place.path("plugins");
    std::fs::create_dir(&folder).unwrap();
    wicked(&folder, "open-sleep");
    assert!(only(&failed(&place).0, "wicked-open-sleep.so").contains("within 2 s"));
    // Under another name it does no harm, and its content is known to be bad; a check asks again.
    std::fs::rename(folder.join("wicked-open-sleep.so"), folder.join("renamed.so")).unwrap();
    let (moved, time) = failed(&place);
    assert!(only(&moved, "renamed.so").contains("within 2 s") && time < Duration::from_secs(2), "{moved:?}, {time:?}");
    host(&place, "plugins check plugins/renamed.so").0.expect(0);
    assert_eq!(failed(&place).0, []);
    // Who gives it longer gets another answer.
    wicked(&folder, "options-sleep");
    assert_eq!(failed(&place).0.len(), 1);
    let line = format!("{} --plugin-dir=plugins plugins list --format=json", patient());
    let listed = outcome(place.command(&line).env("POCKETFLOW_PROBE_SECONDS", "3").spawn().unwrap()).expect(0).stdout;
    assert!(listed.contains("within 3 s"), "{listed}");
}

#[test]
fn a_number_of_seconds_that_is_none_is_told() {
    let place = Place::new();
    let mut command = place.command(&format!("{} plugins list", patient()));
    let outcome = outcome(command.env("POCKETFLOW_PROBE_SECONDS", "soon").spawn().unwrap()).expect(0);
    outcome.says(&["POCKETFLOW_PROBE_SECONDS = `soon`", "from 1 to 3600"]);
}

/// Deeds in the middle of a run, with what is said, and the signal that ends the program where it
/// is one.
const IN_A_RUN: [(&str, &str, Option<i32>); 11] = [
    ("train-exit0", "learner `wicked` ended the program by calling exit in `train`", None),
    ("train-exit3", "learner `wicked` ended the program by calling exit in `train`", None),
    ("train-at_once", "learner `wicked` ended the program by calling _exit in `train`", None),
    ("train-quick", "learner `wicked` ended the program by calling quick_exit in `train`", None),
    ("train-exit_in_thread", "a thread ended the program by calling exit while learner `wicked` was at work", None),
    ("train-abort", "learner `wicked` crashed by SIGABRT (abort) in `train`", Some(libc::SIGABRT)),
    ("train-corrupt", "learner `wicked` crashed by SIGABRT (abort) in `train`", Some(libc::SIGABRT)),
    ("train-segfault", "learner `wicked` crashed by SIGSEGV", Some(libc::SIGSEGV)),
    ("train-overflow", "learner `wicked` crashed by SIGSEGV", Some(libc::SIGABRT)),
    ("train-abort_in_thread", "a thread crashed by SIGABRT (abort) while learner `wicked`", Some(libc::SIGABRT)),
    ("configure-exit0", "learner `wicked` ended the program by calling exit in `configure`", None),
];

#[test]
fn a_plugin_that_ends_a_run_is_named_and_the_status_is_not_0() {
    use std::os::unix::process::ExitStatusExt;
    let place = Place::new();
    for (name, said, signal) in IN_A_RUN {
        let folder = format!("plugins-{name}");
        std::fs::create_dir(place.path(&folder)).unwrap();
        wicked(&place.path(&folder), name);
        let line = format!("--plugin-dir={folder} --learner=wicked --net=small-net --run_dir=out-{name}");
        let output = place.command(&format!("{} {line}", crate::with_plugin("patient"))).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(said), "{name}: {stderr}");
        assert_eq!(output.status.signal(), signal, "{name}: {stderr}");
        assert_eq!(output.status.code(), signal.is_none().then_some(1), "{name}: {stderr}");
        assert!(output.stdout.is_empty(), "{name}: there is no result");
        if name.starts_with("train") {
            assert!(stderr.contains(&format!("--resume --run-dir=out-{name}")), "{name}: {stderr}");
            assert_eq!(place.read(format!("out-{name}/checkpoints/wicked")), "1", "what was saved stays");
            assert!(place.read(format!("out-{name}/log.txt")).contains(said), "{name}: the run's log has it too");
        }
        assert!(!place.path(&format!("out-{name}/report.json")).exists(), "{name}");
    }
    let evaluated = "--plugin-dir=plugins-evaluate --learner=wicked --net=small-net --exec_mode=eval";
    std::fs::create_dir(place.path("plugins-evaluate")).unwrap();
    wicked(&place.path("plugins-evaluate"), "evaluate-exit0");
    let ended = place.host(&format!("{} {evaluated}", crate::with_plugin("patient"))).expect(1);
    assert!(!ended.stderr.contains("--resume"), "{}", ended.stderr);
    ended.says(&["learner `wicked` ended the program by calling exit in `evaluate`"]);
}

#[test]
fn a_library_whose_options_change_is_refused_when_it_is_loaded() {
    let place = Place::new();
    std::fs::create_dir(place.path("plugins")).unwrap();
    wicked(&place.path("plugins"), "options-fickle");
    let line = "--plugin-dir=plugins --learner=wicked --net=small-net";
    let refused = place.host(&format!("{} {line}", crate::with_plugin("patient"))).expect(1);
    refused.says(&["wicked-options-fickle.so", "give the command again"]);
}

#[test]
fn fifty_libraries_are_listed_in_half_a_second() {
    let place = Place::new();
    let folder = place.path("plugins");
    std::fs::create_dir(&folder).unwrap();
    for number in 0..50 {
        // Names of the same length, so that the copies differ in them.
        let (learner, net) = (format!("wic{number:03}"), format!("wicked{number:03}"));
        let named = replaced(stripped(), b"wicked-net", format!("{net}x").as_bytes());
        std::fs::write(folder.join(format!("{learner}.so")), named).unwrap();
    }
    let (first, new) = failed(&place);
    let (second, cached) = failed(&place);
    assert_eq!((first.len(), second.len()), (49, 49), "the learner has one name, the nets have fifty");
    println!("50 plugins: {new:?} when new, {cached:?} when known");
    assert!(new < Duration::from_secs(50) && cached < Duration::from_millis(500), "{new:?} {cached:?}");
}
