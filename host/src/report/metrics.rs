//! `metrics.jsonl`: every event of a run, one JSON object a line, in the order of time. Written so
//! that a killed process loses at most the line it was writing, and cut back so that a resumed run
//! leaves the curves of one that never stopped.

use pocketflow::Result;
use pocketflow::error::Context;
use pocketflow::job::Event;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::Path;

/// Its name in the folder of a run.
pub const FILE: &str = "metrics.jsonl";

/// One line: the event's own fields with the time beside them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Seconds since 1970-01-01 UTC.
    pub time: f64,
    #[serde(flatten)]
    pub event: Event,
}

/// The lines that can be read as events. A line of a newer version, or one with a figure that is
/// not a number (JSON has none), is passed over: a missing point must not cost the report. A
/// missing file has no lines.
///
/// # Errors
/// The file is there and cannot be read.
pub fn read(path: &Path) -> Result<Vec<Line>> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.with_context(|| format!("cannot read {}", path.display()))?,
    };
    Ok(parse(&bytes))
}

/// As [`read`], of bytes.
pub fn parse(bytes: &[u8]) -> Vec<Line> {
    bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// `bytes` without a last line that was not written to its end.
pub fn whole(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    &bytes[..end]
}

/// As much of a line as decides whether it stays; a line whose loss was not a number still has
/// these.
#[derive(Deserialize)]
struct Mark {
    event: String,
    name: Option<String>,
    phase: Option<String>,
    step: Option<u64>,
}

/// The lines of `bytes` that a resume of `phase` after `done` steps keeps: all but those of steps
/// that will be done again, and the word that the phase was over.
pub fn rewound(bytes: &[u8], phase: &str, done: u64) -> Vec<u8> {
    let again = |line: &[u8]| {
        let Ok(mark) = serde_json::from_slice::<Mark>(line) else { return false };
        match mark.step {
            Some(step) => mark.phase.as_deref() == Some(phase) && step > done,
            None => mark.event == "phase_end" && mark.name.as_deref() == Some(phase),
        }
    };
    bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| !again(line)).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scalar(phase: &str, step: u64, value: f64) -> Line {
        let event = Event::Scalar { phase: phase.into(), name: "reward".into(), step, value };
        Line { time: 1.5, event }
    }

    fn text(lines: &[Line]) -> Vec<u8> {
        lines
            .iter()
            .flat_map(|line| serde_json::to_string(line).unwrap().into_bytes().into_iter().chain([b'\n']))
            .collect()
    }

    #[test]
    fn the_time_stands_beside_the_fields_of_the_event() {
        let line = Line { time: 12.25, event: Event::Phase { name: "uniform".into(), steps: 10, done: 0 } };
        let json = serde_json::to_string(&line).unwrap();
        assert_eq!(json, r#"{"time":12.25,"event":"phase","name":"uniform","steps":10,"done":0}"#);
    }

    #[test]
    fn rewinds_one_phase_only() {
        let note = Line { time: 0.0, event: Event::Note { text: "stand-in".into(), warning: true } };
        let end = Line { time: 9.0, event: Event::PhaseEnd { name: "b".into(), seconds: 3.0 } };
        let lines =
            [note, scalar("a", 7, 0.1), scalar("b", 5, 0.2), scalar("b", 6, f64::NAN), scalar("b", 7, 0.3), end];
        let kept = rewound(&text(&lines), "b", 5);
        assert_eq!(parse(&kept), lines[..3]);
    }

    proptest! {
        #[test]
        fn any_figure_comes_back_bit_for_bit(time in 0.0..1e10, step: u64, bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let lines = [Line { time, ..scalar("uniform", step, value) }];
            let back = parse(&text(&lines));
            prop_assert_eq!(&back[..], &lines[..]);
        }

        #[test]
        fn garbage_is_passed_over(garbage: Vec<u8>, cut in 0_usize..60) {
            let _ = parse(&garbage);
            let _ = rewound(&garbage, "a", 3);
            // A file cut anywhere has all lines but the torn one.
            let mut bytes = text(&[scalar("a", 1, 0.5), scalar("a", 2, 0.25)]);
            bytes.truncate(bytes.len() - 1 - cut);
            prop_assert_eq!(parse(whole(&bytes)).len(), 1);
        }
    }
}
