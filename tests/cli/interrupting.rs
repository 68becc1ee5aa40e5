//! Commands that write only at their end: the first wish to stop ends them, and nothing of them is
//! left.

use crate::stopping::{send, until};
use crate::{Outcome, Place, outcome, with_plugin};
use pocketflow::model::Model;
use std::time::{Duration, Instant};

/// A place with a file of weights, and the command that imports them.
fn place() -> (Place, String) {
    let place = Place::new();
    let table = r#"{"fc.weight":{"dtype":"F32","shape":[2,12],"data_offsets":[0,96]}}"#;
    let weights = [&(table.len() as u64).to_le_bytes()[..], table.as_bytes(), &[0; 96]].concat();
    std::fs::write(place.path("theirs.safetensors"), weights).unwrap();
    let liar = with_plugin("liar");
    (place, format!("{liar} import theirs.safetensors --net=liar-net --save_path=models/model.ckpt"))
}

/// What there is in the folder of the model.
fn written(place: &Place) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(place.path("models")) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Starts a command that hangs and sends it a signal then.
fn stopped_where_it_hangs(place: &Place, line: &str, signal: &str) -> Outcome {
    let _ = std::fs::remove_file(place.path("stalled"));
    let child = place.command(line).spawn().unwrap();
    until("it hangs", || place.path("stalled").exists());
    let asked = Instant::now();
    send(signal, &child);
    let outcome = outcome(child).expect(130);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!(outcome.stderr, "stopped: interrupted; nothing was written\n");
    assert!(outcome.stdout.is_empty(), "{}", outcome.stdout);
    outcome
}

#[test]
fn an_import_ends_at_the_first_wish() {
    let (place, import) = place();
    for signal in ["-INT", "-TERM", "-HUP"] {
        stopped_where_it_hangs(&place, &format!("{import} --liar_stall=configure"), signal);
        assert_eq!(written(&place), [""; 0]);
    }
}

#[test]
fn an_export_ends_at_the_first_wish_while_it_calibrates() {
    let (place, import) = place();
    place.host(&import).expect(0);
    let export = format!("{} export --model_dir=models --enbl_post_quant --verify-images=0", with_plugin("liar"));
    for signal in ["-INT", "-TERM"] {
        stopped_where_it_hangs(&place, &format!("{export} --liar_stall=plain"), signal);
        assert_eq!(written(&place), ["model.ckpt"]);
    }
    // With nobody in its way it is completed.
    place.host(&export).expect(0);
    assert!(written(&place).contains(&"model_quantized.tflite".to_owned()), "{:?}", written(&place));
}

#[test]
fn an_import_that_is_interrupted_at_any_moment_leaves_the_whole_model_or_nothing() {
    let (place, import) = place();
    place.host(&import).expect(0);
    // The second time the plugins are known, as they are to those that follow.
    let start = Instant::now();
    place.host(&format!("{import} --overwrite")).expect(0);
    let (whole, model) = (start.elapsed(), std::fs::read(place.path("models/model.ckpt")).unwrap());
    let mut ended = [0; 3];
    for part in 0..30 {
        std::fs::remove_dir_all(place.path("models")).unwrap_or_default();
        let child = place.command(&import).spawn().unwrap();
        std::thread::sleep(whole * part / 30);
        send_if_there(&child);
        let outcome = outcome(child);
        let files = written(&place);
        match outcome.status {
            // Before it watches for signals.
            -1 => assert!(files.is_empty(), "{files:?}"),
            130 if outcome.stderr.contains("nothing was written") => assert!(files.is_empty(), "{files:?}"),
            130 | 0 => {
                assert_eq!(files, ["model.ckpt"], "{}", outcome.stderr);
                assert_eq!(std::fs::read(place.path("models/model.ckpt")).unwrap(), model);
                Model::load(&place.path("models/model.ckpt")).unwrap();
            }
            other => panic!("{other}: {}", outcome.stderr),
        }
        ended[match outcome.status {
            -1 => 0,
            130 => 1,
            _ => 2,
        }] += 1;
    }
    println!("by the signal, by the program, not in time: {ended:?}");
}

/// It may have ended before.
fn send_if_there(child: &std::process::Child) {
    let _ = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).output();
}
