//! ILSVRC-12 in every form that people have it in: what is written comes back, and what is wrong is
//! named.

mod made;

use made::{
    class_folders, colour, configure, example, images, jpeg, number, numbers, problem, read, record, shards, tar,
};
use pocketflow::ErrorKind;
use pocketflow::dataset::{Dataset as _, Shard, Split};
use pocketflow::option::Value;
use std::fs;
use std::path::Path;

const WNIDS: [&str; 3] = ["n01440764", "n01443537", "n01484850"];

#[test]
fn records_come_back_in_the_order_of_files_and_records() {
    for inner in ["", "train", "validation"] {
        let folder = tempfile::tempdir().unwrap();
        let place = |set: &str| if inner.is_empty() { folder.path().to_owned() } else { folder.path().join(set) };
        shards(&place("train"), "train", 4, &images(50));
        shards(&place("validation"), "validation", 2, &images(21));
        let data = configure(folder.path(), &[]).unwrap();
        let info = data.info();
        assert_eq!((info.train, info.val, info.eval, info.shape), (50, 25, 21, [3, 16, 16]));
        assert_eq!(
            (info.labels.len(), info.labels[0].as_str(), info.labels[1].as_str()),
            (1001, "background", "class 1")
        );
        assert_eq!((info.mean, info.std), (vec![123.68, 116.78, 103.94], vec![58.393, 57.12, 57.375]));
        assert!(info.source.starts_with("training: 4 TFRecord files in ") && !info.stand_in, "{}", info.source);
        let test = read(&data, Split::Eval, 0).unwrap();
        assert_eq!(test.len(), 21);
        for (place, (label, pixels)) in test.iter().enumerate() {
            assert_eq!((*label, number(pixels)), (place as u32 % 5 + 1, place));
        }
        let mut all = numbers(&data, Split::Plain, 1);
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<_>>());
    }
}

#[test]
fn folders_are_numbered_in_the_order_of_their_ids_unless_there_is_a_list() {
    let folder = tempfile::tempdir().unwrap();
    class_folders(&folder.path().join("train"), &WNIDS, 4);
    class_folders(&folder.path().join("val"), &WNIDS[1..], 2);
    fs::create_dir(folder.path().join("train/.hidden")).unwrap();
    fs::write(folder.path().join("train/n01440764/readme.txt"), "no image").unwrap();
    let data = configure(folder.path(), &[]).unwrap();
    let labels = |data, split| read(data, split, 0).unwrap().iter().map(|(label, _)| *label).collect::<Vec<_>>();
    assert_eq!((data.info().train, data.info().eval), (12, 4));
    assert_eq!(labels(&data, Split::Eval), [2, 3, 2, 3], "one of each class in turn");
    assert_eq!(numbers(&data, Split::Eval, 0), [0, 2, 1, 3]);
    assert!(data.info().source.contains("3 classes numbered in the order of their ids"), "{}", data.info().source);

    // With a list, labels are those of the list; names too.
    fs::write(folder.path().join("wnids.txt"), "n01440764 tench\nn01440765\nn01443537 goldfish\nn01484850\n").unwrap();
    let data = configure(folder.path(), &[]).unwrap();
    assert_eq!(labels(&data, Split::Eval), [3, 4, 3, 4]);
    assert_eq!(data.info().labels[1..=4], ["tench", "n01440765", "goldfish", "n01484850"]);
    assert!(!data.info().source.contains("numbered"), "{}", data.info().source);
    let other = folder.path().join("other.txt");
    fs::write(&other, "n01484850\nn01443537\nn01440764\n").unwrap();
    let list = Value::Text(other.to_string_lossy().into());
    let data = configure(folder.path(), &[("ilsvrc12_wnids", list)]).unwrap();
    assert_eq!(labels(&data, Split::Eval), [2, 1, 2, 1]);
}

#[test]
fn folders_that_are_no_classes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    class_folders(&folder.path().join("train"), &["n01440764", "tench"], 1);
    let text = problem(configure(folder.path(), &[]), folder.path());
    assert!(text.starts_with("DIR/train/tench: not named after a class of ILSVRC-12"), "{text}");
    fs::write(folder.path().join("wnids.txt"), "n01440764\n").unwrap();
    let text = problem(configure(folder.path(), &[]), folder.path());
    assert!(text.starts_with("DIR/train/tench: a class that is not in the list of classes"), "{text}");

    fs::remove_dir_all(folder.path().join("train/tench")).unwrap();
    fs::remove_file(folder.path().join("train/n01440764/n01440764_0.JPEG")).unwrap();
    let text = problem(configure(folder.path(), &[]), folder.path());
    assert!(text.starts_with("DIR/train/n01440764: holds no images"), "{text}");

    fs::remove_dir(folder.path().join("train/n01440764")).unwrap();
    let error = configure(folder.path(), &[]).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::DataNotFound, "an empty folder is no data set");
    fs::write(folder.path().join("train/a.JPEG"), "image").unwrap();
    let text = problem(configure(folder.path(), &[]), folder.path());
    assert!(text.starts_with("DIR/train: holds images, but no folders of classes"), "{text}");
}

fn make_archives(folder: &Path) {
    let class = |class: usize| {
        let files: Vec<_> = (0..3)
            .map(|image| (format!("{}_{image}.JPEG", WNIDS[class]), jpeg(20, 24, colour(class * 3 + image))))
            .collect();
        (format!("{}.tar", WNIDS[class]), tar(&files))
    };
    fs::write(folder.join("ILSVRC2012_img_train.tar"), tar(&[class(0), class(1), class(2)])).unwrap();
    // Not in the order of the names.
    let image = |number: usize| (format!("ILSVRC2012_val_{number:08}.JPEG"), jpeg(20, 24, colour(number)));
    fs::write(folder.join("ILSVRC2012_img_val.tar"), tar(&[image(3), image(1), image(2)])).unwrap();
}

#[test]
fn archives_are_read_in_place() {
    let folder = tempfile::tempdir().unwrap();
    make_archives(folder.path());
    let text = problem(configure(folder.path(), &[]), folder.path());
    assert!(
        text.starts_with("DIR: the labels of the validation images are missing; put val_labels.txt there"),
        "{text}"
    );
    fs::write(folder.path().join("val_labels.txt"), "n01484850\nn01440764\n2\n").unwrap();
    let data = configure(folder.path(), &[]).unwrap();
    let test = read(&data, Split::Eval, 0).unwrap();
    let found: Vec<_> = test.iter().map(|(label, pixels)| (*label, number(pixels))).collect();
    assert_eq!(found, [(3, 1), (1, 2), (2, 3)]);
    let train = read(&data, Split::Plain, 0).unwrap();
    assert_eq!(train.len(), 9);
    for (label, pixels) in train {
        assert_eq!(label as usize, number(&pixels) / 3 + 1);
    }

    fs::write(folder.path().join("val_labels.txt"), "1\n2\n").unwrap();
    let text = problem(configure(folder.path(), &[]), folder.path());
    assert!(text.starts_with("DIR/ILSVRC2012_img_val.tar: holds 3 images, and there are 2 labels"), "{text}");

    fs::remove_file(folder.path().join("ILSVRC2012_img_val.tar")).unwrap();
    let path = folder.path().join("ILSVRC2012_img_train.tar");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let text = problem(configure(folder.path(), &[]), folder.path());
    assert!(text.contains("DIR/ILSVRC2012_img_train.tar") && text.contains("truncated"), "{text}");
}

#[test]
fn nothing_there_is_data_not_found() {
    let folder = tempfile::tempdir().unwrap();
    for place in [folder.path().join("nowhere"), folder.path().to_owned()] {
        let error = configure(&place, &[]).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::DataNotFound);
        let text = error.to_string();
        for what in ["train-00000-of-01024", "train/n01440764", "ILSVRC2012_img_val.tar", "https://image-net.org"] {
            assert!(text.contains(what), "{text}");
        }
    }
    fs::write(folder.path().join("file"), "").unwrap();
    let error = configure(&folder.path().join("file"), &[]).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config, "a mistake, not a reason for a stand-in");
}

#[test]
fn one_of_the_sets_is_enough_for_what_needs_only_it() {
    let folder = tempfile::tempdir().unwrap();
    shards(folder.path(), "validation", 1, &images(7));
    let data = configure(folder.path(), &[("nb_smpls_train", Value::Int(100))]).unwrap();
    assert_eq!((data.info().train, data.info().val, data.info().eval), (0, 0, 7));
    assert_eq!(read(&data, Split::Eval, 0).unwrap().len(), 7);
    let text = problem(data.open(Split::Train, Shard::WHOLE, 0), folder.path());
    assert!(text.starts_with("there are no training images (training: absent; validation: 1 TFRecord"), "{text}");
}

#[test]
fn shards_that_are_missing_or_damaged_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |shard: usize| folder.path().join(format!("train-{shard:05}-of-00004"));
    shards(folder.path(), "train", 4, &images(20));
    fs::remove_file(path(2)).unwrap();
    let text = problem(configure(folder.path(), &[]), folder.path());
    assert!(text.starts_with("DIR/train-00002-of-00004: missing; get it again"), "{text}");
    let allowed = [("ilsvrc12_allow_damaged", Value::Bool(true))];
    assert_eq!(configure(folder.path(), &allowed).unwrap().info().train, 15);

    shards(folder.path(), "train", 4, &images(20));
    let good = fs::read(path(1)).unwrap();
    let second = 12 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize + 4;
    let cases = [
        (good[..good.len() - 5].to_vec(), "truncated"),
        ([&good[..second], &good[second + 1..]].concat(), "the checksum of its length is wrong"),
        (Vec::new(), "empty"),
        (b"no TFRecord file at all".to_vec(), "the checksum of its length is wrong"),
    ];
    for (bytes, what) in cases {
        fs::write(path(1), bytes).unwrap();
        let text = problem(configure(folder.path(), &[]), folder.path());
        assert!(text.starts_with("DIR/train-00001-of-00004: ") && text.contains(what), "{text}");
    }
    fs::write(path(1), good).unwrap();
    fs::write(folder.path().join("train-00000-of-00002"), "").unwrap();
    let text = problem(configure(folder.path(), &[]), folder.path());
    assert!(text.starts_with("DIR: files of 2 and of 4 are mixed"), "{text}");
}

#[test]
fn labels_out_of_range_are_located() {
    for label in [1001, -1, i64::MAX] {
        let folder = tempfile::tempdir().unwrap();
        let good = record(&example(&jpeg(8, 8, colour(0)), 1000));
        let bad = record(&example(&jpeg(8, 8, colour(0)), label));
        fs::write(folder.path().join("train-00000-of-00001"), [&good[..], &bad].concat()).unwrap();
        let data = configure(folder.path(), &[]).unwrap();
        let text = problem(read(&data, Split::Train, 0), folder.path());
        let wanted =
            format!("DIR/train-00000-of-00001: record 1 (from 0) at byte {}: label {label} is not", good.len());
        assert!(text.starts_with(&wanted), "{text}");
    }
    let folder = tempfile::tempdir().unwrap();
    class_folders(&folder.path().join("val"), &WNIDS, 1);
    let text = problem(configure(folder.path(), &[("nb_classes", Value::Int(3))]), folder.path());
    assert!(
        text.starts_with("`nb_classes` = 3: 3 folders in DIR/val has labels up to 3; set --nb-classes to 4"),
        "{text}"
    );
    assert_eq!(configure(folder.path(), &[("nb_classes", Value::Int(4))]).unwrap().info().labels.len(), 4);
}

#[test]
fn sizes_counts_and_preprocessing_follow_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    made::both(folder.path(), 20, 10);
    let counts = [("nb_smpls_train", Value::Int(21))];
    let text = problem(configure(folder.path(), &counts), folder.path());
    assert_eq!(text, "`nb_smpls_train` = 21 (flag --nb_smpls_train): there are only 20 training images");
    let set = [("nb_smpls_train", Value::Int(12)), ("nb_smpls_val", Value::Int(4)), ("nb_smpls_eval", Value::Int(3))];
    let data = configure(folder.path(), &set).unwrap();
    assert_eq!((data.info().train, data.info().val, data.info().eval), (12, 4, 3));

    let mobilenet = [("net", Value::Text("mobilenet_at_ilsvrc12".into())), ("image_size", Value::Int(32))];
    let data = configure(folder.path(), &mobilenet).unwrap();
    assert_eq!((data.info().shape, data.info().mean[0], data.info().std[2]), ([3, 32, 32], 127.5, 127.5));
    let forced = [&mobilenet[..], &[("ilsvrc12_preprocess", Value::Text("resnet".into()))]].concat();
    assert_eq!(configure(folder.path(), &forced).unwrap().info().mean[0], 123.68);
    let text = problem(configure(folder.path(), &[("image_size", Value::Int(4000))]), folder.path());
    assert!(text.starts_with("`image_size` = 4000 (flag --image_size): images can be made"), "{text}");
}
