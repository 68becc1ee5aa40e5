//! The binary files of CIFAR-10. Training refuses a file of another length before it reads; `host
//! data check` reads on, and every record with it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pocketflow::dataset::Dataset;
use pocketflow::option::Value;
use pocketflow::plugin::Plugin;
use pocketflow::settings::Settings;
use pocketflow_cifar10::Cifar10;
use std::path::PathBuf;
use std::sync::LazyLock;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for temporary files");
    folder
});

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    let mut settings = Settings::defaults([("cifar10", Cifar10::options())]);
    settings.derive("data_dir", Value::Text(FOLDER.display().to_string()), "the fuzzer");
    settings
});

fuzz_target!(|bytes: &[u8]| {
    let (test, training) = bytes.split_at(bytes.len() / 2);
    std::fs::write(FOLDER.join("test_batch.bin"), test).expect("a folder for temporary files");
    std::fs::write(FOLDER.join("data_batch_1.bin"), training).expect("a folder for temporary files");
    let report = Cifar10::check(&SETTINGS, &|_, _| {}).expect("both files are there");
    let held: u64 = report.sets.iter().map(|set| set.images).sum();
    assert!(held <= bytes.len() as u64 / 3073 && report.sets.iter().all(|set| set.problems > 0));
    assert!(Cifar10::configure(&SETTINGS).is_err(), "files of another length were taken");
});
