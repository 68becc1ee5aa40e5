//! The report of a search for bits per layer: ResNet-20, 200 roll-outs at 2.5 bits. The page stays
//! in `target/tmp/report/search` to be looked at.

use host::report::{summary, write};
use pocketflow::report::Report;
use pocketflow::report::search::{Candidate, FrontPoint, RolloutReport, SearchReport, Sensitivity};
use pocketflow::settings::Settings;
use std::path::Path;

/// A figure between -1 and 1 that looks random and is the same every time.
fn noise(seed: u64) -> f64 {
    let mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 31).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed >> 40) as f64 / f64::from(1 << 23) - 1.0
}

/// Name and weights of the layers of a ResNet-20 but for the first and the last.
fn layers() -> (Vec<String>, Vec<u64>) {
    let mut layers = Vec::new();
    for (stage, width) in [16_u64, 32, 64].into_iter().enumerate() {
        for block in 0..3 {
            let narrows = stage > 0 && block == 0;
            let from = if narrows { width / 2 } else { width };
            layers.push((format!("layer{}.{block}.conv1", stage + 1), 9 * from * width));
            layers.push((format!("layer{}.{block}.conv2", stage + 1), 9 * width * width));
            if narrows {
                layers.push((format!("layer{}.{block}.downsample.0", stage + 1), from * width));
            }
        }
    }
    layers.into_iter().unzip()
}

/// A loss that grows as bits fall, most in the narrow layers; the last noise about nothing.
fn loss(layer: usize, bits: u32) -> f64 {
    let tender = 2.2 / (1.0 + layer as f64 * 0.8) * (1.3 + noise(layer as u64));
    tender * 0.28_f64.powi(bits as i32 - 2) + 0.0015 * noise(layer as u64 * 8 + u64::from(bits))
}

fn search() -> SearchReport {
    let (layers, params) = layers();
    let count = layers.len();
    let candidate = |method: &str, bits: Vec<u32>, before, after| {
        let bytes = bits.iter().zip(&params).map(|(bits, params)| u64::from(*bits) * params / 8 + 8).sum();
        Candidate { method: method.into(), bits, bytes, top1_before: before, top1_after: after }
    };
    let falling = |layer: usize, shift: usize| match (layer + shift) * 7 / count {
        0..2 => 4,
        2..4 => 3 + u32::from(noise(layer as u64) > 0.3),
        4..5 => 3,
        _ => 2,
    };
    let candidates = vec![
        candidate("uniform", vec![2; count], 0.559, Some(0.842)),
        candidate("sensitivity", (0..count).map(|layer| falling(layer, 2)).collect(), 0.832, Some(0.861)),
        candidate("rl", (0..count).map(|layer| falling(layer, 1)).collect(), 0.8385, Some(0.8632)),
    ];
    let mut best = 0.0_f64;
    let rollouts = (0..200_u64).map(|index| {
        let learnt = if index < 50 { 0.0 } else { 1.0 - (-(index as f64 - 50.0) / 30.0).exp() };
        let reward = 0.62 + 0.2 * learnt + (0.16 - 0.12 * learnt) * noise(index);
        best = best.max(reward);
        let bits = (0..count as u64).map(|layer| 3 + u32::from(noise(index * 32 + layer) > 0.0)).collect();
        RolloutReport { bits, reward, best, ..RolloutReport::default() }
    });
    let rollouts = rollouts.collect();
    let columns: Vec<u32> = (2..=8).collect();
    let front = [(2.0, 83.2), (2.5, 86.4), (3.0, 88.0), (4.0, 89.6)].into_iter().enumerate();
    let front = front.flat_map(|(place, (bits, top1))| {
        // Between 2 and 3 bits, uniform bits are 2.
        let even = [(2.0, 55.9), (3.0, 87.5), (4.0, 89.4)].into_iter().rfind(|even| even.0 <= bits).unwrap();
        let methods = [("uniform", even.1 - top1), ("sensitivity", 0.0), ("rl", 0.3 - 0.25 * place as f64)];
        methods.map(|(method, more)| FrontPoint {
            equivalent_bits: bits,
            method: method.into(),
            bits: Vec::new(),
            bytes: (270_000.0 * if method == "uniform" { bits.floor() } else { bits - 0.02 } / 8.0) as u64,
            top1: (top1 + more) / 100.0,
        })
    });
    SearchReport {
        starts: 2,
        front: front.collect(),
        sensitivity: Some(Sensitivity {
            loss: (0..count).map(|layer| columns.iter().map(|bits| loss(layer, *bits)).collect()).collect(),
            bits: columns,
        }),
        layers,
        params,
        split: "val".into(),
        images: 1000,
        equivalent_bits: 2.5,
        bits_min: 2,
        bits_max: 8,
        candidates,
        chosen: "rl".into(),
        rollouts,
        first_learning: 50,
    }
}

fn page(folder: &Path, search: SearchReport) -> String {
    let report = Report {
        learner: "uniform".into(),
        net: "resnet_at_cifar10".into(),
        dataset: "cifar10".into(),
        top1: 0.8604,
        search: Some(search),
        ..Report::default()
    };
    write(folder, &report, &Settings::default()).unwrap();
    std::fs::read_to_string(folder.join("report.html")).unwrap()
}

#[test]
fn a_whole_search() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report/search");
    std::fs::create_dir_all(&folder).unwrap();
    let search = search();
    let page = page(&folder, search.clone());
    let json = std::fs::read_to_string(folder.join("report.json")).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap().search, Some(search));
    for text in [
        "Budget 2.5 bits a weight on average · 2 to 8 bits a layer · accuracy on 1,000 validation images",
        "200 roll-outs of the agent, the first 2 as the other methods, the next 48 at random",
        "roll-out 50, random\nreward ",
        "roll-out 200\nreward ",
        "of the last quarter.",
        "layer1.0.conv1\n2,304 weights\nuniform bits: 2 bits\nsensitivity solver: 4 bits\nagent: 4 bits",
        "layer1.0.conv1 alone at 4 bits\nloss +",
        "agent, budget 2.5 bits\n86.45 %\n81.7 KiB (83,700 bytes)\non the Pareto front",
        "✓ chosen",
        "83.85 %",
    ] {
        assert!(page.contains(text), "`{text}` is missing");
    }
    assert_eq!(page.matches("<rect class=\"method ").count(), 20 * 3, "bars");
    assert_eq!(page.matches("class=\"heat\"").count(), 20 * 7, "cells");
    assert_eq!(page.matches("class=\"frame\"").count(), 20, "one cell of each layer is what the agent took");
    assert_eq!(page.matches("class=\"spot ").count(), 4 * 3);
    assert_eq!(page.matches("class=\"hover\"").count(), 200);
    for forbidden in ["http", "//", "<script", "src=", "<img", "@import"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn more_layers_than_the_page_is_wide() {
    let mut search = search();
    search.layers = (0..53).map(|index| format!("features.{index}.block.conv.0.pointwise")).collect();
    search.params = vec![4096; 53];
    for candidate in &mut search.candidates {
        candidate.bits = (0..53).map(|layer| 2 + (noise(layer) + 1.0) as u32 * 9 + layer as u32 % 3).collect();
    }
    let sensitivity = search.sensitivity.as_mut().unwrap();
    sensitivity.loss = (0..53).map(|layer| sensitivity.bits.iter().map(|bits| loss(layer, *bits)).collect()).collect();
    sensitivity.loss[7] = vec![f64::NAN, f64::INFINITY, 12_345.0, 123.4, 12.3, 1.0, -0.5];
    search.rollouts.truncate(20);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report/search-many");
    std::fs::create_dir_all(&folder).unwrap();
    let page = page(&folder, search);
    assert_eq!(page.matches("style=\"min-width: ").count(), 2, "both drawings scroll instead of shrinking");
    assert_eq!(page.matches("class=\"name\"").count(), 2 * 53);
}

#[test]
fn pieces_that_are_missing_leave_no_empty_frame() {
    let titles =
        ["Reward over roll-outs", "Accuracy against size", "Bits of each layer", "Sensitivity:", "<th>allocation"];
    let shown = |search: SearchReport| {
        let folder = tempfile::tempdir().unwrap();
        let page = page(folder.path(), search);
        titles.map(|title| page.contains(title))
    };
    assert_eq!(shown(search()), [true; 5]);
    assert_eq!(shown(SearchReport { rollouts: Vec::new(), ..search() }), [false, true, true, true, true]);
    assert_eq!(shown(SearchReport { front: Vec::new(), ..search() }), [true, false, true, true, true]);
    assert_eq!(shown(SearchReport { sensitivity: None, ..search() }), [true, true, true, false, true]);
    assert_eq!(shown(SearchReport { candidates: Vec::new(), ..search() }), [true, true, false, true, false]);
    assert_eq!(
        shown(SearchReport { layers: Vec::new(), params: Vec::new(), ..search() }),
        [true, true, false, false, true]
    );
    assert_eq!(shown(SearchReport::default()), [false; 5]);
}

#[test]
fn figures_that_are_no_numbers() {
    let mut search = search();
    search.equivalent_bits = f64::NAN;
    search.chosen = "nobody".into();
    search.first_learning = usize::MAX;
    for (index, rollout) in search.rollouts.iter_mut().enumerate() {
        rollout.reward = [f64::NAN, f64::INFINITY, 0.5][index % 3];
        rollout.best = f64::NEG_INFINITY;
    }
    for (candidate, accuracy) in search.candidates.iter_mut().zip([f64::NAN, f64::INFINITY, 0.5]) {
        (candidate.top1_before, candidate.top1_after) = (accuracy, Some(accuracy));
        candidate.bits.truncate(5);
    }
    let sensitivity = search.sensitivity.as_mut().unwrap();
    sensitivity.loss[0] = vec![f64::INFINITY, f64::NAN, f64::NEG_INFINITY];
    sensitivity.loss.truncate(3);
    search.front[0].top1 = f64::NAN;
    search.front[1].bytes = u64::MAX;
    let folder = tempfile::tempdir().unwrap();
    let page = page(folder.path(), search);
    let drawings = &page[page.find("Search for bits per layer").unwrap()..];
    for wrong in ["NaN", "inf"] {
        assert!(!drawings.contains(&format!("\"{wrong}")) && !drawings.contains(&format!(" {wrong}")), "{wrong}");
    }
    assert!(drawings.contains("Budget n&#x2f;a bits") && drawings.contains(">∞</text>"));
    assert!(!drawings.contains("chosen"), "nothing was");
}

#[test]
fn a_hostile_name_is_only_text() {
    let hostile = "\"><script>alert('1')</script>&";
    let mut search = search();
    (search.layers[3], search.split, search.chosen) = (hostile.into(), hostile.into(), hostile.into());
    search.candidates[1].method = hostile.into();
    search.front[4].method = hostile.into();
    let folder = tempfile::tempdir().unwrap();
    let page = page(folder.path(), search);
    assert!(!page.contains("<script") && !page.contains("\"\">"), "a script came through");
    // The layer in the bars and in every cell; the method in the table, the legends, the bars, the
    // frames and the front.
    let escaped = "&quot;&gt;&lt;script&gt;alert(&#x27;1&#x27;)&lt;&#x2f;script&gt;&amp;";
    assert!(page.matches(escaped).count() > 50, "{}", page.matches(escaped).count());
}

#[test]
fn the_table_at_the_end() {
    let report = Report {
        learner: "uniform".into(),
        net: "resnet_at_cifar10".into(),
        search: Some(search()),
        ..Report::default()
    };
    let text = summary(&report);
    let start = text.find("Budget").unwrap();
    insta::assert_snapshot!(&text[start..], @r"
    Budget 2.5 bits a weight on average · 2 to 8 bits a layer · accuracy on 1,000 validation images · 200 roll-outs of the agent, the first 2 as the other methods, the next 48 at random

    allocation              bits    mean bits     bytes    top-1 before tuning    top-1 after tuning
    ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
    uniform bits               2            2    67,616                55.90 %               84.20 %
    sensitivity solver    2 to 4        2.275    76,896                83.20 %               86.10 %
    agent                 2 to 4        2.386    80,640                83.85 %               86.32 %    chosen
    ");
    let mut search = search();
    (search.candidates[2].top1_after, search.candidates[0].top1_before) = (None, f64::NAN);
    search.chosen = String::new();
    let text = summary(&Report { search: Some(search), ..Report::default() });
    assert!(text.contains("n/a") && !text.contains("chosen"));
    let nothing = SearchReport { candidates: Vec::new(), ..SearchReport::default() };
    assert!(!summary(&Report { search: Some(nothing), ..Report::default() }).contains("Budget"));
}
