//! The geometry of the drawings about layers: bits and bytes as bars, weights before and after as
//! histograms.

use super::charts::{Scale, Tick, byte_ticks, tenth};
use super::numbers::{bytes, compact, grouped};
use pocketflow::report::{Histogram, LayerReport};
use serde::Serialize;
use std::fmt::Write as _;

const OFF: u32 = 32;
const LEFT: f64 = 52.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 186.0;
/// Room below the bars for the slanted names.
pub const NAMES: f64 = 112.0;
/// With more layers than this, a chart takes the whole width of the page.
const HALF_WIDTH: usize = 26;

/// A bar chart with one bar a layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bars {
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    bottom: f64,
    /// Does not fit half the page.
    wide: bool,
    y_ticks: Vec<Tick>,
    bars: Vec<Bar>,
    /// The bars show bits, not bytes.
    of_bits: bool,
    /// One of the bars stands for 32 bits and is cut off.
    hatched: bool,
    /// One of the bars has a mark.
    marked: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Bar {
    x: f64,
    width: f64,
    center: f64,
    /// Top of the bar.
    y: f64,
    /// Top of the bar behind it.
    behind: Option<f64>,
    class: &'static str,
    label: String,
    label_y: f64,
    /// Height of the mark for the activation's bits.
    mark: Option<f64>,
    name: String,
    text: String,
}

/// A small multiple: the weights of one layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Weights {
    name: String,
    note: String,
    text: String,
    before: String,
    after: Option<String>,
    low: String,
    high: String,
    /// Where 0 is, if in range.
    zero: Option<f64>,
}

/// Size of a histogram's drawing.
pub const WEIGHTS_SIZE: (f64, f64) = (180.0, 72.0);

/// Bits of weights as bars, of activations as marks; `None` where nothing is quantized.
pub fn bits(layers: &[LayerReport]) -> Option<Bars> {
    let used = layers.iter().flat_map(|layer| [Some(layer.weight_bits), layer.activation_bits]).flatten();
    let most = used.filter(|bits| *bits < OFF).max()?;
    // Bars of 32 bits beside bars of 4 would leave nothing to see of the 4: they are cut off, and
    // hatched to say so.
    let y_ticks = bit_ticks(most);
    let high = y_ticks[y_ticks.len() - 1].0;
    bars(layers, y_ticks, |layer, y| {
        let cut = |bits: u32| y.at(f64::from(bits).min(high));
        let activation = match layer.activation_bits {
            None => String::new(),
            Some(bits @ OFF..) => format!("\nactivations {bits} bits (not quantized)"),
            Some(bits) => format!("\nactivations {bits} bits"),
        };
        let off = layer.weight_bits >= OFF;
        let (top, mark) = (cut(layer.weight_bits), layer.activation_bits.filter(|bits| *bits < OFF).map(cut));
        // Clear of a mark that sits on the edge of the bar.
        let label_y = match mark {
            Some(mark) if (top - 18.0..top + 5.0).contains(&mark) => tenth(mark - 9.0),
            _ => tenth(top - 5.0),
        };
        let note = if off { " (not quantized)" } else { "" };
        Bar {
            y: top,
            class: if off { "off" } else { "on" },
            label: layer.weight_bits.to_string(),
            label_y,
            mark,
            text: format!("{}\nweights {} bits{note}{activation}", layer.name, layer.weight_bits),
            ..Bar::default()
        }
    })
}

/// Whole numbers of bits from 0 up to one more than `most`, with their texts.
pub fn bit_ticks(most: u32) -> Vec<(f64, String)> {
    let needed = most.clamp(4, OFF) + 1;
    let step = needed.div_ceil(5).next_power_of_two();
    (0..=needed.div_ceil(step)).map(|index| (f64::from(index * step), (index * step).to_string())).collect()
}

/// Bytes of each layer in the file, before 32 bits a weight.
pub fn sizes(layers: &[LayerReport]) -> Option<Bars> {
    let most = layers.iter().map(|layer| layer.bytes.max(full(layer))).max()?;
    let y_ticks = byte_ticks(0.0, most.max(1) as f64, 4);
    bars(layers, y_ticks, |layer, y| Bar {
        y: y.at(layer.bytes as f64),
        behind: Some(y.at(full(layer) as f64)),
        text: format!("{}\nfull precision {}\nin the file {}", layer.name, bytes(full(layer)), bytes(layer.bytes)),
        ..Bar::default()
    })
}

/// What the weights of a layer take in 32 bits.
pub fn full(layer: &LayerReport) -> u64 {
    layer.params.saturating_mul(4)
}

impl Default for Bar {
    fn default() -> Self {
        let (x, width, center, y) = (0.0, 0.0, 0.0, BOTTOM);
        let (label, name, text) = (String::new(), String::new(), String::new());
        Self { x, width, center, y, behind: None, class: "on", label, label_y: y, mark: None, name, text }
    }
}

fn bars(
    layers: &[LayerReport],
    y_ticks: Vec<(f64, String)>,
    draw: impl Fn(&LayerReport, &Scale) -> Bar,
) -> Option<Bars> {
    if layers.is_empty() {
        return None;
    }
    let wide = layers.len() > HALF_WIDTH;
    let width = if wide { 1160.0_f64.max(layers.len() as f64 * 15.0) } else { 560.0 };
    let right = width - 12.0;
    let y = Scale::new((0.0, y_ticks.last()?.0), (BOTTOM, TOP));
    let pitch = (right - LEFT) / layers.len() as f64;
    let bars: Vec<Bar> = layers
        .iter()
        .enumerate()
        .map(|(index, layer)| {
            let x = LEFT + pitch * index as f64;
            let thick = (pitch * 0.7).min(36.0);
            let center = tenth(x + pitch / 2.0);
            let (x, width) = (tenth(x + (pitch - thick) / 2.0), tenth(thick));
            Bar { x, width, center, name: shortened(&layer.name), ..draw(layer, &y) }
        })
        .collect();
    let of_bits = bars.iter().any(|bar| !bar.label.is_empty());
    let hatched = bars.iter().any(|bar| bar.class == "off");
    let marked = bars.iter().any(|bar| bar.mark.is_some());
    let y_ticks = y_ticks.into_iter().map(|(value, text)| Tick { at: y.at(value), text }).collect();
    Some(Bars {
        width,
        height: BOTTOM + NAMES,
        left: LEFT,
        right,
        bottom: BOTTOM,
        wide,
        y_ticks,
        bars,
        of_bits,
        hatched,
        marked,
    })
}

/// The end of a name tells layers apart; what comes before may go.
pub fn shortened(name: &str) -> String {
    const LONGEST: usize = 21;
    let count = name.chars().count();
    if count <= LONGEST {
        name.into()
    } else {
        std::iter::once('…').chain(name.chars().skip(count - LONGEST + 1)).collect()
    }
}

/// The weights of all layers that have a histogram.
pub fn weights(layers: &[LayerReport]) -> Vec<Weights> {
    layers.iter().filter_map(|layer| layer_weights(layer, layer.histogram.as_ref()?)).collect()
}

fn layer_weights(layer: &LayerReport, histogram: &Histogram) -> Option<Weights> {
    let before = area(&histogram.before)?;
    let quantized = layer.weight_bits < OFF;
    let after = if quantized { area(&histogram.after) } else { None };
    let note = match quantized {
        true => format!("{} bits", layer.weight_bits),
        false => "full precision".into(),
    };
    let (low, high) = (histogram.min, histogram.max);
    let zero = (low < 0.0 && high > 0.0).then(|| Scale::new((low, high), (0.0, WEIGHTS_SIZE.0)).at(0.0));
    let mut text =
        format!("{}: {} weights from {} to {}", layer.name, grouped(layer.params), compact(low), compact(high));
    if quantized {
        let _ = write!(text, "\n{note}; error {} of the standard deviation", error(layer));
    }
    Some(Weights { name: layer.name.clone(), note, text, before, after, low: compact(low), high: compact(high), zero })
}

/// The relative error of the weights, as text.
pub fn error(layer: &LayerReport) -> String {
    match layer.weight_bits < OFF {
        true if layer.weight_error.is_finite() => format!("{:.1} %", layer.weight_error * 100.0),
        true => "n/a".into(),
        false => "-".into(),
    }
}

/// The outline of bars without gaps, the tallest as tall as the drawing; `None` for no counts at
/// all.
fn area(counts: &[u64]) -> Option<String> {
    let (width, height) = WEIGHTS_SIZE;
    let most = *counts.iter().max().filter(|most| **most > 0)? as f64;
    let bin = width / counts.len() as f64;
    let mut path = format!("M0 {height}");
    let mut last = None;
    for (index, count) in counts.iter().enumerate() {
        let y = tenth(height - *count as f64 / most * (height - 2.0));
        if last != Some(y) {
            let _ = write!(path, "H{}V{y}", tenth(index as f64 * bin));
        }
        last = Some(y);
    }
    let _ = write!(path, "H{width}V{height}Z");
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(weight_bits: u32, activation_bits: Option<u32>) -> LayerReport {
        LayerReport {
            name: "conv".into(),
            params: 1024,
            weight_bits,
            activation_bits,
            bytes: 600,
            ..Default::default()
        }
    }

    #[test]
    fn full_precision_is_cut_off_beside_few_bits() {
        let bars = bits(&[layer(32, None), layer(4, Some(8)), layer(2, Some(32))]).unwrap();
        assert!(bars.hatched && bars.marked);
        let tops: Vec<_> = bars.bars.iter().map(|bar| bar.y).collect();
        assert_eq!(tops[0], TOP);
        let texts: Vec<_> = bars.y_ticks.iter().map(|tick| tick.text.as_str()).collect();
        assert_eq!(texts, ["0", "2", "4", "6", "8", "10"]);
        assert!(tops[0] < tops[1] && tops[1] < tops[2], "{tops:?}");
        assert!(bars.bars[2].mark.is_none() && bars.bars[2].text.contains("activations 32 bits (not quantized)"));
        assert_eq!(bits(&[layer(32, None), layer(32, Some(32))]), None);
    }

    #[test]
    fn sizes_are_marked_in_round_numbers() {
        let bars = sizes(&[layer(4, None)]).unwrap();
        let texts: Vec<_> = bars.y_ticks.iter().map(|tick| tick.text.as_str()).collect();
        assert_eq!(texts, ["0", "1 KiB", "2 KiB", "3 KiB", "4 KiB"]);
        assert_eq!(bars.bars[0].behind, Some(TOP));
        assert!(sizes(&[LayerReport::default()]).is_some());
    }

    #[test]
    fn a_histogram_without_counts_is_left_out() {
        assert_eq!(area(&[]), None);
        assert_eq!(area(&[0, 0]), None);
        assert_eq!(area(&[1, 1, 2]).unwrap(), "M0 72H0V37H120V2H180V72Z");
    }
}
