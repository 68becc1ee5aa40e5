//! The stand-in as a learner sees it: what it says of itself, that it never changes, and that its
//! classes can be learnt from what they are made of and from nothing simpler.

use pocketflow::dataset::{Batch, Dataset as _, DatasetInfo, Shard, Split};
use pocketflow::option::{OptionSpec, Value};
use pocketflow::plugin::Plugin as _;
use pocketflow::settings::Settings;
use pocketflow_synthetic::Synthetic;

fn settings(values: &[(&str, Value)]) -> Settings {
    let host = vec![OptionSpec::text("stand_in_for", "", "the data set that is replaced").optional()];
    let mut settings = Settings::defaults([("host", host), ("synthetic", Synthetic::options())]);
    for (key, value) in values {
        settings.derive(key, value.clone(), "test");
    }
    settings
}

fn configure(values: &[(&str, Value)]) -> Synthetic {
    Synthetic::configure(&settings(values)).unwrap()
}

fn refused(values: &[(&str, Value)]) -> String {
    Synthetic::configure(&settings(values)).err().expect("an error").to_string()
}

fn text(value: &str) -> Value {
    Value::Text(value.into())
}

type Sample = (u32, Vec<u8>);

fn read(data: &Synthetic, split: Split, shard: Shard, seed: u64) -> Vec<Sample> {
    let shape = data.info().shape;
    let mut pass = data.open(split, shard, seed).unwrap();
    let mut batch = Batch::new(10, shape);
    let mut samples = Vec::new();
    while pass.next(&mut batch).unwrap() {
        let images = batch.images.chunks(shape.iter().product()).map(<[u8]>::to_vec);
        samples.extend(batch.labels.iter().copied().zip(images).take(batch.len));
    }
    samples
}

#[test]
fn it_says_what_it_is() {
    let info = configure(&[]).info();
    assert!(info.stand_in);
    assert_eq!(info.source, "synthetic images in the shape of cifar10, made on the fly; not real data");
    assert_eq!((info.train, info.val, info.eval, info.shape), (5_000, 500, 1_000, [3, 32, 32]));
    assert_eq!(info.labels.len(), 10);
    assert_eq!(Synthetic::ABOUT.datasets, ["cifar10", "ilsvrc12", "folder"]);
}

#[test]
fn the_host_decides_what_it_stands_in_for() {
    let shape = |values: &[_]| {
        let DatasetInfo { shape, labels, .. } = configure(values).info();
        (shape, labels.len())
    };
    assert_eq!(shape(&[("stand_in_for", text("ilsvrc12"))]), ([3, 224, 224], 1001));
    assert_eq!(shape(&[("synthetic_shape", text("ilsvrc12"))]), ([3, 224, 224], 1001));
    let both = [("stand_in_for", text("cifar10")), ("synthetic_shape", text("ilsvrc12"))];
    assert_eq!(shape(&both), ([3, 32, 32], 10));
    assert_eq!(shape(&[("stand_in_for", text("ilsvrc12")), ("nb_classes", Value::Int(21))]), ([3, 224, 224], 21));
    assert_eq!(shape(&[("nb_classes", Value::Int(4))]), ([3, 32, 32], 4));
    let net = [("image_size", Value::Int(48)), ("image_channels", Value::Int(1)), ("nb_classes", Value::Int(5))];
    let folder = [&[("stand_in_for", text("folder"))], &net[..]].concat();
    assert_eq!(shape(&folder), ([1, 48, 48], 5));
    assert_eq!(shape(&net), ([3, 32, 32], 5), "CIFAR-10 is what it is");
    // Without a host nobody declares `stand_in_for`.
    let alone = Settings::defaults([("synthetic", Synthetic::options())]);
    assert_eq!(Synthetic::configure(&alone).unwrap().info().shape, [3, 32, 32]);
}

#[test]
fn what_it_cannot_be_is_refused_with_the_origin() {
    assert_eq!(
        refused(&[("stand_in_for", text("mnist"))]),
        "`stand_in_for` = mnist (derived: test): synthetic can stand in for cifar10, ilsvrc12, folder"
    );
    assert_eq!(
        refused(&[("nb_classes", Value::Int(1001))]),
        "`nb_classes` = 1001 (derived: test): in the shape of cifar10 there can be 2 to 1000 classes"
    );
    assert_eq!(
        refused(&[("synthetic_shape", text("ilsvrc12")), ("nb_classes", Value::Int(2))]),
        "`nb_classes` = 2 (derived: test): in the shape of ilsvrc12 there can be 3 to 1001 classes"
    );
    assert!(refused(&[("nb_smpls_train", Value::Int(1 << 40))]).starts_with("`nb_smpls_train` = 1099511627776"));
}

#[test]
fn the_images_never_change() {
    let data = configure(&[("nb_smpls_eval", Value::Int(50)), ("nb_smpls_train", Value::Int(50))]);
    let sum = |samples: &[Sample]| {
        samples
            .iter()
            .flat_map(|(label, pixels)| pixels.iter().map(|byte| u64::from(*byte)).chain([u64::from(*label)]))
            .fold(0u64, |sum, byte| (sum ^ byte).wrapping_mul(0x0000_0100_0000_01b3))
    };
    // A new figure here makes results of different releases incomparable: on purpose only.
    assert_eq!(format!("{:016x}", sum(&read(&data, Split::Eval, Shard::WHOLE, 0))), "5edad82f8680d948");
    assert_eq!(format!("{:016x}", sum(&read(&data, Split::Train, Shard::WHOLE, 1))), "848c1c0ca5a850b7");
}

#[test]
fn mean_and_deviation_are_those_of_the_images() {
    for (shape, images, tolerance) in [("cifar10", 2_000, 1.5), ("ilsvrc12", 60, 8.0)] {
        let data = configure(&[("stand_in_for", text(shape)), ("nb_smpls_train", Value::Int(images))]);
        let (mut sums, mut count) = ([(0.0, 0.0); 3], 0.0);
        for (_, pixels) in read(&data, Split::Plain, Shard::WHOLE, 0) {
            for pixel in pixels.chunks(3) {
                count += 1.0;
                for (sum, byte) in sums.iter_mut().zip(pixel) {
                    sum.0 += f64::from(*byte);
                    sum.1 += f64::from(*byte).powi(2);
                }
            }
        }
        let info = data.info();
        for (channel, (sum, squares)) in sums.into_iter().enumerate() {
            let mean = sum / count;
            let std = (squares / count - mean * mean).sqrt();
            assert!((mean - f64::from(info.mean[channel])).abs() < tolerance, "{shape}: mean {mean}");
            assert!((std - f64::from(info.std[channel])).abs() < tolerance, "{shape}: deviation {std}");
        }
    }
}

#[test]
fn passes_repeat_skip_and_shard() {
    let data = configure(&[("nb_smpls_train", Value::Int(120)), ("nb_smpls_val", Value::Int(20))]);
    let pass = read(&data, Split::Train, Shard::WHOLE, 3);
    assert_eq!(pass.len(), 120);
    assert_eq!(pass, read(&data, Split::Train, Shard::WHOLE, 3));
    assert_ne!(pass, read(&data, Split::Train, Shard::WHOLE, 4));
    let mut rest = data.open(Split::Train, Shard::WHOLE, 3).unwrap();
    rest.skip(55).unwrap();
    let mut batch = Batch::new(60, [3, 32, 32]);
    assert!(rest.next(&mut batch).unwrap());
    assert_eq!(batch.labels[..], pass[55..115].iter().map(|(label, _)| *label).collect::<Vec<_>>());
    assert_eq!(batch.images[..], pass[55..115].iter().flat_map(|(_, pixels)| pixels.clone()).collect::<Vec<_>>());

    let mut plain = read(&data, Split::Plain, Shard::WHOLE, 0);
    let mut divided = [Split::Val, Split::Fit].map(|split| {
        let unaugmented = configure(&[
            ("nb_smpls_train", Value::Int(120)),
            ("nb_smpls_val", Value::Int(20)),
            ("enbl_augment", Value::Bool(false)),
        ]);
        let parts = (0..2).flat_map(|index| read(&unaugmented, split, Shard { index, count: 2 }, 9));
        parts.collect::<Vec<_>>()
    });
    assert_eq!(divided.each_ref().map(Vec::len), [20, 100]);
    let mut together = std::mem::take(&mut divided[0]);
    together.append(&mut divided[1]);
    plain.sort();
    together.sort();
    assert_eq!(plain, together);
}

#[test]
fn large_images_are_made_one_by_one() {
    // 600 MB, if they were kept.
    let values = [("stand_in_for", text("ilsvrc12")), ("nb_smpls_train", Value::Int(4_000))];
    let data = configure(&values);
    let mut pass = data.open(Split::Train, Shard { index: 1, count: 2 }, 0).unwrap();
    let mut batch = Batch::new(3, [3, 224, 224]);
    pass.skip(1_995).unwrap();
    assert!(pass.next(&mut batch).unwrap());
    assert!(batch.labels.iter().all(|label| (1..=1000).contains(label)));
    assert!(!pass.next(&mut batch).unwrap(), "two of 2000 are left");
}

/// Share of `test` whose nearest class mean (features in units of their standard deviation) is
/// their own.
fn nearest_mean(train: &[Sample], test: &[Sample], features: impl Fn(&[u8]) -> Vec<f64>) -> f64 {
    let describe = |samples: &[Sample]| -> Vec<(usize, Vec<f64>)> {
        samples.iter().map(|(label, pixels)| (*label as usize, features(pixels))).collect()
    };
    let (train, test) = (describe(train), describe(test));
    let size = train[0].1.len();
    let mut means = vec![vec![0.0; size]; 10];
    let mut counts = [0.0; 10];
    for (label, values) in &train {
        counts[*label] += 1.0;
        means[*label].iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
    means.iter_mut().zip(counts).for_each(|(mean, count)| mean.iter_mut().for_each(|value| *value /= count));
    let mut spread = vec![0.0; size];
    for (label, values) in &train {
        spread.iter_mut().zip(values.iter().zip(&means[*label])).for_each(|(sum, (a, b))| *sum += (a - b) * (a - b));
    }
    let right = test.iter().filter(|(label, values)| {
        let distance = |class: usize| -> f64 {
            means[class].iter().zip(values).zip(&spread).map(|((a, b), spread)| (a - b) * (a - b) / spread).sum()
        };
        (0..10).min_by(|a, b| distance(*a).total_cmp(&distance(*b))) == Some(*label)
    });
    right.count() as f64 / test.len() as f64
}

/// How alike an image is to itself moved by each of some offsets and their mirror images: knows
/// stripes, not places.
fn self_similarity(pixels: &[u8]) -> Vec<f64> {
    let at = |x: usize, y: usize| (0..3).map(move |channel| f64::from(pixels[(y * 32 + x) * 3 + channel]));
    let difference = |dx: isize, dy: usize| {
        let mut sum = 0.0;
        for y in 4..28 - dy {
            for x in 8..24usize {
                sum += at(x, y).zip(at(x.wrapping_add_signed(dx), y + dy)).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
            }
        }
        sum / (24 - dy) as f64
    };
    let offsets = (0..7isize).flat_map(|dx| (0..7usize).map(move |dy| (dx, dy))).skip(1);
    let values: Vec<f64> = offsets.map(|(dx, dy)| difference(dx, dy) + difference(-dx, dy)).collect();
    // Contrast differs from image to image and means nothing.
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.into_iter().map(|value| (value / mean).ln()).collect()
}

#[test]
fn stripes_tell_the_class_and_neither_colour_nor_single_pixels_do() {
    let data = configure(&[("nb_smpls_train", Value::Int(1_500)), ("nb_smpls_eval", Value::Int(500))]);
    let train = read(&data, Split::Plain, Shard::WHOLE, 0);
    let test = read(&data, Split::Eval, Shard::WHOLE, 0);
    let colour = |pixels: &[u8]| -> Vec<f64> {
        let channel = |channel| pixels.iter().skip(channel).step_by(3).map(|byte| f64::from(*byte)).sum();
        (0..3).map(channel).collect()
    };
    let pixels = |pixels: &[u8]| pixels.iter().map(|byte| f64::from(*byte)).collect();
    let by_colour = nearest_mean(&train, &test, colour);
    let by_pixels = nearest_mean(&train, &test, pixels);
    let by_stripes = nearest_mean(&train, &test, self_similarity);
    assert!(by_colour < 0.2, "by colour {by_colour}, 0.1 by chance");
    assert!(by_pixels < 0.25, "by pixels {by_pixels}, 0.1 by chance");
    assert!(by_stripes > 0.4, "by stripes {by_stripes}");
    assert!(by_stripes < 0.95, "by stripes {by_stripes}: too easy");
}
