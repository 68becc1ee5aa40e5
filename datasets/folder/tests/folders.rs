//! Folders as people have them: which images and classes are found in them, and what is said of
//! those that are wrong.

use image::{ExtendedColorType, ImageFormat};
use pocketflow::dataset::check::CheckReport;
use pocketflow::dataset::{Batch, Dataset, Shard, Split};
use pocketflow::option::{OptionSpec, Value};
use pocketflow::plugin::Plugin as _;
use pocketflow::settings::{Origin, Setting, Settings};
use pocketflow::{ErrorKind, Result};
use pocketflow_folder::Folder;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const FORMATS: [(&str, ImageFormat); 4] =
    [("png", ImageFormat::Png), ("webp", ImageFormat::WebP), ("bmp", ImageFormat::Bmp), ("gif", ImageFormat::Gif)];

/// Writes an image of one colour; the last part of the name says what kind of file.
fn put(path: &Path, (width, height): (u32, u32), colour: [u8; 3]) {
    let name = path.extension().unwrap().to_str().unwrap().to_ascii_lowercase();
    let format = FORMATS.into_iter().find(|(extension, _)| *extension == name).unwrap().1;
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let pixels = colour.repeat((width * height) as usize);
    image::save_buffer_with_format(path, &pixels, width, height, ExtendedColorType::Rgb8, format).unwrap();
}

/// `count` images of a class; red says which image, green which class.
fn class(root: &Path, name: &str, number: u8, count: u8) {
    for image in 0..count {
        let path = root.join(name).join(format!("{image:02}.{}", FORMATS[usize::from(image) % 4].0));
        put(&path, (20, 24), [image * 9, number * 40, 200]);
    }
}

fn settings(data_dir: &Path, set: &[(&str, Value)]) -> Settings {
    let host = vec![
        OptionSpec::path("data_dir", &data_dir.to_string_lossy(), "images"),
        OptionSpec::int("image_size", 16, 1..=4096, "size"),
        OptionSpec::int("image_channels", 3, 1..=3, "channels"),
        OptionSpec::int("threads", 2, 0..=64, "threads"),
    ];
    let mut settings = Settings::defaults([("host", host), ("folder", Folder::options())]);
    for (key, value) in set {
        let origin = Origin::Flag { name: format!("--{key}") };
        let setting = Setting { value: Some(value.clone()), origin, overrode: Vec::new(), owner: "test".into() };
        settings.insert(*key, setting);
    }
    settings
}

fn configure(data_dir: &Path, set: &[(&str, Value)]) -> Result<Folder> {
    Folder::configure(&settings(data_dir, set))
}

fn check(data_dir: &Path) -> Result<CheckReport> {
    Folder::check(&settings(data_dir, &[]), &|_, _| {})
}

fn read(data: &Folder, split: Split) -> Result<Vec<(u32, Vec<u8>)>> {
    let shape = data.info().shape;
    let mut pass = data.open(split, Shard::WHOLE, 3)?;
    let mut batch = Batch::new(1, shape);
    let mut samples = Vec::new();
    while pass.next(&mut batch)? {
        samples.push((batch.labels[0], batch.images.to_vec()));
    }
    Ok(samples)
}

fn refused(data_dir: &Path, set: &[(&str, Value)]) -> String {
    let error = configure(data_dir, set).err().expect("an error");
    error.to_string().replace(&*data_dir.to_string_lossy(), "DIR")
}

#[test]
fn train_and_val_are_found_and_classes_numbered_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    for (number, name) in ["Zebra", "ant", "große Katze"].into_iter().enumerate() {
        class(&dir.join("train"), name, number as u8, 8);
        class(&dir.join("val"), name, number as u8, 3);
    }
    let data = configure(dir, &[]).unwrap();
    let info = data.info();
    assert_eq!(info.labels, ["Zebra", "ant", "große Katze"], "as Python sorts them");
    assert_eq!((info.shape, info.train, info.val, info.eval), ([3, 16, 16], 24, 2, 9));
    assert!(info.classes_by_name && !info.stand_in && !info.leaves_out);
    let test = read(&data, Split::Eval).unwrap();
    assert_eq!(test.len(), 9);
    for (label, pixels) in &test {
        assert_eq!(pixels[1], *label as u8 * 40, "every kind of file has its label and its colours");
    }
    let found: Vec<_> = test.iter().map(|(label, pixels)| (*label, pixels[0] / 9)).collect();
    assert_eq!(found[..4], [(0, 0), (1, 0), (2, 0), (0, 1)], "one of each class in turn");
    assert_eq!(read(&data, Split::Train).unwrap().len(), 24);
    let report = check(dir).unwrap();
    assert!(report.is_sound(), "{report:?}");
    let sets: Vec<_> =
        report.sets.iter().map(|set| (set.name.as_str(), set.images, set.complete, set.classes)).collect();
    assert_eq!(sets, [("training", 24, 24, 3), ("validation", 9, 9, 3)]);

    // Without training images it can still be evaluated, under the names that are there.
    fs::remove_dir_all(dir.join("train")).unwrap();
    let data = configure(dir, &[]).unwrap();
    assert_eq!((data.info().train, data.info().eval), (0, 9));
    assert_eq!(read(&data, Split::Eval).unwrap(), test);
    assert!(data.open(Split::Train, Shard::WHOLE, 0).err().unwrap().to_string().contains("no training images"));
}

#[test]
fn one_folder_is_divided() {
    let folder = tempfile::tempdir().unwrap();
    for root in [folder.path().join("one"), folder.path().join("two/train")] {
        class(&root, "a", 0, 10);
        class(&root, "b", 1, 20);
    }
    for dir in ["one", "two"] {
        let data = configure(&folder.path().join(dir), &[("folder_val_share", Value::Float(0.3))]).unwrap();
        assert_eq!((data.info().train, data.info().eval), (21, 9));
        let labels = |split| read(&data, split).unwrap().iter().map(|(label, _)| *label).collect::<Vec<_>>();
        assert_eq!(labels(Split::Eval).iter().filter(|label| **label == 0).count(), 3);
        let colours = |split| read(&data, split).unwrap().into_iter().map(|(label, pixels)| (label, pixels[0]));
        let test: Vec<_> = colours(Split::Eval).collect();
        assert!(colours(Split::Plain).all(|image| !test.contains(&image)), "no image is in both");
    }
}

#[test]
fn grey_and_small_and_square() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        put(&folder.path().join(name).join("1.png"), (40, 16), [10, 200, 77]);
        put(&folder.path().join(name).join("2.png"), (16, 16), [10, 200, 77]);
    }
    let data = configure(folder.path(), &[("image_channels", Value::Int(1))]).unwrap();
    assert_eq!((data.info().shape, data.info().mean.len()), ([1, 16, 16], 1));
    for (_, pixels) in read(&data, Split::Eval).unwrap() {
        assert_eq!(pixels, [129; 256]);
    }
    assert!(refused(folder.path(), &[("image_channels", Value::Int(2))]).contains("1 channel, grey, or 3, colours"));

    // A part of its own size is copied, and the middle of a wide one taken.
    let pixels: Vec<u8> = (0..40 * 16 * 3).map(|at| (at * 7 % 251) as u8).collect();
    for name in ["a", "b"] {
        let path = folder.path().join("new").join(name).join("1.png");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::save_buffer(&path, &pixels, 40, 16, ExtendedColorType::Rgb8).unwrap();
    }
    let data = configure(&folder.path().join("new"), &[("folder_val_share", Value::Float(0.0))]).unwrap();
    assert_eq!((data.info().train, data.info().eval), (2, 0));
    let middle: Vec<u8> = pixels.chunks(40 * 3).flat_map(|row| row[12 * 3..28 * 3].to_vec()).collect();
    assert_eq!(read(&data, Split::Plain).unwrap()[0].1, middle);
}

#[test]
fn augmentation_changes_training_images_alone() {
    let folder = tempfile::tempdir().unwrap();
    let pixels: Vec<u8> = (0..60 * 50 * 3).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for name in ["a", "b"] {
        let path = folder.path().join(name).join("1.png");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::save_buffer(&path, &pixels, 60, 50, ExtendedColorType::Rgb8).unwrap();
        fs::copy(&path, path.with_file_name("2.png")).unwrap();
    }
    let mut seen = Vec::new();
    for augment in ["none", "flip", "crop", "inception"] {
        let set = [("folder_augment", Value::Text(augment.into()))];
        let data = configure(folder.path(), &set).unwrap();
        assert!(data.info().source.ends_with(&format!("augmentation {augment}")), "{}", data.info().source);
        let plain = &read(&data, Split::Plain).unwrap()[0].1;
        let trained: Vec<Vec<u8>> = (0..12)
            .flat_map(|seed| {
                let mut pass = data.open(Split::Train, Shard::WHOLE, seed).unwrap();
                let mut batch = Batch::new(2, [3, 16, 16]);
                assert!(pass.next(&mut batch).unwrap());
                batch.images.chunks(16 * 16 * 3).map(<[u8]>::to_vec).collect::<Vec<_>>()
            })
            .collect();
        let kinds = trained.iter().collect::<std::collections::BTreeSet<_>>().len();
        seen.push((kinds, trained.contains(plain)));
    }
    assert_eq!(seen[..2], [(1, true), (2, true)], "none, and mirrored or not");
    assert!(seen[2].0 > 10 && seen[3].0 > 10, "{seen:?}");
    let set = [("enbl_augment", Value::Bool(false))];
    let data = configure(folder.path(), &set).unwrap();
    assert_eq!(read(&data, Split::Train).unwrap()[0].1, read(&data, Split::Plain).unwrap()[0].1);
}

#[test]
fn what_is_wrong_is_named_and_can_be_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    class(&dir.join("train"), "a", 0, 4);
    class(&dir.join("train"), "b", 1, 4);
    class(&dir.join("val"), "a", 0, 4);
    class(&dir.join("val"), "b", 1, 4);
    // What lies about and is no harm.
    for litter in [".DS_Store", "a/.DS_Store", "a/._00.png", "a/Thumbs.db", "notes.txt"] {
        fs::write(dir.join("val").join(litter), "x").unwrap();
    }
    fs::create_dir(dir.join("val/.ipynb_checkpoints")).unwrap();
    fs::create_dir(dir.join("val/__MACOSX")).unwrap();
    symlink(dir.join("val"), dir.join("val/a/loop")).unwrap();
    assert!(check(dir).unwrap().is_sound(), "{:?}", check(dir).unwrap());
    assert_eq!(configure(dir, &[]).unwrap().info().eval, 8);
    // A link to itself is nothing, one to a folder of images is that folder.
    symlink("self", dir.join("val/self")).unwrap();
    assert!(check(dir).unwrap().is_sound());

    fs::write(dir.join("val/a/empty.png"), "").unwrap();
    fs::write(dir.join("val/b/page.jpg"), "<html>404</html>").unwrap();
    fs::create_dir(dir.join("val/c")).unwrap();
    put(&dir.join("val/c/1.png"), (9, 9), [1, 2, 3]);
    fs::create_dir(dir.join("train/d")).unwrap();
    put(&dir.join("val/loose.png"), (9, 9), [1, 2, 3]);
    symlink("/nowhere/x.png", dir.join("val/a/broken.png")).unwrap();
    put(&dir.join("val/b/more/1.png"), (9, 9), [1, 2, 3]);
    let report = check(dir).unwrap();
    assert!(!report.is_sound());
    let named: Vec<String> = report
        .sets
        .iter()
        .flat_map(|set| &set.named)
        .map(|text| text.replace(&*dir.to_string_lossy(), "DIR"))
        .collect();
    for what in [
        "DIR/train/d: holds no images",
        "DIR/val/a/empty.png: the file is empty",
        "DIR/val/b/page.jpg: neither a JPEG nor a PNG, WebP, BMP or GIF file",
        "DIR/val/c: a class that the training images do not have",
        "DIR/val/loose.png: lies in no folder of a class and is not read",
        "DIR/val/a/broken.png: a link that leads nowhere",
        "DIR/val/b/more: a folder within a class",
    ] {
        assert_eq!(named.iter().filter(|text| text.starts_with(what)).count(), 1, "{what}\n{named:#?}");
    }
    assert_eq!(named.len(), 7, "{named:#?}");
    assert!(report.notes.iter().any(|note| note == "validation: no whole image of `d`"), "{:?}", report.notes);

    let text = refused(dir, &[]);
    assert!(text.starts_with("DIR/train/d: holds no images") && text.ends_with("--folder-allow-damaged"), "{text}");
    let data = configure(dir, &[("folder_allow_damaged", Value::Bool(true))]).unwrap();
    assert_eq!(data.info().labels, ["a", "b", "d"]);
    assert!(data.info().leaves_out);
    assert_eq!(read(&data, Split::Eval).unwrap().len(), 8, "without the two that are damaged");

    fs::remove_file(dir.join("val/a/broken.png")).unwrap();
    fs::remove_dir(dir.join("train/d")).unwrap();
    fs::remove_dir_all(dir.join("val/c")).unwrap();
    fs::remove_file(dir.join("val/loose.png")).unwrap();
    fs::remove_dir_all(dir.join("val/b/more")).unwrap();
    let data = configure(dir, &[]).unwrap();
    let text = read(&data, Split::Eval).unwrap_err().to_string();
    assert!(text.contains("empty.png: the file is empty") && text.contains("--folder-allow-damaged"), "{text}");
}

#[test]
fn folders_that_are_no_data_set() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    for place in [dir.to_owned(), dir.join("nowhere")] {
        let error = configure(&place, &[]).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::DataNotFound);
        assert!(error.to_string().contains("train/CLASS and val/CLASS"), "{error}");
    }
    fs::create_dir(dir.join("empty")).unwrap();
    assert_eq!(check(dir).unwrap_err().kind(), ErrorKind::DataNotFound, "no image at all");
    fs::write(dir.join("file"), "x").unwrap();
    assert!(configure(&dir.join("file"), &[]).err().unwrap().to_string().contains("is not a folder"));

    put(&dir.join("1.png"), (9, 9), [1, 2, 3]);
    let text = refused(dir, &[]);
    assert!(text.starts_with("DIR: holds images, but no folders of classes"), "{text}");
    put(&dir.join("cat/1.png"), (9, 9), [1, 2, 3]);
    fs::remove_dir(dir.join("empty")).unwrap();
    let text = refused(dir, &[]);
    assert!(text.starts_with("DIR: `cat` is the only class; a classifier needs two"), "{text}");
    assert!(check(dir).unwrap().sets[0].named[0].contains("cat: the only class") || !check(dir).unwrap().is_sound());
    fs::remove_file(dir.join("1.png")).unwrap();
    put(&dir.join("dog/1.png"), (9, 9), [1, 2, 3]);
    let text = refused(dir, &[("nb_classes", Value::Int(5))]);
    assert!(text.contains("`nb_classes` = 5") && text.contains("folders of 2 classes"), "{text}");
    put(&dir.join("do\ng/1.png"), (9, 9), [1, 2, 3]);
    let text = refused(dir, &[]);
    assert!(text.contains("control characters") && !text.contains('\n'), "{text}");
}
