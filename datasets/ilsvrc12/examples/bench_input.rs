//! How fast images become batches, against the decoder alone and against torchvision's
//! `DataLoader`, in turns in one process.
//!
//! `cargo run --release -p pocketflow-ilsvrc12 --example bench_input -- DATA_DIR [--threads 2]
//! [--rounds 5] [--passes 2] [--split train] [--net resnet] [--size 224] [--pytorch PYTHON]`. Every
//! image below DATA_DIR/val is read, as training images are.

use pocketflow::dataset::{Batch, Dataset as _, Shard, Split};
use pocketflow::option::{OptionSpec, Value};
use pocketflow::plugin::Plugin as _;
use pocketflow::settings::Settings;
use pocketflow_ilsvrc12::Ilsvrc12;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, default: &str| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)).cloned().unwrap_or_else(|| default.to_owned())
    };
    let data_dir = PathBuf::from(arguments.first().ok_or("which folder?")?);
    let (threads, rounds) = (option("--threads", "2").parse::<usize>()?, option("--rounds", "5").parse::<usize>()?);
    let (passes, size) = (option("--passes", "2").parse::<u64>()?, option("--size", "224").parse::<i64>()?);
    let python = option("--pytorch", "");

    // The folder's validation images as training images, through a link.
    let linked = std::env::temp_dir().join(format!("bench_input-{}", std::process::id()));
    fs::create_dir_all(&linked)?;
    std::os::unix::fs::symlink(fs::canonicalize(data_dir.join("val"))?, linked.join("train"))?;
    let host = vec![
        OptionSpec::path("data_dir", &linked.to_string_lossy(), "images"),
        OptionSpec::int("image_size", size, 1..=4096, "size"),
        OptionSpec::int("threads", threads as i64, 1..=256, "threads"),
        OptionSpec::text("net", &option("--net", "resnet"), "net"),
    ];
    let mut settings = Settings::defaults([("host", host), ("ilsvrc12", Ilsvrc12::options())]);
    settings.derive("nb_smpls_val", Value::Int(0), "bench");
    let data = Ilsvrc12::configure(&settings)?;
    let split = if option("--split", "train") == "train" { Split::Train } else { Split::Plain };

    let files = files(&linked.join("train"))?;
    println!("{} images, {threads} threads, {split:?}, {size} pixels; images/s", files.len());
    for _ in 0..rounds {
        let decoder = decoder_alone(&files, threads, passes);
        let pipeline = pipeline(&data, split, passes)?;
        print!("decoder alone {decoder:.0}, pipeline {pipeline:.0} ({:.2})", pipeline / decoder);
        if !python.is_empty() {
            let root = linked.join("train");
            let loader = data_loader(&python, &root, [threads as i64, passes as i64, size], split)?;
            print!(", DataLoader {loader:.0} ({:.2})", pipeline / loader);
        }
        println!();
    }
    fs::remove_dir_all(&linked)?;
    Ok(())
}

fn files(root: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in fs::read_dir(root)? {
        for file in fs::read_dir(folder?.path())? {
            files.push(file?.path());
        }
    }
    Ok(files)
}

/// Reads and decodes whole files, nothing else.
fn decoder_alone(files: &[PathBuf], threads: usize, passes: u64) -> f64 {
    let total = files.len() * passes as usize;
    let (next, start) = (AtomicUsize::new(0), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut pixels = Vec::new();
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    if place >= total {
                        return;
                    }
                    let bytes = fs::read(&files[place % files.len()]).unwrap_or_default();
                    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
                    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&bytes), options);
                    if decoder.decode_headers().is_ok() {
                        pixels.resize(decoder.output_buffer_size().unwrap_or(0), 0);
                        let _ = decoder.decode_into(&mut pixels);
                    }
                }
            });
        }
    });
    total as f64 / start.elapsed().as_secs_f64()
}

fn pipeline(data: &Ilsvrc12, split: Split, passes: u64) -> pocketflow::Result<f64> {
    let mut batch = Batch::new(50, data.info().shape);
    let (mut images, start) = (0, Instant::now());
    for seed in 0..passes {
        let mut pass = data.open(split, Shard::WHOLE, seed)?;
        while pass.next(&mut batch)? {
            images += batch.len;
        }
    }
    Ok(images as f64 / start.elapsed().as_secs_f64())
}

/// What the script beside this file prints.
fn data_loader(python: &str, root: &Path, numbers: [i64; 3], split: Split) -> Result<f64, Box<dyn Error>> {
    let mut command = Command::new(python);
    command.arg("-c").arg(include_str!("bench_input.py")).arg(root).args(numbers.map(|number| number.to_string()));
    let output = command.arg(if split == Split::Train { "train" } else { "plain" }).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}
