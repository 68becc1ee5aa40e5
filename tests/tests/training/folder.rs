//! Photographs of one's own, from the folder to the file for a phone: measured, trained on,
//! quantized, evaluated under the names of their classes, exported.

use pocketflow::model::Model;
use pocketflow_tests::pictures::class;
use pocketflow_tests::place::Place;
use serde_json::Value;
use std::fs;

/// A ResNet-8 for small images.
const NET: &str = "--net=resnet_at_cifar10 --resnet_size=8 --image_size=24 --threads=1";
const CLASSES: [&str; 3] = ["across", "down", "große Felder"];

/// `photos` with all classes, and `two` with the last two of them, which other numbers would mean.
fn photos() -> Place {
    let place = Place::new();
    for (kind, name) in (0..).zip(CLASSES) {
        class(&place.path("photos/train").join(name), kind, 0, 80);
        class(&place.path("photos/val").join(name), kind, 500, 20);
        if kind > 0 {
            class(&place.path("two/val").join(name), kind, 700, 20);
        }
    }
    place
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[track_caller]
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn from_a_folder_of_photographs_to_files_that_name_their_classes() {
    let place = photos();
    let stats = json(&place.host(&format!("data stats photos {NET} --dataset=folder --format=json")).expect(0).stdout);
    assert_eq!((&stats["dataset"], &stats["images"]), (&"folder".into(), &240.into()));
    assert_eq!(stats["shape"], json("[3, 24, 24]"));
    let list = |key: &str| {
        let numbers = stats[key].as_array().unwrap().iter().map(Value::to_string);
        numbers.collect::<Vec<_>>().join(",")
    };
    assert!(stats["mean"].as_array().unwrap().iter().all(|mean| (100.0..200.0).contains(&number(mean))), "{stats}");
    let text = place.host("data stats photos").expect(0).stdout;
    assert!(text.contains("as folder: 240 training images of 224 × 224, 3 classes"), "{text}");
    let check = place.host("data check photos").expect(0).stdout;
    assert!(check.contains("photos as folder") && check.contains("nothing is damaged"), "{check}");

    let normalised = format!("--input_mean={} --input_std={}", list("mean"), list("std"));
    let train = format!(
        "--learner=uniform {NET} --dataset=folder --data_dir=photos {normalised} --batch_size=16 --nb_epochs_rat=0.04 \
         --lrn_rate_init=0.2 --uql_weight_bits=6 --uql_activation_bits=8 --uql_quant_epochs=2"
    );
    place.host(&format!("{train} --run_dir=run")).expect(0);
    let report = place.json("run/report.json");
    assert_eq!((&report["dataset"], &report["stand_in_data"]), (&"folder".into(), &false.into()));
    assert!(number(&report["top1_full_precision"]) > 0.9 && number(&report["top1"]) > 0.9, "{report:#}");
    let model = Model::load(&place.path("uql_quant_models/model.ckpt")).unwrap();
    assert_eq!(model.meta.labels, CLASSES);
    assert_eq!(model.graph.input_shape(), [3, 24, 24]);

    // The model says which data set, size and normalisation it wants, and its classes are found by
    // name where some are missing.
    let eval = |flags: &str| json(&place.host(&format!("eval {flags} --format=json --threads=1")).expect(0).stdout);
    let again = eval("uql_quant_models/model.ckpt --data_dir=photos --run_dir=eval");
    assert_eq!((&again["top1"], &again["dataset"]), (&report["top1"], &"folder".into()));
    let two = eval("uql_quant_models/model.ckpt --data_dir=two --run_dir=eval-two");
    assert!(number(&two["top1"]) > 0.9, "{two:#}");

    let export = "export --model_dir=uql_quant_models --data_dir=photos --threads=1 --verify_images=60";
    place.host(&format!("{export} --enbl_post_quant --calibration_images=64")).expect(0);
    let labels = String::from_utf8(place.bytes("uql_quant_models/labels.txt")).unwrap();
    assert_eq!(labels, CLASSES.join("\n") + "\n");
    for file in ["model_quantized.tflite", "model_original.tflite"] {
        let two = eval(&format!("uql_quant_models/{file} --runtime=reference --data_dir=two"));
        assert!(number(&two["top1"]) > 0.9, "{file}: {two:#}");
    }

    // A class that the model does not know is named; a parent of other classes is no parent.
    fs::rename(place.path("two/val/down"), place.path("two/val/along")).unwrap();
    place
        .host("eval uql_quant_models/model.ckpt --data_dir=two --run_dir=unknown")
        .expect(2)
        .says(&["does not know: `along`", "`across`, `down`, `große Felder`"]);
    for set in ["train", "val"] {
        fs::rename(place.path("photos").join(set).join("down"), place.path("photos").join(set).join("along")).unwrap();
    }
    place.host(&format!("{train} --run_dir=other")).expect(2).says(&["tells other classes apart"]);
}

#[test]
fn any_folder_gives_the_ranges_of_an_export() {
    let place = photos();
    let train = format!(
        "--learner=full-prec {NET} --image_channels=1 --dataset=folder --data_dir=photos --batch_size=16 \
         --nb_epochs_rat=0.008 --run_dir=run"
    );
    place.host(&train).expect(0);
    assert_eq!(Model::load(&place.path("models/model.ckpt")).unwrap().graph.input_shape(), [1, 24, 24]);
    // Where only validation images are there, what is missing is said, with what to do.
    fs::remove_dir_all(place.path("photos/train")).unwrap();
    let export = "export --model_dir=models --data_dir=photos --enbl_post_quant --threads=1 --format=tflite";
    place.host(export).expect(2).says(&["ranges come from training images, and there are none", "--calibration-dir"]);
    assert!(!place.path("models/model_quantized.tflite").exists());

    // Flat and nested, without labels; what is damaged is left out and named.
    class(&place.path("any"), 0, 0, 20);
    class(&place.path("any/deep/deeper"), 2, 0, 20);
    fs::write(place.path("any/deep/broken.jpg"), "<html>404</html>").unwrap();
    let from_any = format!("{export} --calibration_dir=any");
    let outcome = place.host(&from_any).expect(0);
    outcome.says(&["damaged images left out in this pass: 1", "broken.jpg"]);
    let exported = place.json("models/export.json");
    let layers = exported["layers"].as_array().unwrap();
    assert!(layers.iter().all(|layer| layer["weights"] == "post_quantized"), "{exported:#}");
    // Nothing of the data set need be there.
    fs::remove_dir_all(place.path("photos")).unwrap();
    let alone = "export --model_dir=models --enbl_post_quant --threads=1 --format=tflite --calibration_dir=any";
    place.host(alone).expect(0).says(&["the files are not checked on images"]);

    fs::create_dir(place.path("empty")).unwrap();
    let with = |folder: &str| place.host(&format!("{export} --calibration_dir={folder}"));
    fs::create_dir_all(place.path("broken")).unwrap();
    fs::write(place.path("broken/one.png"), "").unwrap();
    let without = export.replace(" --data_dir=photos", "");
    let with_alone = |folder: &str| place.host(&format!("{without} --calibration_dir={folder}"));
    with_alone("empty").expect(2).says(&["empty holds no images"]);
    with_alone("nowhere").expect(2).says(&["nowhere is not a folder"]);
    with_alone("broken").expect(1).says(&["no whole image", "broken"]);
    with("any").expect(2).says(&["data_dir"]);
}

#[test]
fn made_up_images_in_its_shape() {
    let place = Place::new();
    let folder = format!("--learner=full-prec {NET} --dataset=folder --run_dir=run");
    place.host(&folder).expect(2).says(&["no classes of images", "--dataset=synthetic --stand_in_for=folder"]);
    let made = format!(
        "--learner=full-prec {NET} --image_channels=1 --dataset=synthetic --stand_in_for=folder --nb_classes=4 \
         --nb_smpls_train=320 --nb_smpls_val=32 --nb_smpls_eval=64 --batch_size=32 --nb_epochs_rat=0.004 --run_dir=made"
    );
    place.host(&made).expect(0).says(&["STAND-IN"]);
    let model = Model::load(&place.path("models/model.ckpt")).unwrap();
    assert_eq!((model.graph.input_shape(), model.classes().unwrap()), ([1, 24, 24], 4));
    assert!(model.meta.stand_in);
}
