//! The 200 photographs of /work/shared, where they are at hand: read whole, official labels, checked.

mod made;

use made::{configure, read};
use pocketflow::dataset::{Dataset as _, Split};
use pocketflow::option::Value;
use pocketflow_ilsvrc12::check;
use std::path::Path;
use std::process::Command;

const ARCHIVE: &str = "/work/shared/data/ilsvrc12-sample200.zip";
const WNIDS: &str = "/work/shared/data/ilsvrc12_wnids.txt";

#[test]
fn the_sample_is_read_with_official_labels() {
    let folder = tempfile::tempdir().unwrap();
    let unpacked = Path::new(ARCHIVE).is_file()
        && Command::new("unzip")
            .arg("-q")
            .arg(ARCHIVE)
            .arg("-d")
            .arg(folder.path())
            .status()
            .is_ok_and(|status| status.success());
    if !unpacked {
        eprintln!("skipped: {ARCHIVE} or unzip is not here");
        return;
    }
    let list = Value::Text(WNIDS.into());
    let data = configure(folder.path(), &[("ilsvrc12_wnids", list), ("image_size", Value::Int(64))]).unwrap();
    assert_eq!((data.info().train, data.info().eval), (0, 200));
    let mut labels: Vec<u32> = read(&data, Split::Eval, 0).unwrap().iter().map(|(label, _)| *label).collect();
    labels.sort_unstable();
    assert!(labels.windows(2).all(|two| two[1] - two[0] == 5), "one photograph for each fifth class: {labels:?}");
    assert!((1..=5).contains(&labels[0]) && labels.len() == 200);
    let report = check(folder.path(), Some(Path::new(WNIDS)), 2, &|_, _| {}).unwrap();
    assert!(report.is_sound() && report.sets[0].classes == 200, "{report}");
}
