//! `host data check`: what is missing or damaged, by the exit status too.

use pocketflow_tests::place::Place;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};

const FILE_BYTES: u64 = 10_000 * 3073;

fn cifar(place: &Place) {
    fs::create_dir(place.path("cifar")).unwrap();
    let names = (1..=5).map(|index| format!("data_batch_{index}.bin")).chain(["test_batch.bin".into()]);
    for name in names {
        // Zeros all the way, and no block of the disk.
        File::create(place.path(format!("cifar/{name}"))).unwrap().set_len(FILE_BYTES).unwrap();
    }
}

#[test]
fn a_whole_set_and_a_damaged_one() {
    let place = Place::new();
    cifar(&place);
    let whole = place.host("data check cifar").expect(0).stdout;
    assert!(whole.contains("50,000") && whole.contains("nothing is damaged"), "{whole}");
    // Whole, but not the ten classes in equal parts.
    assert!(whole.contains("50000 images of class airplane"), "{whole}");
    let mut file = File::options().write(true).open(place.path("cifar/data_batch_2.bin")).unwrap();
    file.seek(SeekFrom::Start(7 * 3073)).unwrap();
    file.write_all(&[11]).unwrap();
    File::options().write(true).open(place.path("cifar/data_batch_3.bin")).unwrap().set_len(5 * 3073 + 9).unwrap();
    fs::remove_file(place.path("cifar/test_batch.bin")).unwrap();
    let damaged = place.host("data check cifar --dataset=cifar10").expect(1).stdout;
    for part in [
        "data_batch_2.bin: record 7 (from 0) at byte 21511: label 11 is over 9",
        "data_batch_3.bin: truncated",
        "test_batch.bin: missing",
        "40,004",
    ] {
        assert!(damaged.contains(part), "{part}: {damaged}");
    }
    let json = place.host("data check cifar --format=json").expect(1).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["sound"], false);
    assert_eq!(json["sets"][0]["problems"], 2);
}

#[test]
fn photographs_are_found_by_what_lies_there() {
    let place = Place::new();
    fs::create_dir_all(place.path("photographs/val/n01440764")).unwrap();
    fs::write(place.path("photographs/val/n01440764/one.JPEG"), b"\xff\xd8\xff\xe0 half a photograph").unwrap();
    let said = place.host("data check photographs").expect(1).stdout;
    assert!(said.contains("as ilsvrc12") && said.contains("one.JPEG"), "{said}");
}

#[test]
fn a_folder_of_nothing() {
    let place = Place::new();
    fs::create_dir(place.path("empty")).unwrap();
    place.host("data check empty").expect(2).says(&["cifar10", "ilsvrc12"]);
    place.host("data check empty --dataset=cifar10").expect(2).says(&["cifar-10-binary.tar.gz"]);
    place.host("data check nowhere --net=resnet_at_cifar10").expect(2).says(&["nowhere"]);
    place.host("data").expect(2);
}
