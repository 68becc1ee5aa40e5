//! 200 photographs, where they are at hand: read whole, official labels, checked.

mod made;

use made::{configure, read};
use pocketflow::dataset::{Dataset as _, Split};
use pocketflow::option::Value;
use pocketflow_ilsvrc12::check;
use pocketflow_tests::samples::sample;
use std::process::Command;

#[test]
fn the_sample_is_read_with_official_labels() {
    let (Some(archive), Some(wnids)) = (sample("ilsvrc12-sample200.zip"), sample("ilsvrc12_wnids.txt")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut unpack = Command::new("python3");
    let unpacked = unpack.args(["-m", "zipfile", "-e"]).arg(archive).arg(folder.path()).status().unwrap();
    assert!(unpacked.success());
    let list = Value::Text(wnids.to_str().unwrap().into());
    let data = configure(folder.path(), &[("ilsvrc12_wnids", list), ("image_size", Value::Int(64))]).unwrap();
    assert_eq!((data.info().train, data.info().eval), (0, 200));
    let mut labels: Vec<u32> = read(&data, Split::Eval, 0).unwrap().iter().map(|(label, _)| *label).collect();
    labels.sort_unstable();
    assert!(labels.windows(2).all(|two| two[1] - two[0] == 5), "one photograph for each fifth class: {labels:?}");
    assert!((1..=5).contains(&labels[0]) && labels.len() == 200);
    let report = check(folder.path(), Some(&wnids), 2, &|_, _| {}).unwrap();
    assert!(report.is_sound() && report.sets[0].classes == 200, "{report}");
}
