//! Plugin files that change while a program uses them: a run is of the libraries that it began
//! with.

use crate::stopping::begin_with;
use crate::{Place, library, outcome};
use pocketflow::abi::{HANDSHAKE_SYMBOL, Handshake, INTERFACE};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder with the fixture `patient`, and the flags of a run of it that takes two seconds.
fn place() -> (Place, PathBuf, String) {
    let place = Place::new();
    let plugin = place.path("plugins/patient.so");
    std::fs::create_dir(place.path("plugins")).unwrap();
    std::fs::copy(library("patient"), &plugin).unwrap();
    let run = "--plugin-dir=plugins --learner=patient --net=small-net --patient_steps=200 --patient_pause=10";
    (place, plugin, format!("{run} --run_dir=out"))
}

/// What `cp` does: the file stays the same one, and its bytes change.
fn copy_over(file: &Path, bytes: &[u8]) {
    std::fs::write(file, bytes).unwrap();
}

/// The private copies that there are.
fn copies(place: &Place) -> Vec<PathBuf> {
    let Ok(contents) = std::fs::read_dir(place.path(".cache/pocketflow/libraries")) else { return Vec::new() };
    let files = contents.flat_map(|content| std::fs::read_dir(content.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

#[test]
fn a_library_that_is_copied_over_does_a_run_no_harm() {
    let (place, plugin, run) = place();
    let child = begin_with(&place, &run);
    copy_over(&plugin, &std::fs::read(library("rival")).unwrap());
    std::thread::sleep(std::time::Duration::from_millis(100));
    copy_over(&plugin, b"");
    outcome(child).expect(0);
    assert_eq!(place.report("out")["learner"], "patient");
    // The next command knows the file as it is now.
    let listed = place.host("--plugin-dir=plugins plugins list").expect(0).stdout;
    assert!(listed.contains("not usable:") && listed.contains("is not a library"), "{listed}");
}

#[test]
fn a_copy_is_made_once_and_a_damaged_one_is_made_anew() {
    let (place, _, run) = place();
    let short = run.replace("=200", "=2");
    assert!(copies(&place).is_empty());
    place.host("--plugin-dir=plugins plugins list").expect(0);
    assert!(copies(&place).is_empty(), "what is not loaded is not copied");
    place.host(&short).expect(0);
    let [copy] = copies(&place).try_into().unwrap();
    assert_eq!(copy.file_name().unwrap(), "patient.so");
    let made = std::fs::metadata(&copy).unwrap().modified().unwrap();
    place.host(&short.replace("out", "again")).expect(0);
    assert_eq!(copies(&place), std::slice::from_ref(&copy));
    assert!(std::fs::metadata(&copy).unwrap().modified().unwrap() >= made, "its last use is kept");
    std::fs::remove_file(&copy).unwrap();
    std::fs::write(&copy, &std::fs::read(library("patient")).unwrap()[..4096]).unwrap();
    place.host(&short.replace("out", "third")).expect(0);
    assert_eq!(std::fs::read(&copy).unwrap(), std::fs::read(library("patient")).unwrap());
}

#[test]
fn without_a_folder_for_copies_they_are_in_memory() {
    let (place, plugin, run) = place();
    place.write(".cache", "a file, no folder");
    let child = begin_with(&place, &run);
    copy_over(&plugin, b"");
    outcome(child).expect(0);
    let log = place.read("out/log.txt");
    assert!(log.contains("a copy in memory is loaded"), "the reason is said: {log}");
}

/// A library that needs another, which lies beside it, and says so by `$ORIGIN`.
#[test]
fn a_library_with_others_beside_it_finds_them() {
    let place = Place::new();
    let folder = place.path("plugins");
    std::fs::create_dir(&folder).unwrap();
    std::fs::create_dir(folder.join("beside")).unwrap();
    std::fs::copy(library("patient"), folder.join("beside/libneighbour.so")).unwrap();
    // It has the neighbour's handshake as its own; the rest of what a plugin has is the
    // neighbour's, which the system finds through it.
    let file = std::fs::read(library("patient")).unwrap();
    let is_ours = |bytes: &&[u8]| Handshake::read(bytes).is_some_and(|found| found.interface() == INTERFACE);
    let handshake = file.windows(Handshake::SIZE).find(is_ours).unwrap();
    let bytes: Vec<String> = handshake.iter().map(u8::to_string).collect();
    place.write("shim.c", &format!("const unsigned char {HANDSHAKE_SYMBOL}[] = {{{}}};", bytes.join(",")));
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o", "plugins/shim.so", "shim.c", "-Wl,--no-as-needed", "-Lplugins/beside"]);
    compiler.args(["-lneighbour", "-Wl,-rpath,$ORIGIN/beside"]).current_dir(place.path(""));
    assert!(compiler.status().unwrap().success(), "a C compiler is needed");
    let run = "--plugin-dir=plugins/shim.so --learner=patient --net=small-net --run_dir=out";
    place.host(run).expect(0);
    let log = place.read("out/log.txt");
    assert!(log.contains("shim.so` looks for libraries beside itself"), "{log}");
}
