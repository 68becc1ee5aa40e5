//! What plugins and files call things, as it is printed: short, and without what moves the cursor.
//! Here for events on the screen and for reports; log lines, tables and errors do it where a line
//! is made.

use pocketflow::job::Event;
use pocketflow::names::{shown, shown_line, shown_text};
use pocketflow::report::Report;

/// An event as people read it.
pub fn event(event: &Event) -> Event {
    // Nobody reads it, and it may be long.
    if let Event::Decisions { .. } = event {
        return Event::Decisions { split: String::new(), classes: Vec::new() };
    }
    let mut event = event.clone();
    match &mut event {
        Event::Phase { name, .. } | Event::PhaseEnd { name, .. } => set(name),
        Event::Step { phase, .. } | Event::Tick { phase, .. } => set(phase),
        Event::Progress { phase, text, .. } => {
            set(phase);
            *text = shown_line(text).into_owned();
        }
        Event::Evaluation { phase, split: other, .. } | Event::Scalar { phase, name: other, .. } => {
            set(phase);
            set(other);
        }
        Event::Note { text, .. } => *text = shown_text(text).into_owned(),
        _ => {}
    }
    event
}

/// A report as people read it.
pub fn report(report: &Report) -> Report {
    let mut report = report.clone();
    let Report { learner, net, dataset, layers, model_path, warnings, search, .. } = &mut report;
    [learner, net, dataset].into_iter().for_each(set);
    layers.iter_mut().flat_map(|layer| [&mut layer.name, &mut layer.kind]).for_each(set);
    *model_path = shown_line(model_path).into_owned();
    for warning in warnings {
        *warning = shown_text(warning).into_owned();
    }
    if let Some(search) = search {
        search.layers.iter_mut().chain([&mut search.split, &mut search.chosen]).for_each(set);
        let methods = search.candidates.iter_mut().map(|candidate| &mut candidate.method);
        methods.chain(search.front.iter_mut().map(|point| &mut point.method)).for_each(set);
    }
    report
}

fn set(name: &mut String) {
    if let std::borrow::Cow::Owned(shown) = shown(name) {
        *name = shown;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocketflow::report::LayerReport;
    use pocketflow::report::search::{Candidate, FrontPoint, SearchReport};

    const BAD: &str = "a\u{1b}[2Jb\r";
    const GOOD: &str = "a\\u{1b}[2Jb\\r";

    /// As JSON, which escapes control characters in its own way.
    #[track_caller]
    fn is_plain(value: &impl serde::Serialize) {
        let json = serde_json::to_string(value).unwrap();
        assert!(!json.contains("\\u001b") && json.len() < 20_000, "{json}");
    }

    #[test]
    fn every_text_of_an_event() {
        let [name, phase, split] = [BAD; 3].map(str::to_owned);
        let step =
            Event::Tick { phase: phase.clone(), step: 1, epoch: 1.0, loss: 1.0, top1: 0.5, images_per_second: 1.0 };
        let evaluation =
            Event::Evaluation { phase: phase.clone(), split, step: 1, epoch: 1.0, loss: 1.0, top1: 0.5, top5: 0.5 };
        for bad in [
            Event::Phase { name: "x".repeat(1 << 20), steps: 1, done: 0 },
            Event::Phase { name: name.clone(), steps: 1, done: 0 },
            step,
            Event::Progress { phase: phase.clone(), step: 1, text: format!("{BAD}{}", "x".repeat(1 << 20)) },
            evaluation,
            Event::Scalar { phase, name: name.clone(), step: 1, value: 1.0 },
            Event::PhaseEnd { name, seconds: 1.0 },
            Event::Note { text: BAD.into(), warning: true },
        ] {
            is_plain(&event(&bad));
        }
        let note = Event::Note { text: "two\nlines".into(), warning: false };
        assert_eq!(event(&note), note);
    }

    #[test]
    fn every_text_of_a_report() {
        let text = || BAD.to_owned();
        let search = SearchReport {
            layers: vec![text()],
            split: text(),
            chosen: text(),
            candidates: vec![Candidate { method: text(), ..Candidate::default() }],
            front: vec![FrontPoint { method: text(), ..FrontPoint::default() }],
            ..SearchReport::default()
        };
        let bad = Report {
            learner: text(),
            net: "x".repeat(1 << 20),
            dataset: text(),
            layers: vec![LayerReport { name: text(), kind: text(), ..LayerReport::default() }],
            model_path: text(),
            warnings: vec![text()],
            search: Some(search),
            ..Report::default()
        };
        let good = report(&bad);
        is_plain(&good);
        assert_eq!(good.layers[0].name, GOOD);
    }
}
