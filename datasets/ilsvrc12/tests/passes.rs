//! Passes: the same images in the same order whatever the threads do, exact skipping, shards, and
//! what becomes of damage.

mod made;

use made::{both, colour, configure, example, images, jpeg, number, numbers, problem, read, record, rest, shards};
use pocketflow::dataset::{Batch, Dataset as _, Shard, Split};
use pocketflow::option::Value;
use pocketflow_ilsvrc12::Ilsvrc12;
use std::fs;
use std::path::Path;

fn with_threads(folder: &Path, threads: i64) -> Ilsvrc12 {
    configure(folder, &[("threads", Value::Int(threads)), ("nb_smpls_val", Value::Int(10))]).unwrap()
}

#[test]
fn order_and_crops_depend_on_nothing_but_the_seed() {
    let folder = tempfile::tempdir().unwrap();
    both(folder.path(), 60, 20);
    let data = with_threads(folder.path(), 1);
    for split in [Split::Train, Split::Fit, Split::Val, Split::Eval, Split::Plain] {
        let pass = read(&data, split, 5).unwrap();
        assert_eq!(pass.len() as u64, data.info().samples(split), "{split:?}");
        for threads in [2, 5, 0] {
            assert_eq!(
                pass,
                read(&with_threads(folder.path(), threads), split, 5).unwrap(),
                "{split:?}, {threads} threads"
            );
        }
        let fixed = matches!(split, Split::Val | Split::Eval);
        assert_eq!(pass == read(&data, split, 6).unwrap(), fixed, "{split:?}");
        let larger = rest(&mut *data.open(split, Shard::WHOLE, 5).unwrap(), 7, data.info().shape).unwrap();
        let kept = if matches!(split, Split::Train | Split::Fit) { pass.len() / 7 * 7 } else { pass.len() };
        assert_eq!(larger, pass[..kept], "{split:?}");
    }
}

#[test]
fn training_is_augmented_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    // Left half dark, right half light: a crop or a mirror image shows.
    let pixels: Vec<u8> = (0..40 * 40).flat_map(|place| [if place % 40 < 20 { 40 } else { 200 }; 3]).collect();
    let mut image = Vec::new();
    jpeg_encoder::Encoder::new(&mut image, 95).encode(&pixels, 40, 40, jpeg_encoder::ColorType::Rgb).unwrap();
    let set: Vec<_> = (0..40).map(|_| (image.clone(), 1)).collect();
    shards(folder.path(), "train", 1, &set);
    let data = with_threads(folder.path(), 2);
    let plain = read(&data, Split::Plain, 1).unwrap();
    assert!(plain.iter().all(|(_, pixels)| *pixels == plain[0].1));
    let train = read(&data, Split::Train, 1).unwrap();
    let same = train.iter().filter(|(_, pixels)| *pixels == plain[0].1).count();
    assert!(same < 10, "{same}");
    let mirrored = train.iter().filter(|(_, pixels)| pixels[0] > pixels[45]).count();
    assert!((8..33).contains(&mirrored), "{mirrored}");
    let unchanged = configure(folder.path(), &[("enbl_augment", Value::Bool(false))]).unwrap();
    assert!(read(&unchanged, Split::Train, 1).unwrap().iter().all(|(_, pixels)| *pixels == plain[0].1));
}

#[test]
fn skipping_is_reading() {
    let folder = tempfile::tempdir().unwrap();
    both(folder.path(), 61, 33);
    let data = with_threads(folder.path(), 2);
    let shape = data.info().shape;
    for split in [Split::Train, Split::Fit, Split::Eval, Split::Plain] {
        let all = read(&data, split, 3).unwrap();
        for (first, skipped) in [(0, 0), (0, 1), (0, 30), (8, 0), (8, 3), (16, 11), (4, 1000), (0, u64::MAX)] {
            let mut pass = data.open(split, Shard::WHOLE, 3).unwrap();
            let mut batch = Batch::new(4, shape);
            for _ in 0..first / 4 {
                assert!(pass.next(&mut batch).unwrap());
            }
            // In two parts, since skips must add up.
            pass.skip(skipped / 2).unwrap();
            pass.skip(skipped - skipped / 2).unwrap();
            let start = all.len().min(first + usize::try_from(skipped).unwrap_or(usize::MAX - 100));
            assert_eq!(rest(&mut *pass, 1, shape).unwrap(), all[start..], "{split:?}, {first} read, {skipped} skipped");
        }
    }
}

#[test]
fn skipping_does_not_decode() {
    let folder = tempfile::tempdir().unwrap();
    let mut set = images(20);
    set.iter_mut().take(15).for_each(|(image, _)| image.truncate(50));
    shards(folder.path(), "validation", 1, &set);
    let data = configure(folder.path(), &[]).unwrap();
    let mut pass = data.open(Split::Eval, Shard::WHOLE, 0).unwrap();
    pass.skip(15).unwrap();
    assert_eq!(rest(&mut *pass, 2, data.info().shape).unwrap().len(), 5);
}

#[test]
fn shards_divide_a_pass() {
    let folder = tempfile::tempdir().unwrap();
    both(folder.path(), 50, 20);
    let data = with_threads(folder.path(), 2);
    let shard = |split, index, count| {
        rest(&mut *data.open(split, Shard { index, count }, 2).unwrap(), 1, data.info().shape).unwrap()
    };
    for split in [Split::Train, Split::Eval, Split::Plain] {
        let whole = read(&data, split, 2).unwrap();
        let parts: Vec<_> = (0..3).map(|index| shard(split, index, 3)).collect();
        for (place, sample) in whole.iter().enumerate().take(48) {
            assert_eq!(parts[place % 3].get(place / 3), Some(sample), "{split:?}");
        }
    }
    assert!(data.open(Split::Train, Shard { index: 3, count: 3 }, 0).is_err());
}

#[test]
fn a_damaged_training_image_is_replaced_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    both(folder.path(), 40, 5);
    let whole = with_threads(folder.path(), 2);
    let order = numbers(&whole, Split::Train, 1);
    let good = read(&whole, Split::Train, 1).unwrap();
    let mut set = images(40);
    for place in [3, 4, 39] {
        let image = &mut set[order[place]].0;
        image.truncate(image.len() / 2);
    }
    shards(folder.path(), "train", 3, &set);
    let data = with_threads(folder.path(), 2);
    let pass = read(&data, Split::Train, 1).unwrap();
    let mut wanted = good.clone();
    wanted[3] = good[5].clone();
    wanted[4] = good[5].clone();
    wanted[39] = good[0].clone();
    assert_eq!(pass, wanted);
    let mut resumed = data.open(Split::Train, Shard::WHOLE, 1).unwrap();
    resumed.skip(4).unwrap();
    assert_eq!(rest(&mut *resumed, 1, data.info().shape).unwrap(), wanted[4..]);
    assert_eq!(read(&data, Split::Plain, 1).unwrap().len(), 40);

    for (image, _) in &mut set {
        image.truncate(40);
    }
    shards(folder.path(), "train", 3, &set);
    let text = problem(read(&with_threads(folder.path(), 2), Split::Train, 1), folder.path());
    assert!(text.contains("images one after another are damaged") && text.contains("DIR/train-0000"), "{text}");
}

#[test]
fn a_damaged_test_image_is_an_error_unless_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let mut set = images(12);
    let length = set[4].0.len();
    set[4].0.truncate(length - 20);
    shards(folder.path(), "validation", 1, &set);
    let path = folder.path().join("validation-00000-of-00001");
    // Another one fails its checksum.
    let start: usize = set[..9].iter().map(|(image, label)| record(&example(image, *label)).len()).sum();
    let mut bytes = fs::read(&path).unwrap();
    bytes[start + 200] ^= 4;
    fs::write(&path, bytes).unwrap();

    let data = configure(folder.path(), &[]).unwrap();
    let text = problem(read(&data, Split::Eval, 0), folder.path());
    let at: usize = set[..4].iter().map(|(image, label)| record(&example(image, *label)).len()).sum();
    let wanted = format!(
        "damaged image: DIR/validation-00000-of-00001: record 4 (from 0) at byte {at}: the JPEG file is cut: its end \
         marker is missing; get it again, or evaluate without it by --ilsvrc12-allow-damaged"
    );
    assert_eq!(text, wanted);
    let mut pass = data.open(Split::Eval, Shard::WHOLE, 0).unwrap();
    pass.skip(5).unwrap();
    let text = problem(rest(&mut *pass, 1, data.info().shape), folder.path());
    assert!(text.contains("record 9 (from 0)") && text.contains("the checksum of the data is wrong"), "{text}");

    let allowed = configure(folder.path(), &[("ilsvrc12_allow_damaged", Value::Bool(true))]).unwrap();
    let whole = read(&allowed, Split::Eval, 0).unwrap();
    let found: Vec<usize> = whole.iter().map(|(_, pixels)| number(pixels)).collect();
    assert_eq!(found, [0, 1, 2, 3, 5, 6, 7, 8, 10, 11]);
}

#[test]
fn a_file_that_vanishes_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    both(folder.path(), 10, 10);
    let data = with_threads(folder.path(), 2);
    fs::remove_file(folder.path().join("train-00001-of-00003")).unwrap();
    let text = problem(read(&data, Split::Train, 0), folder.path());
    assert!(text.starts_with("cannot read DIR/train-00001-of-00003: "), "{text}");
}

#[test]
fn passes_can_be_left_at_any_point() {
    let folder = tempfile::tempdir().unwrap();
    both(folder.path(), 60, 10);
    let data = with_threads(folder.path(), 3);
    let mut batch = Batch::new(8, data.info().shape);
    for read in 0..7 {
        let mut pass = data.open(Split::Train, Shard::WHOLE, 0).unwrap();
        for _ in 0..read {
            assert!(pass.next(&mut batch).unwrap());
        }
    }
    let mut pass = data.open(Split::Train, Shard::WHOLE, 0).unwrap();
    assert!(pass.next(&mut Batch::new(0, [3, 16, 16])).is_err());
    assert!(pass.next(&mut Batch::new(4, [3, 8, 16])).is_err());
    assert!(pass.next(&mut batch).unwrap(), "nothing was lost");
}

#[test]
fn images_of_any_shape_become_inputs() {
    let folder = tempfile::tempdir().unwrap();
    let set: Vec<_> = [(1, 1), (1, 300), (300, 1), (7, 5), (600, 400)]
        .into_iter()
        .map(|(width, height)| (jpeg(width, height, colour(77)), 1))
        .collect();
    shards(folder.path(), "train", 1, &set);
    for method in ["resnet", "inception"] {
        let data = configure(folder.path(), &[("ilsvrc12_preprocess", Value::Text(method.into()))]).unwrap();
        for split in [Split::Train, Split::Plain] {
            let pass = read(&data, split, 1).unwrap();
            assert_eq!(pass.len(), 5);
            assert!(pass.iter().all(|(_, pixels)| pixels.chunks(3).all(|pixel| number(pixel) == 77)));
        }
    }
}
