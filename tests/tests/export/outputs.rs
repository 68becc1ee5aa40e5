//! All files of an export, or none: what is in the way, what is typed wrong, and what an earlier
//! export left.

use crate::{exported, trained};
use std::fs;

const EXPORT: &str = "export --model_dir=models --enbl_post_quant --calibration_images=32 --nb_smpls_train=960 \
                      --verify_images=50 --nb_smpls_eval=200 --threads=1";

#[test]
fn what_is_wrong_is_found_before_anything_is_replaced() {
    let place = trained();
    let left = || {
        let entries = fs::read_dir(place.path("models")).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    };
    for (flags, said) in [
        ("--dataset=synthetc", "synthetc"),
        ("--nb_smpls_eval=-1", "nb_smpls_eval"),
        ("--synthetic_none=1", "--synthetic"),
        ("--net=resnet_at_cifar1", "resnet_at_cifar1"),
    ] {
        let flags = format!("{} {flags}", EXPORT.replace(" --nb_smpls_eval=200", ""));
        place.host(&flags).expect(2).says(&[said]);
        assert_eq!(left(), ["model.ckpt"], "{flags}");
    }
    fs::create_dir(place.path("models/export.json")).unwrap();
    place.host(EXPORT).expect(2).says(&["models/export.json", "it is a folder"]);
    assert_eq!(left(), ["export.json", "model.ckpt"]);
    fs::remove_dir(place.path("models/export.json")).unwrap();
    // The model itself under a name of an export.
    fs::copy(place.path("models/model.ckpt"), place.path("models/labels.txt")).unwrap();
    let itself = EXPORT.replace("--model_dir=models", "--model_dir=models/labels.txt");
    place.host(&itself).expect(2).says(&["models/labels.txt", "the model, which is read"]);
    fs::remove_file(place.path("models/labels.txt")).unwrap();

    let outcome = exported(&place, "models", "--enbl_post_quant --calibration_images=32 --format=tflite,pb");
    assert!(!outcome["notes"].to_string().contains("earlier"), "{outcome:#}");
    // Another format alone leaves the files of the first, and says so.
    place.host(&format!("{EXPORT} --format=pb")).expect(0);
    let notes = place.json("models/export.json")["notes"].to_string();
    assert!(notes.contains("model_original.tflite, model_quantized.tflite are of an earlier export"), "{notes}");
}
