//! The allocations side by side: how large, how accurate, and which was taken. For the page and for
//! the terminal.

use super::super::numbers::{grouped, percent, trimmed};
use super::super::table;
use super::{chosen, facts, mean_bits, method_class, method_name, range};
use pocketflow::report::search::{Candidate, SearchReport};
use serde::Serialize;

/// One allocation.
#[derive(Debug, PartialEq, Serialize)]
pub struct Row {
    class: &'static str,
    method: String,
    bits: String,
    mean_bits: String,
    bytes: String,
    before: String,
    after: String,
    chosen: bool,
}

/// In the order of the report.
pub fn rows(search: &SearchReport) -> Vec<Row> {
    let taken = chosen(search);
    let row = |candidate: &Candidate| Row {
        class: method_class(&candidate.method),
        method: method_name(&candidate.method).into(),
        bits: match (candidate.bits.iter().min(), candidate.bits.iter().max()) {
            (Some(least), Some(most)) => range(*least, *most),
            _ => "-".into(),
        },
        mean_bits: mean_bits(&candidate.bits, &search.params).map_or("-".into(), |mean| trimmed(mean, 3)),
        bytes: grouped(candidate.bytes),
        before: percent(candidate.top1_before),
        after: candidate.top1_after.map_or("-".into(), percent),
        chosen: taken.is_some_and(|taken| std::ptr::eq(taken, candidate)),
    };
    search.candidates.iter().map(row).collect()
}

/// The comparison for the terminal, under a line that says at which budget; `None` where nothing
/// was compared. Ends with a line break.
pub fn table(search: &SearchReport) -> Option<String> {
    let rows = rows(search);
    if rows.is_empty() {
        return None;
    }
    let header = ["allocation", "bits", "mean bits", "bytes", "top-1 before tuning", "top-1 after tuning", ""];
    let mut table = table::table(&header, |index| (1..6).contains(&index));
    for row in rows {
        let chosen = if row.chosen { "chosen" } else { "" };
        table.add_row([&row.method, &row.bits, &row.mean_bits, &row.bytes, &row.before, &row.after, chosen]);
    }
    Some(format!("{}\n\n{}\n", facts(search).join(" · "), table.trim_fmt()))
}
