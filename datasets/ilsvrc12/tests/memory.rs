//! Memory does not grow with the data set: 100,000 records in far less than a gibibyte. In a
//! program of its own, since the peak is the program's.

#![cfg(target_os = "linux")]

mod made;

use made::{configure, example, jpeg, record};
use pocketflow::dataset::{Batch, Dataset as _, Shard, Split};
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};

/// The most memory that this program has held, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_hundred_thousand_records() {
    const SHARDS: usize = 4;
    let folder = tempfile::tempdir().unwrap();
    let record = record(&example(&jpeg(8, 8, [90, 90, 90]), 7));
    for shard in 0..SHARDS {
        let path = folder.path().join(format!("train-{shard:05}-of-{SHARDS:05}"));
        let mut file = BufWriter::new(File::create(path).unwrap());
        for _ in 0..100_000 / SHARDS {
            file.write_all(&record).unwrap();
        }
    }
    let data = configure(folder.path(), &[]).unwrap();
    assert_eq!(data.info().train, 100_000);
    let mut pass = data.open(Split::Train, Shard::WHOLE, 0).unwrap();
    let mut batch = Batch::new(250, data.info().shape);
    let mut read = 0;
    while pass.next(&mut batch).unwrap() {
        assert!(batch.labels.iter().all(|label| *label == 7));
        read += batch.len;
    }
    assert_eq!(read, 100_000);
    assert!(peak() < 128 << 20, "{} bytes", peak());
}
