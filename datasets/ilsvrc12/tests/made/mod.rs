//! Makes small data sets in temporary folders, in every form, with encoders of its own for records
//! and examples.
#![allow(dead_code, reason = "each test program uses a part of it")]

use jpeg_encoder::{ColorType, Encoder};
use pocketflow::Result;
use pocketflow::dataset::{Batch, Dataset, Shard, Split};
use pocketflow::option::{OptionSpec, Value};
use pocketflow::plugin::Plugin as _;
use pocketflow::settings::{Origin, Setting, Settings};
use pocketflow_ilsvrc12::Ilsvrc12;
use std::fs;
use std::path::Path;

/// A JPEG image of one colour, which tells it from others.
pub fn jpeg(width: u16, height: u16, colour: [u8; 3]) -> Vec<u8> {
    let pixels = colour.repeat(usize::from(width) * usize::from(height));
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes, 95).encode(&pixels, width, height, ColorType::Rgb).unwrap();
    bytes
}

/// The colour of image `number`: far enough from the next to survive compression.
pub fn colour(number: usize) -> [u8; 3] {
    [(number % 16 * 16 + 8) as u8, (number / 16 % 16 * 16 + 8) as u8, 128]
}

/// The number that a pixel of [`colour`] stands for.
pub fn number(pixel: &[u8]) -> usize {
    usize::from(pixel[0] / 16) + usize::from(pixel[1] / 16) * 16
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 128 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A field of a protocol buffer that holds bytes.
fn field(number: u64, data: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(data.len() as u64), data.to_vec()].concat()
}

/// A serialized `tf.train.Example`.
pub fn example(image: &[u8], label: i64) -> Vec<u8> {
    let feature = |key: &str, value: Vec<u8>| field(1, &[field(1, key.as_bytes()), field(2, &value)].concat());
    let image = feature("image/encoded", field(1, &field(1, image)));
    let label = feature("image/class/label", field(3, &field(1, &varint(label as u64))));
    let text = feature("image/class/text", field(1, &field(1, b"tench")));
    field(1, &[text, image, label].concat())
}

fn masked_crc(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// A record of a TFRecord file.
pub fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length), data, &masked_crc(data)].concat()
}

/// Writes `images` over `shards` TFRecord files.
pub fn shards(folder: &Path, prefix: &str, shards: usize, images: &[(Vec<u8>, i64)]) {
    fs::create_dir_all(folder).unwrap();
    let part = images.len().div_ceil(shards);
    for (shard, images) in images.chunks(part).enumerate() {
        let bytes: Vec<u8> = images.iter().flat_map(|(image, label)| record(&example(image, *label))).collect();
        fs::write(folder.join(format!("{prefix}-{shard:05}-of-{shards:05}")), bytes).unwrap();
    }
}

/// `count` images of 20×24 pixels, each with its number as colour and label `number % 5 + 1`.
pub fn images(count: usize) -> Vec<(Vec<u8>, i64)> {
    (0..count).map(|number| (jpeg(20, 24, colour(number)), number as i64 % 5 + 1)).collect()
}

/// A set of both kinds as TFRecord files.
pub fn both(folder: &Path, training: usize, validation: usize) {
    shards(folder, "train", 3.min(training), &images(training));
    shards(folder, "validation", 1, &images(validation));
}

/// Writes the images of classes as folders, `images` each, numbered through.
pub fn class_folders(root: &Path, wnids: &[&str], images: usize) {
    for (class, wnid) in wnids.iter().enumerate() {
        fs::create_dir_all(root.join(wnid)).unwrap();
        for image in 0..images {
            let bytes = jpeg(20, 24, colour(class * images + image));
            fs::write(root.join(wnid).join(format!("{wnid}_{image}.JPEG")), bytes).unwrap();
        }
    }
}

/// A tar of files.
pub fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Settings as the host resolves them, with values that somebody set.
pub fn settings(data_dir: &Path, set: &[(&str, Value)]) -> Settings {
    let host = vec![
        OptionSpec::path("data_dir", &data_dir.to_string_lossy(), "images"),
        OptionSpec::text("net", "resnet_at_ilsvrc12", "net"),
        OptionSpec::int("image_size", 16, 1..=4096, "size"),
        OptionSpec::int("threads", 2, 0..=64, "threads"),
    ];
    let mut settings = Settings::defaults([("host", host), ("ilsvrc12", Ilsvrc12::options())]);
    for (key, value) in set {
        let origin = Origin::Flag { name: format!("--{key}") };
        let setting = Setting { value: Some(value.clone()), origin, overrode: Vec::new(), owner: "test".into() };
        settings.insert(*key, setting);
    }
    settings
}

pub fn configure(data_dir: &Path, set: &[(&str, Value)]) -> Result<Ilsvrc12> {
    Ilsvrc12::configure(&settings(data_dir, set))
}

/// The rest of a pass as labels and images; batches of `size`.
pub fn rest(
    pass: &mut dyn pocketflow::dataset::Batches,
    size: usize,
    shape: [usize; 3],
) -> Result<Vec<(u32, Vec<u8>)>> {
    let mut batch = Batch::new(size, shape);
    let bytes = shape.iter().product();
    let mut samples = Vec::new();
    while pass.next(&mut batch)? {
        let images = batch.images.chunks(bytes).map(<[u8]>::to_vec);
        samples.extend(batch.labels.iter().copied().zip(images).take(batch.len));
    }
    Ok(samples)
}

pub fn read(data: &Ilsvrc12, split: Split, seed: u64) -> Result<Vec<(u32, Vec<u8>)>> {
    rest(&mut *data.open(split, Shard::WHOLE, seed)?, 1, data.info().shape)
}

/// The numbers of the images of a pass.
pub fn numbers(data: &Ilsvrc12, split: Split, seed: u64) -> Vec<usize> {
    read(data, split, seed).unwrap().iter().map(|(_, pixels)| number(pixels)).collect()
}

/// An error's text without the folder's changing name.
pub fn problem<T>(result: Result<T>, folder: &Path) -> String {
    result.err().expect("an error").to_string().replace(&*folder.to_string_lossy(), "DIR")
}
