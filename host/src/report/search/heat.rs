//! Sensitivity as a heat map: how much the loss against the full-precision network's answers grows
//! with one layer alone at some number of bits.

use super::super::charts::{Tick, tenth};
use super::super::layers::NAMES;
use super::super::numbers::compact;
use super::columns::Columns;
use super::{chosen, method_name};
use pocketflow::report::search::SearchReport;
use serde::Serialize;

const TOP: f64 = 6.0;
const ROW: f64 = 27.0;
/// Between cells.
const GAP: f64 = 2.0;
/// Losses grow by factors from one number of bits to the next: the scale is logarithmic. What is
/// this much smaller than the largest is as good as nothing.
const DECADES: f64 = 3.0;
/// Text on a cell above this share of the scale is in the other of black and white.
const STRONG: f64 = 0.75;

/// One column a layer, one row a number of bits, the most bits on top.
#[derive(Debug, PartialEq, Serialize)]
pub struct Heat {
    columns: Columns,
    height: f64,
    bottom: f64,
    rows: Vec<Tick>,
    cells: Vec<Cell>,
    /// What the ends of the scale stand for; `None` where nothing grows.
    scale: Option<(String, String)>,
    /// The method whose bits are framed.
    framed: Option<String>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Cell {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    center: f64,
    middle: f64,
    /// 0–1; `None`: not a number.
    opacity: Option<f64>,
    strong: bool,
    framed: bool,
    value: String,
    text: String,
}

/// The map; `None` where there is nothing to draw.
pub fn heat(search: &SearchReport) -> Option<Heat> {
    let sensitivity = search.sensitivity.as_ref()?;
    let columns = Columns::of(&search.layers)?;
    let measured = search.layers.iter().zip(&sensitivity.loss);
    let largest = measured.clone().flat_map(|(_, losses)| losses).filter(|loss| loss.is_finite() && **loss > 0.0);
    let largest = largest.copied().reduce(f64::max);
    let least = largest.map(|largest| largest / 10_f64.powf(DECADES));
    let share = |loss: f64| match (least, loss > 0.0) {
        (Some(least), true) => ((loss / least).log10() / DECADES).clamp(0.0, 1.0),
        _ => 0.0,
    };
    let taken = chosen(search);
    let mut order: Vec<usize> = (0..sensitivity.bits.len()).collect();
    order.sort_by_key(|column| std::cmp::Reverse(sensitivity.bits[*column]));
    let mut cells = Vec::new();
    for (layer, (name, losses)) in measured.enumerate() {
        let (x, width) = (columns.at(layer) + GAP / 2.0, columns.pitch - GAP);
        for (row, column) in order.iter().enumerate() {
            let Some(loss) = losses.get(*column).copied() else { continue };
            let bits = sensitivity.bits[*column];
            let y = TOP + ROW * row as f64 + GAP / 2.0;
            let framed = taken.is_some_and(|taken| taken.bits.get(layer) == Some(&bits));
            let note = match taken {
                Some(taken) if framed => format!("\n{} takes these bits", method_name(&taken.method)),
                _ => String::new(),
            };
            cells.push(Cell {
                x: tenth(x),
                y,
                width: tenth(width),
                height: ROW - GAP,
                center: tenth(x + width / 2.0),
                middle: y + (ROW - GAP) / 2.0,
                opacity: loss.is_finite().then(|| (share(loss) * 100.0).round() / 100.0),
                strong: loss.is_finite() && share(loss) > STRONG,
                framed,
                value: short(loss),
                text: format!("{name} alone at {bits} bits\nloss {}{note}", grown(loss)),
            });
        }
    }
    let rows = order.iter().enumerate().map(|(row, column)| Tick {
        at: TOP + ROW * (row as f64 + 0.5),
        text: format!("{} bits", sensitivity.bits[*column]),
    });
    let bottom = TOP + ROW * order.len() as f64;
    let framed = cells.iter().any(|cell| cell.framed);
    (!cells.is_empty()).then(|| Heat {
        columns,
        height: bottom + NAMES,
        bottom,
        rows: rows.collect(),
        cells,
        scale: least.zip(largest).map(|(least, largest)| (compact(least), compact(largest))),
        framed: taken.filter(|_| framed).map(|taken| method_name(&taken.method).to_owned()),
    })
}

/// In at most six letters, for a cell.
fn short(loss: f64) -> String {
    let text = match loss.abs() {
        _ if loss.is_nan() => return "n/a".into(),
        f64::INFINITY => return if loss > 0.0 { "∞" } else { "-∞" }.into(),
        10_000.0.. => return format!("{loss:.0e}"),
        100.0.. => format!("{loss:.0}"),
        10.0.. => format!("{loss:.1}"),
        1.0.. => format!("{loss:.2}"),
        _ => format!("{loss:.3}"),
    };
    // Noise about nothing is nothing, whatever its sign.
    if text == "-0.000" || text == "0.000" { "0".into() } else { text }
}

fn grown(loss: f64) -> String {
    let sign = if loss > 0.0 { "+" } else { "" };
    if loss.is_finite() { format!("{sign}{}", compact(loss)) } else { short(loss) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocketflow::report::search::{Candidate, Sensitivity};

    fn search(loss: Vec<Vec<f64>>) -> SearchReport {
        SearchReport {
            layers: vec!["a".into(), "b".into()],
            candidates: vec![Candidate { method: "rl".into(), bits: vec![2, 4], ..Candidate::default() }],
            chosen: "rl".into(),
            sensitivity: Some(Sensitivity { bits: vec![2, 4], loss }),
            ..SearchReport::default()
        }
    }

    #[test]
    fn the_scale_is_logarithmic_and_most_bits_are_on_top() {
        let drawing = heat(&search(vec![vec![1.0, 0.01], vec![f64::INFINITY, -0.002]])).unwrap();
        assert_eq!(drawing.rows[0].text, "4 bits");
        let cells: Vec<_> = drawing.cells.iter().map(|cell| (cell.opacity, cell.value.as_str(), cell.framed)).collect();
        assert_eq!(
            cells,
            [(Some(0.33), "0.010", false), (Some(1.0), "1.00", true), (Some(0.0), "-0.002", true), (None, "∞", false)]
        );
        assert_eq!(drawing.scale, Some(("0.001".into(), "1".into())));
        assert_eq!(drawing.cells[1].text, "a alone at 2 bits\nloss +1\nagent takes these bits");
    }

    #[test]
    fn rows_of_another_length_do_no_harm() {
        let drawing = heat(&search(vec![vec![1.0], vec![], vec![1.0, 2.0]])).unwrap();
        assert_eq!(drawing.cells.len(), 1);
        assert_eq!(heat(&search(Vec::new())), None);
        assert_eq!(heat(&SearchReport { layers: Vec::new(), ..search(vec![vec![1.0]]) }), None);
        assert_eq!(heat(&search(vec![vec![f64::NAN, -1.0]])).unwrap().scale, None);
    }

    #[test]
    fn values_fit_a_cell() {
        let losses = [0.0421, 1.234, 12.34, 123.4, 12_345.0, -0.0001, f64::NAN, f64::NEG_INFINITY];
        assert_eq!(losses.map(short), ["0.042", "1.23", "12.3", "123", "1e4", "0", "n/a", "-∞"]);
    }
}
