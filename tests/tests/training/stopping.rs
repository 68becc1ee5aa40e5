//! Ctrl-C is obeyed wherever a run is, also while the data set hangs.

use pocketflow_tests::place::{Outcome, Place, built, finish};
use std::process::Command;
use std::time::{Duration, Instant};

const NET: &str = "--net=resnet_at_cifar10 --resnet_size=8 --dataset=stalling --threads=1";
const FULL: &str = "--learner=full-prec --nb_epochs_rat=0.008";

/// Flags with the real plugins and the data set that hangs where `stall` says.
fn line(flags: &str, stall: &str) -> String {
    let stalls = std::env::current_exe().unwrap().with_file_name("libpocketflow_fixture_stalls.so");
    format!("--plugin-dir={} --plugin-dir={} {flags} {NET} {stall}", real(), stalls.display())
}

/// The folder with links to the real plugins: that of the build holds the fixtures too.
fn real() -> String {
    static FOLDER: std::sync::OnceLock<tempfile::TempDir> = std::sync::OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(built()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.starts_with("libpocketflow_plugin_") && name.ends_with(".so") {
                std::os::unix::fs::symlink(&path, folder.path().join(name)).unwrap();
            }
        }
        folder
    });
    folder.path().display().to_string()
}

/// Starts it, sends one Ctrl-C once the data set hangs, and gives how it ended.
fn stopped(place: &Place, flags: &str, stall: &str) -> Outcome {
    let child = place.start(&line(flags, stall));
    let start = Instant::now();
    while !place.path("stalled").exists() {
        assert!(start.elapsed() < Duration::from_secs(120), "it does not hang: {flags} {stall}");
        std::thread::sleep(Duration::from_millis(10));
    }
    // What it did before it hangs is done by now; a wait has begun.
    std::thread::sleep(Duration::from_millis(300));
    let asked = Instant::now();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let outcome = finish(child);
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}: {}", asked.elapsed(), outcome.stderr);
    outcome
}

/// A place with a parent.
fn with_parent() -> Place {
    static PARENT: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    let place = Place::new();
    let parent = PARENT.get_or_init(|| {
        place.host(&line(FULL, "--stall_split=never")).expect(0);
        place.bytes("models/model.ckpt")
    });
    std::fs::create_dir_all(place.path("models")).unwrap();
    std::fs::write(place.path("models/model.ckpt"), parent).unwrap();
    place
}

#[test]
fn training_on_images_that_do_not_come_is_saved_and_goes_on() {
    let place = Place::new();
    let (flags, stall) = (format!("{FULL} --run_dir=run"), "--stall_split=train --stall_after=5");
    let said = stopped(&place, &flags, stall).expect(130);
    said.says(&["full-prec stopped, saved after step 5", "--resume --run-dir=run"]);
    // The file `stalled` is there: it no longer hangs.
    place.host(&format!("{} --resume", line(&flags, stall))).expect(0);
    place.host(&format!("{} --save_path=whole.ckpt", line(FULL, stall))).expect(0);
    assert!(place.bytes("models/model.ckpt") == place.bytes("whole.ckpt"), "the same weights");
}

#[test]
fn before_the_first_step_it_is_obeyed_too_and_goes_on() {
    let place = Place::new();
    let (flags, stall) = (format!("{FULL} --run_dir=run"), "--stall_split=train --stall_on_opening");
    stopped(&place, &flags, stall).expect(130).says(&["saved after step 0"]);
    place.host(&format!("{} --resume", line(&flags, stall))).expect(0);
    place.host(&format!("{} --save_path=whole.ckpt", line(FULL, stall))).expect(0);
    assert!(place.bytes("models/model.ckpt") == place.bytes("whole.ckpt"), "the same weights");
}

#[test]
fn the_parents_evaluation_calibration_and_statistics() {
    let uniform = "--learner=uniform --uql_quant_epochs=0 --uql_activation_bits=8";
    // One pass over the plain images gives all that networks are prepared on.
    for (flags, stall) in [
        (uniform, "--stall_split=eval"),
        ("--learner=uniform-tf --nb_epochs_rat=0.008", "--stall_split=plain --stall_after=2"),
        (uniform, "--stall_split=plain --stall_after=2"),
        (uniform, "--stall_split=plain --stall_on_opening"),
    ] {
        stopped(&with_parent(), flags, stall).expect(130).says(&["stopped", "--resume"]);
    }
}

#[test]
fn a_search_that_takes_up_its_images() {
    let search = "--learner=uniform --uql_enbl_rl_agent --uql_equivalent_bits=2.5 --uql_w_bit_max=3 --uql_nb_rlouts=4";
    for stall in ["--stall_split=val", "--stall_split=plain --stall_after=1"] {
        stopped(&with_parent(), search, stall).expect(130).says(&["stopped", "--resume"]);
    }
}

#[test]
fn the_check_of_exported_files() {
    // The learner's own evaluation, then the file in its runtime.
    for stall in ["--stall_split=eval", "--stall_split=eval --stall_passes=1"] {
        let export = "export --model_dir=models --enbl_post_quant";
        stopped(&with_parent(), export, stall).expect(130).says(&["stopped"]);
    }
}
