//! Writes the stand-in for CIFAR-10 in CIFAR-10's own record layout (label, then planes of red,
//! green and blue), to look at it or to train something else on it, and says how fast it was made:
//! `cargo run --release -p pocketflow-synthetic --example export -- FOLDER` leaves `train.bin` and
//! `test.bin`.

use pocketflow::dataset::{Batch, Dataset as _, Shard, Split};
use pocketflow::plugin::Plugin as _;
use pocketflow::settings::Settings;
use pocketflow_synthetic::Synthetic;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

fn main() -> pocketflow::Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| ".".into()));
    fs::create_dir_all(&folder)?;
    let data = Synthetic::configure(&Settings::defaults([("synthetic", Synthetic::options())]))?;
    let info = data.info();
    let mut batch = Batch::new(100, info.shape);
    for (split, name) in [(Split::Plain, "train.bin"), (Split::Eval, "test.bin")] {
        let start = Instant::now();
        let mut pass = data.open(split, Shard::WHOLE, 0)?;
        let rate = info.samples(split) as f64 / start.elapsed().as_secs_f64();
        println!("{name}: painted {rate:.0} images/s");
        let mut records = Vec::new();
        while pass.next(&mut batch)? {
            for (label, image) in batch.labels.iter().zip(batch.images.chunks_exact(3072)).take(batch.len) {
                records.push(*label as u8);
                for plane in 0..3 {
                    records.extend(image.iter().skip(plane).step_by(3));
                }
            }
        }
        fs::write(folder.join(name), records)?;
    }
    Ok(())
}
