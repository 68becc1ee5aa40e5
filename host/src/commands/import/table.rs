//! The report of an import as a table: a row for each layer and batch normalisation, what is not
//! plain on rows of its own.

use crate::report::table::table;
use pocketflow::graph::{Graph, Role};
use pocketflow::names::shown_text;
use pocketflow_weights::map::{ImportReport, Matched};
use std::collections::BTreeMap;

/// The table and a line of sums.
pub fn text(graph: &Graph, report: &ImportReport) -> String {
    let mut rows: Vec<[String; 4]> = Vec::new();
    for (ours, parts) in by_node(graph, report) {
        rows.extend(matched_rows(&ours, &parts, report.folded.contains(&ours)));
        let mean = format!("{ours}.running_mean");
        for absorbed in report.absorbed.iter().filter(|absorbed| absorbed.into == mean) {
            rows.push(["subtracted".into(), mean.clone(), String::new(), absorbed.theirs.clone()]);
        }
    }
    for misfit in &report.misfits {
        rows.push([
            "misfit".into(),
            misfit.ours.clone(),
            String::new(),
            format!("{} {}", misfit.theirs, misfit.problem),
        ]);
    }
    for wanted in &report.missing {
        rows.push(["missing".into(), wanted.ours.clone(), size(&wanted.shape), "nothing in the file".into()]);
    }
    for lacking in &report.lacking {
        rows.push(["no place".into(), String::new(), size(&lacking.shape), lacking.theirs.clone()]);
    }
    for unused in &report.unused {
        rows.push(["left over".into(), String::new(), size(&unused.shape), unused.theirs.clone()]);
    }
    let mut made = table(&["", "net", "shape", "file"], |_| false);
    rows.iter().for_each(|row| made.add_row(row));
    let reshaped = report.matched.iter().filter(|matched| matched.reshaped.is_some()).count();
    let sums = [
        (report.matched.len(), "matched"),
        (reshaped, "of them reshaped"),
        (report.misfits.len(), "misfit"),
        (report.missing.len(), "missing"),
        (report.lacking.len(), "without a place"),
        (report.unused.len(), "left over"),
        (report.absorbed.len(), "subtracted from means"),
        (report.ignored.len(), "passed over"),
    ];
    let sums = sums.into_iter().filter(|(count, word)| *count > 0 || *word == "missing" || *word == "left over");
    let sums: Vec<String> = sums.map(|(count, word)| format!("{count} {word}")).collect();
    let differences: String = report.differences.iter().map(|text| format!("{}\n", shown_text(text))).collect();
    format!("{}\n\n{}\n{differences}", made.trim_fmt(), sums.join(", "))
}

/// What matched, by the node that it belongs to, in the graph's order.
fn by_node<'a>(graph: &Graph, report: &'a ImportReport) -> Vec<(String, Vec<&'a Matched>)> {
    let mut found: BTreeMap<&str, &Matched> =
        report.matched.iter().map(|matched| (matched.ours.as_str(), matched)).collect();
    let mut nodes: Vec<(String, Vec<&Matched>)> = Vec::new();
    for param in graph.params().unwrap_or_default() {
        let name = &graph.nodes[param.node].name;
        if param.role == Role::Weight || nodes.last().is_none_or(|(last, _)| last != name) {
            nodes.push((name.clone(), Vec::new()));
        }
        if let (Some((_, parts)), Some(matched)) = (nodes.last_mut(), found.remove(param.name.as_str())) {
            parts.push(matched);
        }
    }
    nodes
}

/// One row for all parts of a node that came over alike, or one for each.
fn matched_rows(ours: &str, parts: &[&Matched], folded: bool) -> Vec<[String; 4]> {
    let Some(first) = parts.first() else { return Vec::new() };
    let front = |matched: &Matched| {
        let part = matched.ours.strip_prefix(ours)?;
        matched.theirs.strip_suffix(part).map(str::to_owned)
    };
    let word = |matched: &Matched| match (&matched.reshaped, matched.ours == matched.theirs) {
        (Some(_), _) => "reshaped",
        (None, _) if folded => "folded",
        (None, true) => "matched",
        (None, false) => "renamed",
    };
    let shape = |matched: &Matched| match &matched.reshaped {
        Some(own) => format!("{} from {}", size(&matched.shape), size(own)),
        None => size(&matched.shape),
    };
    // Converters of .tflite files join the names of all operators that became one.
    let shown = |theirs: &str| theirs.split(';').next().unwrap_or(theirs).to_owned();
    let common =
        front(first).filter(|_| parts.iter().all(|part| front(part) == front(first) && part.reshaped.is_none()));
    match common {
        Some(theirs) => vec![[word(first).into(), ours.to_owned(), shape(first), theirs]],
        None => {
            parts.iter().map(|part| [word(part).into(), part.ours.clone(), shape(part), shown(&part.theirs)]).collect()
        }
    }
}

/// `64 × 3 × 7 × 7`.
fn size(shape: &[usize]) -> String {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    sizes.join(" × ")
}
