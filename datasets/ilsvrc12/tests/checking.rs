//! A complete check counts what is whole and names what is not.

mod made;

use made::{both, class_folders, images, shards};
use pocketflow::ErrorKind;
use pocketflow_ilsvrc12::check;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn a_whole_set_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    both(folder.path(), 300, 20);
    let most = AtomicU64::new(0);
    let progress = |done, total| {
        assert_eq!(total, 320);
        most.fetch_max(done, Ordering::Relaxed);
    };
    let report = check(folder.path(), None, 2, &progress).unwrap();
    assert_eq!(most.into_inner(), 320);
    assert!(report.is_sound());
    let found: Vec<_> = report.sets.iter().map(|set| (set.set, set.images, set.classes, set.problems)).collect();
    assert_eq!(found, [("training", 300, 5, 0), ("validation", 20, 5, 0)]);
    assert_eq!(report.notes[0], "training: 300 of the 1281167 images of the complete ILSVRC-12");
}

#[test]
fn everything_wrong_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut set = images(40);
    set[7].0.truncate(100);
    set[8].1 = 5000;
    set[9].1 = 0;
    set[10].0 = b"<html>404</html>".to_vec();
    shards(folder.path(), "train", 4, &set);
    fs::remove_file(folder.path().join("train-00002-of-00004")).unwrap();
    fs::write(folder.path().join("train-00003-of-00004"), "damaged").unwrap();
    let report = check(folder.path(), None, 2, &|_, _| {}).unwrap();
    assert!(!report.is_sound());
    let text = report.to_string().replace(&*folder.path().to_string_lossy(), "DIR");
    for what in [
        "training: 3 TFRecord files in DIR: 17 images of 5 classes are whole, 5 problems",
        "DIR/train-00002-of-00004: missing",
        "DIR/train-00003-of-00004: record 0 (from 0) at byte 0: truncated",
        "DIR/train-00000-of-00004: record 7 (from 0) at byte",
        "label 5000 is not among the 1001 classes",
        "DIR/train-00001-of-00004: record 0 (from 0) at byte 0: neither a JPEG nor a PNG, WebP, BMP or GIF file",
        "note: training: 1 images have label 0, the background",
        "note: validation: absent",
    ] {
        assert!(text.contains(what), "{what}\n---\n{text}");
    }
}

#[test]
fn folders_are_checked_too() {
    let folder = tempfile::tempdir().unwrap();
    class_folders(&folder.path().join("val"), &["n01440764", "n01443537"], 3);
    let path = folder.path().join("val/n01443537/n01443537_1.JPEG");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 20]).unwrap();
    fs::write(folder.path().join("val/n01440764/empty.JPEG"), "").unwrap();
    let report = check(folder.path(), None, 3, &|_, _| {}).unwrap();
    let set = &report.sets[0];
    assert_eq!((set.images, set.classes, set.problems), (5, 2, 2));
    let places: Vec<_> = set.named.iter().map(|problem| problem.place.rsplit('/').next().unwrap()).collect();
    assert_eq!(places, ["empty.JPEG", "n01443537_1.JPEG"]);
    assert!(report.notes[0].starts_with("2 classes numbered in the order of their ids"));
}

#[test]
fn images_in_folders_within_a_class_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    class_folders(&folder.path().join("val"), &["n01440764", "n01443537"], 3);
    let inner = folder.path().join("val/n01443537/images");
    fs::create_dir(&inner).unwrap();
    fs::create_dir(folder.path().join("val/n01443537/.thumbnails")).unwrap();
    fs::rename(folder.path().join("val/n01443537/n01443537_1.JPEG"), inner.join("n01443537_1.JPEG")).unwrap();
    let report = check(folder.path(), None, 2, &|_, _| {}).unwrap();
    let text = report.to_string();
    assert!(!report.is_sound(), "{text}");
    assert!(text.contains("n01443537/images: a folder within a class; images in it are not read"), "{text}");
    assert!(text.contains("5 images of 2 classes are whole, 1 problem") && !text.contains("thumbnails"), "{text}");
}

#[test]
fn nothing_to_check() {
    let folder = tempfile::tempdir().unwrap();
    let error = check(folder.path(), None, 1, &|_, _| {}).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataNotFound);
}
