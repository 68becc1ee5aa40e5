//! CIFAR-10 from generated files: what is written comes back, and every kind of damage is named.
//! The files are sparse, so that six of them cost neither time nor disk.

use pocketflow::dataset::{Batch, Dataset as _, Shard, Split};
use pocketflow::option::{OptionSpec, Value};
use pocketflow::plugin::Plugin as _;
use pocketflow::settings::Settings;
use pocketflow::{ErrorKind, Result};
use pocketflow_cifar10::Cifar10;
use proptest::prelude::*;
use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

const RECORD: u64 = 3073;
const FILES: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];

/// Makes the six files, all zero: ten thousand black airplanes each.
fn make_files(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for name in FILES {
        File::create(folder.join(name)).unwrap().set_len(10_000 * RECORD).unwrap();
    }
}

/// Pixel value of the image `id` at a place, by plane.
fn value(id: usize, plane: usize, place: usize) -> u8 {
    (id * 31 + plane * 97 + place * 7 + place / 32 * 5) as u8
}

/// Writes an image that [`value`] tells from all others.
fn write_record(folder: &Path, file: &str, record: u64, label: u8, id: usize) {
    let mut bytes = vec![label];
    bytes.extend((0..3 * 1024).map(|byte| value(id, byte / 1024, byte % 1024)));
    let mut file = OpenOptions::new().write(true).open(folder.join(file)).unwrap();
    file.seek(SeekFrom::Start(record * RECORD)).unwrap();
    file.write_all(&bytes).unwrap();
}

fn settings(data_dir: &Path, counts: [i64; 3], augment: bool) -> Settings {
    let host = vec![OptionSpec::path("data_dir", &data_dir.to_string_lossy(), "images")];
    let mut settings = Settings::defaults([("host", host), ("cifar10", Cifar10::options())]);
    for (key, count) in ["nb_smpls_train", "nb_smpls_val", "nb_smpls_eval"].into_iter().zip(counts) {
        settings.derive(key, Value::Int(count), "test");
    }
    settings.derive("enbl_augment", Value::Bool(augment), "test");
    settings
}

fn configure(data_dir: &Path) -> Result<Cifar10> {
    Cifar10::configure(&settings(data_dir, [50_000, 5_000, 10_000], true))
}

/// The error's kind, and its text without the folder's changing name.
fn refused(result: Result<Cifar10>, folder: &Path) -> (ErrorKind, String) {
    let error = result.err().expect("an error");
    (error.kind(), error.to_string().replace(&*folder.to_string_lossy(), "DIR"))
}

fn read(data: &Cifar10, split: Split, seed: u64) -> Vec<(u32, Vec<u8>)> {
    let mut pass = data.open(split, Shard::WHOLE, seed).unwrap();
    let mut batch = Batch::new(10, data.info().shape);
    let mut samples = Vec::new();
    while pass.next(&mut batch).unwrap() {
        let images = batch.images.chunks(3072).map(<[u8]>::to_vec);
        samples.extend(batch.labels.iter().copied().zip(images).take(batch.len));
    }
    samples
}

#[test]
fn what_is_written_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    // As the archive unpacks: in a folder of its own.
    let inner = folder.path().join("cifar-10-batches-bin");
    make_files(&inner);
    for record in 0..20 {
        write_record(&inner, "test_batch.bin", record, (record % 10) as u8, record as usize);
        write_record(&inner, "data_batch_2.bin", record, (9 - record % 10) as u8, 100 + record as usize);
    }
    let data = Cifar10::configure(&settings(folder.path(), [10_020, 10, 20], false)).unwrap();
    let info = data.info();
    assert_eq!((info.train, info.val, info.eval, info.shape), (10_020, 10, 20, [3, 32, 32]));
    assert_eq!(info.labels[1], "automobile");
    assert!(!info.stand_in && info.source.ends_with("cifar-10-batches-bin"), "{}", info.source);

    let image = |id: usize| (0..3072).map(|byte| value(id, byte % 3, byte / 3)).collect::<Vec<u8>>();
    let test = read(&data, Split::Eval, 0);
    assert_eq!(test.len(), 20);
    for (record, (label, pixels)) in test.iter().enumerate() {
        assert_eq!(*label, record as u32 % 10);
        assert_eq!(*pixels, image(record));
    }
    let train = read(&data, Split::Plain, 3);
    assert_eq!(train.len(), 10_020);
    let black = train.iter().filter(|(label, pixels)| *label == 0 && pixels.iter().all(|byte| *byte == 0)).count();
    assert_eq!(black, 10_000);
    for record in 0..20 {
        assert!(train.contains(&(9 - record % 10, image(100 + record as usize))), "image {record} of the second file");
    }
}

#[test]
fn training_is_augmented_reproducibly_and_skips_exactly() {
    let folder = tempfile::tempdir().unwrap();
    make_files(folder.path());
    for record in 0..60 {
        write_record(folder.path(), "data_batch_1.bin", record, (record % 10) as u8, record as usize);
    }
    let open = |augment| Cifar10::configure(&settings(folder.path(), [60, 20, 10], augment)).unwrap();
    let (augmented, plain) = (open(true), open(false));
    let pass = read(&augmented, Split::Train, 5);
    assert_eq!(pass, read(&open(true), Split::Train, 5));
    assert_ne!(pass, read(&augmented, Split::Train, 6));
    let unchanged = read(&plain, Split::Train, 5);
    let labels = |samples: &[(u32, Vec<u8>)]| samples.iter().map(|(label, _)| *label).collect::<Vec<_>>();
    assert_eq!(labels(&pass), labels(&unchanged), "augmentation does not touch the order");
    let same = pass.iter().zip(&unchanged).filter(|(a, b)| a == b).count();
    assert!(same < 10, "1 in 162 images is neither moved nor mirrored, not {same} in 60");
    // Padding has the mean colour.
    assert!(pass.iter().any(|(_, pixels)| pixels[..3] == [125, 123, 114]));

    let mut rest = augmented.open(Split::Train, Shard::WHOLE, 5).unwrap();
    rest.skip(27).unwrap();
    let mut batch = Batch::new(10, [3, 32, 32]);
    for start in [27, 37, 47] {
        assert!(rest.next(&mut batch).unwrap());
        for (place, (label, pixels)) in pass[start..start + 10].iter().enumerate() {
            assert_eq!((batch.labels[place], &batch.images[place * 3072..][..3072]), (*label, &pixels[..]));
        }
    }
    assert!(!rest.next(&mut batch).unwrap(), "three are left, no whole batch");
}

#[test]
fn nothing_there_is_data_not_found() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("nowhere");
    let (kind, text) = refused(configure(&absent), folder.path());
    assert_eq!(kind, ErrorKind::DataNotFound);
    assert_eq!(
        text,
        "no CIFAR-10 images: the folder DIR/nowhere is not there; get the binary version from \
         https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz and unpack it: \
         mkdir -p DIR/nowhere && tar -xzf cifar-10-binary.tar.gz -C DIR/nowhere"
    );
    fs::write(folder.path().join("readme.txt"), "no images").unwrap();
    let (kind, text) = refused(configure(folder.path()), folder.path());
    assert_eq!(kind, ErrorKind::DataNotFound);
    assert!(text.starts_with("no CIFAR-10 images: the folder DIR holds none of its files"), "{text}");

    let (kind, text) = refused(configure(&folder.path().join("readme.txt")), folder.path());
    assert_eq!(kind, ErrorKind::Config, "a mistake, not a reason for a stand-in");
    assert!(text.starts_with("`data_dir`: DIR/readme.txt is not a folder"), "{text}");
}

#[test]
fn a_missing_file_is_named() {
    for name in FILES {
        let folder = tempfile::tempdir().unwrap();
        make_files(folder.path());
        fs::remove_file(folder.path().join(name)).unwrap();
        let (kind, text) = refused(configure(folder.path()), folder.path());
        assert_eq!(kind, ErrorKind::Failed);
        assert!(text.starts_with(&format!("DIR: {name} missing; get the binary version from https://")), "{text}");
    }
}

#[test]
fn a_wrong_size_is_named() {
    let folder = tempfile::tempdir().unwrap();
    make_files(folder.path());
    let resize = |name: &str, bytes| {
        OpenOptions::new().write(true).open(folder.path().join(name)).unwrap().set_len(bytes).unwrap();
    };
    for (bytes, problem) in [(0, "truncated"), (30_729_999, "truncated"), (30_730_001, "too long")] {
        for name in ["data_batch_3.bin", "test_batch.bin"] {
            resize(name, bytes);
            let (kind, text) = refused(configure(folder.path()), folder.path());
            assert_eq!(kind, ErrorKind::Failed);
            let wanted = format!("DIR/{name}: {problem}, {bytes} bytes instead of 30730000 (10000 records of 3073);");
            assert!(text.starts_with(&wanted), "{text}");
            resize(name, 30_730_000);
        }
    }
    let data = configure(folder.path()).unwrap();
    resize("data_batch_1.bin", 100);
    let text = data.open(Split::Train, Shard::WHOLE, 0).err().expect("an error").to_string();
    assert!(text.contains("data_batch_1.bin: truncated, 100 bytes"), "{text}");
}

#[test]
fn a_folder_in_place_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    make_files(folder.path());
    fs::remove_file(folder.path().join(FILES[1])).unwrap();
    fs::create_dir(folder.path().join(FILES[1])).unwrap();
    assert_eq!(refused(configure(folder.path()), folder.path()).1, "DIR/data_batch_2.bin: not a file");
}

#[test]
fn a_label_over_nine_is_located() {
    let folder = tempfile::tempdir().unwrap();
    make_files(folder.path());
    write_record(folder.path(), "data_batch_2.bin", 4, 10, 0);
    write_record(folder.path(), "test_batch.bin", 9_999, 255, 0);
    let data = Cifar10::configure(&settings(folder.path(), [10_005, 1, 10_000], true)).unwrap();
    let problem = |split| {
        let error = data.open(split, Shard::WHOLE, 0).err().expect("an error");
        error.to_string().replace(&*folder.path().to_string_lossy(), "DIR")
    };
    let train = "DIR/data_batch_2.bin: record 4 (from 0) at byte 12292: label 10 is over 9";
    assert!(problem(Split::Train).starts_with(train), "{}", problem(Split::Train));
    let test = "DIR/test_batch.bin: record 9999 (from 0) at byte 30726927: label 255 is over 9";
    assert!(problem(Split::Eval).starts_with(test), "{}", problem(Split::Eval));
}

#[test]
fn more_images_than_the_files_hold() {
    let folder = tempfile::tempdir().unwrap();
    make_files(folder.path());
    let result = Cifar10::configure(&settings(folder.path(), [50_001, 5_000, 10_000], true));
    let (kind, text) = refused(result, folder.path());
    assert_eq!(kind, ErrorKind::Config);
    assert_eq!(text, "`nb_smpls_train` = 50001 (derived: test): there are only 50000 training images");
}

proptest! {
    // Each case makes and reads six files.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn garbage_is_refused_or_read_but_never_a_panic(
        sizes in prop::collection::vec(prop_oneof![8 => Just(30_730_000u64), 1 => 0u64..40_000_000], 6),
        places in prop::collection::vec((0usize..6, 0u64..400_000, prop::collection::vec(any::<u8>(), 1..5000)), 0..4),
        gone in prop::option::weighted(0.1, 0usize..6),
    ) {
        let folder = tempfile::tempdir().unwrap();
        make_files(folder.path());
        let mut sizes = sizes;
        for (file, start, bytes) in &places {
            let mut handle = OpenOptions::new().write(true).open(folder.path().join(FILES[*file])).unwrap();
            handle.seek(SeekFrom::Start(*start)).unwrap();
            handle.write_all(bytes).unwrap();
        }
        for (name, size) in FILES.iter().zip(&sizes) {
            OpenOptions::new().write(true).open(folder.path().join(name)).unwrap().set_len(*size).unwrap();
        }
        if let Some(gone) = gone {
            fs::remove_file(folder.path().join(FILES[gone])).unwrap();
            sizes[gone] = 0;
        }
        let result = Cifar10::configure(&settings(folder.path(), [300, 10, 300], true));
        prop_assert_eq!(result.is_ok(), sizes.iter().all(|size| *size == 30_730_000));
        if let Ok(data) = result {
            for (split, file) in [(Split::Train, 0), (Split::Eval, 5)] {
                let bytes = fs::read(folder.path().join(FILES[file])).unwrap();
                let valid = bytes.chunks(RECORD as usize).take(300).all(|record| record[0] < 10);
                prop_assert_eq!(data.open(split, Shard::WHOLE, 0).is_ok(), valid);
            }
        }
    }
}
