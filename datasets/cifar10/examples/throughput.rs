//! How fast one core delivers batches: `cargo run --release -p pocketflow-cifar10 --example
//! throughput -- DATA_DIR`.

use pocketflow::dataset::{Batch, Dataset as _, Shard, Split};
use pocketflow::option::OptionSpec;
use pocketflow::plugin::Plugin as _;
use pocketflow::settings::Settings;
use pocketflow_cifar10::Cifar10;
use std::time::Instant;

fn main() -> pocketflow::Result<()> {
    let data_dir = std::env::args().nth(1).unwrap_or_else(|| "./data/cifar10".into());
    let host = vec![OptionSpec::path("data_dir", &data_dir, "images")];
    let data = Cifar10::configure(&Settings::defaults([("host", host), ("cifar10", Cifar10::options())]))?;
    let mut batch = Batch::new(128, data.info().shape);
    let start = Instant::now();
    data.open(Split::Train, Shard::WHOLE, 0)?;
    println!("reading the training files: {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    for (split, passes) in [(Split::Train, 10), (Split::Plain, 10)] {
        let start = Instant::now();
        let mut images = 0;
        for seed in 0..passes {
            let mut pass = data.open(split, Shard::WHOLE, seed)?;
            while pass.next(&mut batch)? {
                images += batch.len;
            }
        }
        println!("{split:?}: {:.0} images/s", images as f64 / start.elapsed().as_secs_f64());
    }
    Ok(())
}
