//! What is refused before anything is computed, and how the message explains it.

use crate::{Place, library, patient, with_plugin};

#[test]
fn a_plugin_that_was_refused_is_missing_for_a_reason() {
    let place = Place::new();
    // Found first, its net takes an option of the learner `patient`.
    let line = format!("{} {}", with_plugin("rival"), with_plugin("patient"));
    let reason = "its option `patient_steps` is taken by net `patients-key`";
    for command in ["", "config show", "plugins show patient", "eval"] {
        let flags = if command.starts_with("plugins") { "" } else { "--learner=patient --net=small-net" };
        let outcome = place.host(&format!("{line} {command} {flags}")).expect(2);
        outcome.says(&["`patient`: a learner of this name was found and is not usable", reason]);
    }
    let flag = place.host(&format!("{line} --patient_pause=3 --learner=patient --net=small-net")).expect(2);
    flag.says(&["'--patient-pause'", "learner `patient` has such an option, and it is not usable", reason]);
    place.write("pocketflow.toml", "patient_pause = 3\n");
    let file = place.host(&format!("{line} config show")).expect(2);
    file.says(&["pocketflow.toml:1: unknown key `patient_pause`", "learner `patient` has such an option", reason]);
}

#[test]
fn bad_declarations_are_told_alike_in_list_and_check() {
    let place = Place::new();
    let listed = place.host(&format!("{} plugins list", with_plugin("rival"))).expect(0).stdout;
    let checked = place.host(&format!("plugins check {}", library("rival").display())).expect(1).stdout;
    for said in [&listed, &checked] {
        for reason in [
            "net `flags-key`: its option `images` is a name of the program's own",
            "net `hosts-key`: its option `run_dir` is taken by the host",
            "net `dashed`: `a-b` is not a legal key",
            "net `../../escape`: `../../escape` is not a legal name",
            "net `wordy`: its option `wordy` has a description of 51000 characters; 4000 are allowed",
        ] {
            assert!(said.contains(reason), "{reason}: {said}");
        }
        assert!(said.len() < 10_000, "{} bytes", said.len());
    }
}

#[test]
fn both_spellings_of_a_name_mean_one_plugin() {
    let place = Place::new();
    let line = format!("{} --net=small_net", with_plugin("patient"));
    let shown = place.host(&format!("{line} --learner=patient config show")).expect(0).stdout;
    assert!(shown.contains("small_width"), "{shown}");
    let help = place.host(&format!("{line} --help")).expect(0).stdout;
    assert!(help.contains("--small-width"), "{help}");
    place.host(&format!("{line} --learner=patient")).expect(0);
}

#[test]
fn workers_are_counted_before_a_run_folder_is_made() {
    let place = Place::new();
    for flag in ["-n=0", "-n 2000", "-n4x", "--n=-1"] {
        place.host(&format!("{} {flag}", patient())).expect(2).says(&["`n` = "]);
    }
    let mut contradicted = place.command(&format!("{} -n=4", patient()));
    contradicted.env("RANK", "0").env("WORLD_SIZE", "2").env("MASTER_ADDR", "127.0.0.1");
    let outcome = crate::outcome(contradicted.spawn().unwrap());
    outcome.expect(2).says(&["`n` = 4 (flag --n)", "2 workers"]);
    assert!(place.runs().is_empty());
    for (number, flag) in ["-n=2", "-n 2", "-n2", "--n=2", "--n 2", "-n=1"].iter().enumerate() {
        place.host(&format!("{} {flag} --run_dir={number}", patient())).expect(0);
    }
}

#[test]
fn paths_that_cannot_be_paths() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let with = |argument: &[u8]| {
        let mut command = place.command(&patient());
        command.arg(OsStr::from_bytes(argument));
        crate::outcome(command.spawn().unwrap())
    };
    with(b"--save_path=a\xff").expect(2).says(&["--save-path", "UTF-8"]);
    with(b"--run_dir=").expect(2).says(&["`run_dir`", "empty"]);
    with(b"--save_path=").expect(2).says(&["`save_path`", "empty"]);
    with(b"--config=").expect(2).says(&["--config"]);
    place.host("--plugin-dir= plugins list").expect(2).says(&["--plugin-dir"]);
    assert!(place.runs().is_empty());
}

#[test]
fn no_more_threads_than_cores_are_used() {
    let place = Place::new();
    let cores = std::thread::available_parallelism().unwrap();
    let outcome = place.run("--threads=4096 --run_dir=out").expect(0);
    outcome.says(&["`threads` = 4096 (flag --threads): this machine has", &format!("{cores} are used")]);
    assert!(place.read("out/run.toml").contains(&format!("threads = {cores}")), "{}", place.read("out/run.toml"));
}
