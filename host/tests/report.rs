//! The report of a realistic run, written as the program writes it: ResNet-20 trained for 25 epochs
//! and fine-tuned for 10 at 4 bits. The page stays in `target/tmp/report` to be looked at.

use host::report::{Recorder, summary, write};
use pocketflow::job::Event;
use pocketflow::option::{OptionSpec, Value};
use pocketflow::report::{Histogram, LayerReport, Report};
use pocketflow::settings::{Origin, Setting, Settings};
use std::path::{Path, PathBuf};

/// A figure between -1 and 1 that looks random and is the same every time.
fn noise(seed: u64) -> f64 {
    let mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 31).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed >> 40) as f64 / f64::from(1 << 23) - 1.0
}

fn histogram(seed: u64, bits: u32) -> Histogram {
    let (bins, spread) = (64, 0.05 + 0.2 / (1.0 + seed as f64));
    let max = spread * 3.5;
    let center = |bin: usize| (2.0 * (bin as f64 + 0.5) / bins as f64 - 1.0) * max;
    let count = |bin: usize| {
        let z = (center(bin) - 0.1 * spread) / spread;
        ((-0.5 * z * z).exp() * 900.0 * (1.0 + 0.12 * noise(seed * 64 + bin as u64))) as u64
    };
    let before: Vec<u64> = (0..bins).map(count).collect();
    let mut after = vec![0; bins];
    let levels = 2_usize.pow(bits.min(6)) - 1;
    for (bin, count) in before.iter().enumerate() {
        let level = (bin * levels + (bins - 1) / 2) / (bins - 1);
        after[level * (bins - 1) / levels] += count;
    }
    Histogram { min: -max, max, before: before.clone(), after: if bits < 32 { after } else { before } }
}

fn layer(name: &str, kind: &str, index: u64, params: u64, weight_bits: u32) -> LayerReport {
    let quantized = weight_bits < 32;
    LayerReport {
        name: name.into(),
        kind: kind.into(),
        params,
        weight_bits,
        activation_bits: (kind == "conv" && !name.contains("downsample")).then_some(4),
        bytes: params * u64::from(weight_bits) / 8 + if quantized { 8 } else { 0 },
        buckets: u64::from(quantized),
        weight_error: if quantized { 0.11 + 0.02 * noise(index) } else { 0.0 },
        histogram: Some(histogram(index, weight_bits)),
    }
}

fn layers() -> Vec<LayerReport> {
    let mut layers = vec![layer("conv1", "conv", 0, 432, 32)];
    let mut add = |name: String, params| {
        let index = layers.len() as u64;
        layers.push(layer(&name, "conv", index, params, 4));
    };
    for (stage, width) in [16, 32, 64].into_iter().enumerate() {
        for block in 0..3 {
            let narrows = stage > 0 && block == 0;
            let from = if narrows { width / 2 } else { width };
            add(format!("layer{}.{block}.conv1", stage + 1), 9 * from * width);
            add(format!("layer{}.{block}.conv2", stage + 1), 9 * width * width);
            if narrows {
                add(format!("layer{}.{block}.downsample.0", stage + 1), from * width);
            }
        }
    }
    layers.push(layer("fc", "fc", 21, 640, 32));
    layers
}

fn quantized() -> Report {
    let layers = layers();
    let params: u64 = layers.iter().map(|layer| layer.params).sum();
    let bits: u64 = layers.iter().map(|layer| layer.params * u64::from(layer.weight_bits)).sum();
    let model_bytes = layers.iter().map(|layer| layer.bytes).sum::<u64>() + 14_250;
    Report {
        learner: "uniform".into(),
        net: "resnet_at_cifar10".into(),
        dataset: "cifar10".into(),
        top1: 0.8621,
        top5: 0.9934,
        top1_full_precision: Some(0.868),
        top5_full_precision: Some(0.9941),
        loss: 0.4312,
        weight_bits_mean: bits as f64 / params as f64,
        layers,
        model_path: "./uql_quant_models/model.ckpt".into(),
        model_bytes,
        full_precision_bytes: params * 4 + 14_100,
        compression_ratio: (params * 4 + 14_100) as f64 / model_bytes as f64,
        bucket_bytes: 160,
        wall_seconds: 2245.3,
        images_per_second: 812.4,
        ..Report::default()
    }
}

fn settings() -> Settings {
    let mut settings = Settings::defaults([
        (
            "host",
            vec![
                OptionSpec::text("learner", "full-prec", ""),
                OptionSpec::text("net", "", "").optional(),
                OptionSpec::text("device", "auto", ""),
                OptionSpec::int("threads", 2, 1..=64, ""),
                OptionSpec::path("save_path", "./models/model.ckpt", ""),
                OptionSpec::path("run_dir", "", "").optional(),
            ],
        ),
        (
            "uniform",
            vec![OptionSpec::int("uql_weight_bits", 4, 1..=32, ""), OptionSpec::switch("uql_use_buckets", false, "")],
        ),
        ("resnet_cifar10", vec![OptionSpec::float("nb_epochs_rat", 1.0, 0.0..=10.0, "")]),
    ]);
    let mut set = |key: &str, value, origin| {
        let old = settings.entry(key).unwrap().clone();
        let overrode = vec![(old.value, old.origin)];
        settings.insert(key, Setting { value: Some(value), origin, overrode, owner: old.owner });
    };
    let flag = |name: &str| Origin::Flag { name: name.into() };
    set("learner", Value::Text("uniform".into()), flag("--learner"));
    set("net", Value::Text("resnet_at_cifar10".into()), flag("--net"));
    set(
        "save_path",
        Value::Text("./my models/it's.ckpt".into()),
        Origin::Variable { name: "POCKETFLOW_SAVE_PATH".into() },
    );
    set("run_dir", Value::Text("runs/a".into()), flag("--run-dir"));
    set("uql_use_buckets", Value::Bool(true), flag("--uql_use_buckets"));
    let file = Origin::File { path: "pocketflow.toml".into(), line: Some(12) };
    set("nb_epochs_rat", Value::Float(0.1), file);
    settings.derive("device", Value::Text("cpu".into()), "no GPU was found");
    settings
}

/// The events of both phases.
fn events() -> Vec<Event> {
    let per_epoch = 391;
    let mut events =
        vec![Event::Note { text: "no model at ./models/model.ckpt: full-prec trains it first".into(), warning: true }];
    for (name, epochs, start, end) in [("full-prec", 25_u64, 2.25, 0.28), ("uniform", 10, 0.42, 0.33)] {
        let steps = epochs * per_epoch;
        events.push(Event::Phase { name: name.into(), steps, done: 0 });
        for step in (23..=steps).step_by(23) {
            let share = step as f64 / steps as f64;
            let smooth = end + (start - end) * (1.0 - share).powi(4);
            let loss = smooth * (1.0 + 0.05 * noise(step));
            let top1 = 1.0 - loss * 0.38 + 0.01 * noise(step + 1);
            let epoch = step as f64 / per_epoch as f64;
            let phase = name.to_owned();
            events.push(Event::Step {
                phase,
                step,
                epoch,
                loss,
                top1,
                lrn_rate: 0.1 * (1.0 - share),
                images_per_second: 812.0,
            });
            if step / per_epoch > (step - 23) / per_epoch {
                let loss = smooth * 1.1 + 0.12 * (1.0 - share) * (1.0 + noise(step + 7));
                let (top1, top5, epoch) = (1.0 - loss * 0.36, 1.0 - loss * 0.04, epoch.floor());
                let (phase, split) = (name.to_owned(), "eval".to_owned());
                events.push(Event::Evaluation { phase, split, step, epoch, loss, top1, top5 });
            }
        }
        events.push(Event::PhaseEnd { name: name.into(), seconds: 4.0 * per_epoch as f64 });
    }
    events
}

/// Records the events, writes report and page; the page as text.
fn written(run_dir: &Path, report: &Report, settings: &Settings, events: &[Event]) -> String {
    let mut recorder = Recorder::open(run_dir, false).unwrap();
    events.iter().for_each(|event| recorder.event(event).unwrap());
    recorder.finish().unwrap();
    write(run_dir, report, settings).unwrap();
    std::fs::read_to_string(run_dir.join("report.html")).unwrap()
}

fn shown(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_whole_run() {
    let (folder, report) = (shown("uniform"), quantized());
    let page = written(&folder, &report, &settings(), &events());
    let json = std::fs::read_to_string(folder.join("report.json")).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    for text in [
        "86.21 <small>%</small>",
        "difference -0.59 points",
        "uniform, epoch 10\ntraining ",
        "layer3.2.conv2\nweights 4 bits\nactivations 4 bits",
        "pocketflow.toml:12",
        "<small>instead of 1.0 (default of resnet_cifar10)</small>",
    ] {
        assert!(page.contains(text), "`{text}` is missing");
    }
    assert_eq!(page.matches("class=\"before\"").count(), report.layers.len());
    assert_eq!(page.matches("class=\"curve ").count(), 8, "loss and accuracy, training and test, of two phases");
    assert!(!page.contains("STAND-IN"), "the data is real");
}

#[test]
fn nothing_is_loaded_from_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let page = written(folder.path(), &quantized(), &settings(), &events());
    for forbidden in ["http:", "https:", "//", "<script", "<link rel=\"style", "@import", "src=", "<img", "<iframe"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    let references: Vec<&str> = page.split("url(").skip(1).map(|rest| &rest[..rest.find(')').unwrap()]).collect();
    assert!(references.iter().all(|target| target.starts_with('#')), "{references:?}");
}

#[test]
fn a_hostile_name_is_only_text() {
    let folder = tempfile::tempdir().unwrap();
    let hostile = "</title><script>alert('1')</script>\"&";
    let mut report = quantized();
    report.layers[3].name = hostile.into();
    report.net = hostile.into();
    report.model_path = hostile.into();
    let mut settings = settings();
    settings.derive("device", Value::Text(hostile.into()), hostile);
    let mut events = events();
    events.push(Event::Note { text: hostile.into(), warning: false });
    for step in 0..2 {
        let (phase, name) = (hostile.into(), hostile.into());
        events.push(Event::Scalar { phase, name, step, value: 0.5 });
    }
    let (phase, split) = (hostile.into(), hostile.into());
    events.push(Event::Evaluation { phase, split, step: 1, epoch: 20.0, loss: 1.0, top1: 0.5, top5: 0.6 });
    let page = written(folder.path(), &report, &settings, &events);
    assert!(!page.contains("<script"), "a script came through");
    assert!(page.matches("&lt;script&gt;alert(&#x27;1&#x27;)&lt;&#x2f;script&gt;&quot;&amp;").count() > 8);
}

#[test]
fn a_run_with_little_to_tell() {
    let layers: Vec<_> = layers()
        .into_iter()
        .map(|layer| LayerReport {
            weight_bits: 32,
            activation_bits: None,
            bytes: layer.params * 4,
            histogram: None,
            ..layer
        })
        .collect();
    let bytes = layers.iter().map(|layer| layer.bytes).sum();
    let report = Report {
        learner: "full-prec".into(),
        net: "resnet_at_cifar10".into(),
        dataset: "synthetic".into(),
        stand_in_data: true,
        top1: 0.93,
        top5: 0.999,
        loss: 0.2,
        weight_bits_mean: 32.0,
        layers,
        model_path: "./models/model.ckpt".into(),
        model_bytes: bytes,
        full_precision_bytes: bytes,
        compression_ratio: 1.0,
        wall_seconds: 62.0,
        images_per_second: 900.0,
        ..Report::default()
    };
    let page = written(&shown("full-prec"), &report, &settings(), &events()[..220]);
    assert!(page.contains("<strong>STAND-IN DATA</strong>"));
    assert!(!page.contains("Bits per layer") && page.contains("Bytes per layer"));
    assert!(!page.contains("class=\"before\"") && !page.contains("class=\"mark\""));
    insta::assert_snapshot!(summary(&Report { layers: report.layers[..2].to_vec(), ..report }), @r#"
    resnet_at_cifar10 · full-prec · synthetic · seed 0
    STAND-IN DATA: these images are made up on the fly; the accuracy says nothing about the real data set.

                            full precision
    ─────────────────────────────────────────
    top-1 accuracy                 93.00 %
    top-5 accuracy                 99.90 %
    loss                            0.2000
    bytes on disk     1,083,584 (1.03 MiB)

    layer             kind    params    weight bits    activation bits    bytes    buckets
    ─────────────────────────────────────────────────────────────────────────────────────────
    conv1             conv       432             32                  -    1,728          0
    layer1.0.conv1    conv     2,304             32                  -    9,216          1

    time    1 min 02 s, 900 images/s
    model   ./models/model.ckpt
    "#);

    // What is no success is said below the figures.
    let larger = Report {
        model_bytes: 2_000,
        full_precision_bytes: 1_000,
        compression_ratio: 0.5,
        bucket_bytes: 1_500,
        weight_bits_mean: 4.0,
        warnings: vec!["the network answers class 1".into()],
        ..Report::default()
    };
    let text = summary(&larger);
    for said in
        ["2.00 x larger", "warning: the network answers class 1", "2,000 bytes, more than the 1,000", "1,500 of"]
    {
        assert!(text.contains(said), "{said}: {text}");
    }

    // Nothing at all, not even figures that are numbers, is still a page and a table.
    let nothing = Report { top1: f64::NAN, wall_seconds: f64::NAN, weight_bits_mean: f64::NAN, ..Report::default() };
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &nothing, &Settings::default()).unwrap();
    assert!(std::fs::read_to_string(folder.path().join("report.html")).unwrap().contains("n&#x2f;a"));
    assert!(summary(&nothing).contains("n/a"));
}

#[test]
fn the_table_at_the_end() {
    let report = quantized();
    let layers = [&report.layers[..3], &report.layers[20..]].concat();
    insta::assert_snapshot!(summary(&Report { layers, ..report }), @r#"
    resnet_at_cifar10 · uniform · cifar10 · seed 0

                                         full precision              quantized        difference
    ───────────────────────────────────────────────────────────────────────────────────────────────
    top-1 accuracy                              86.80 %                86.21 %      -0.59 points
    top-5 accuracy                              99.41 %                99.34 %      -0.07 points
    loss                                              -                 0.4312
    bytes on disk                  1,097,684 (1.05 MiB)    153,610 (150.0 KiB)    7.15 x smaller
      of them ranges of buckets                                            160
    mean bits of a weight                            32                   4.11

    layer             kind    params    weight bits    activation bits     bytes    buckets
    ──────────────────────────────────────────────────────────────────────────────────────────
    conv1             conv       432             32                  4     1,728          0
    layer1.0.conv1    conv     2,304              4                  4     1,160          1
    layer1.0.conv2    conv     2,304              4                  4     1,160          1
    layer3.2.conv2    conv    36,864              4                  4    18,440          1
    fc                fc         640             32                  -     2,560          0

    time    37 min 25 s, 812 images/s
    model   ./uql_quant_models/model.ckpt
    "#);
}

#[test]
fn many_layers_and_other_figures() {
    let mut report = quantized();
    let many = (0..53).map(|index| {
        let mut layer = layer(
            &format!("features.{index}.block.conv.0"),
            "depthwise",
            index,
            1000 + 900 * index,
            2 + (index % 7) as u32,
        );
        layer.activation_bits = Some(8);
        layer
    });
    report.layers = many.collect();
    let mut events = events();
    for step in 0..200 {
        let value = 0.5 + 0.3 * (step as f64 / 200.0) + 0.1 * noise(step);
        events.push(Event::Scalar { phase: "search".into(), name: "reward".into(), step, value });
    }
    let page = written(&shown("many"), &report, &settings(), &events);
    assert!(page.contains("search: reward") && page.contains("step 199: "));
    assert_eq!(page.matches("class=\"bar-hover\"").count(), 2 * 53);
}

#[test]
fn names_from_outside_are_short_and_plain_in_the_page_and_in_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let bad = "fc\u{1b}[2J\u{202e}\r<b>";
    let long = "x".repeat(1 << 20);
    let mut report = quantized();
    (report.net, report.layers[1].name, report.layers[2].name) = (bad.into(), bad.into(), long.clone());
    report.warnings.push(format!("layer `{bad}`"));
    let mut settings = Settings::default();
    let setting = Setting {
        value: Some(Value::Text(long)),
        origin: Origin::Flag { name: bad.into() },
        overrode: vec![(Some(Value::Text(bad.into())), Origin::Variable { name: "X".into() })],
        owner: "host".into(),
    };
    settings.insert("data_dir", setting);
    let mut recorder = Recorder::open(dir.path(), false).unwrap();
    recorder.event(&Event::Note { text: bad.into(), warning: true }).unwrap();
    recorder.event(&Event::Scalar { phase: bad.into(), name: bad.into(), step: 1, value: 1.0 }).unwrap();
    recorder.event(&Event::Scalar { phase: bad.into(), name: bad.into(), step: 2, value: 2.0 }).unwrap();
    recorder.finish().unwrap();
    write(dir.path(), &report, &settings).unwrap();
    let page = std::fs::read_to_string(dir.path().join("report.html")).unwrap();
    for text in [&page, &summary(&report)] {
        assert!(text.contains("fc\\u{1b}[2J\\u{202e}\\r"), "{text}");
        assert!(!text.contains(|each: char| each.is_control() && each != '\n'), "{text}");
        assert!(!text.contains('\u{202e}') && !text.contains(&"x".repeat(4_001)), "{}", text.len());
    }
    assert!(!page.contains("<b>fc"), "{page}");
}
