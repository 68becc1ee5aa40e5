//! `host import`: what comes in computes what it did, and what does not fit is said without
//! anything being saved.

use pocketflow::model::Model;
use pocketflow_tests::place::{Place, SMALL};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;

/// The tensors of a model as a .safetensors file, under other names.
fn safetensors(model: &Path, name: impl Fn(&str) -> String) -> Vec<u8> {
    let model = Model::load(model).unwrap();
    let (mut table, mut data) = (Map::new(), Vec::new());
    for (ours, stored) in &model.tensors {
        let start = data.len();
        data.extend(model.values(ours).unwrap().iter().flat_map(|value| value.to_le_bytes()));
        let entry = json!({ "dtype": "F32", "shape": stored.shape(), "data_offsets": [start, data.len()] });
        table.insert(name(ours), entry);
    }
    let table = Value::Object(table).to_string();
    let mut bytes = (table.len() as u64).to_le_bytes().to_vec();
    bytes.extend(table.bytes());
    bytes.extend(data);
    bytes
}

/// A small net, trained a little; its accuracy and loss.
fn trained(place: &Place) -> (Value, Value) {
    place.host(&format!("{SMALL} --resnet_shortcut=pad --nb_epochs_rat=0.02 --run_dir=run")).expect(0);
    let report = place.json("run/report.json");
    (report["top1"].clone(), report["loss"].clone())
}

const EVAL: &str = "--nb_smpls_eval=200 --threads=1";

#[test]
fn safetensors_with_other_names_come_back() {
    let place = Place::new();
    let (top1, loss) = trained(&place);
    let bytes =
        safetensors(&place.path("models/model.ckpt"), |ours| format!("module.{}", ours.replace("fc.", "linear.")));
    fs::write(place.path("theirs.safetensors"), bytes).unwrap();
    // Size, shortcuts and the last layer's name are recognised.
    let import = "import theirs.safetensors --net=resnet_at_cifar10 --dataset=synthetic --save_path=in/model.ckpt";
    let done = place.host(import).expect(0);
    for part in ["resnet8_at_cifar10", "--resnet-shortcut=pad", "module.linear", "37 matched, 0 missing, 0 left over"] {
        assert!(done.stdout.contains(part), "{part}: {}", done.stdout);
    }
    let (first, second) =
        [place.path("models/model.ckpt"), place.path("in/model.ckpt")].map(|path| Model::load(&path).unwrap()).into();
    assert_eq!((&first.graph, &first.tensors), (&second.graph, &second.tensors));
    assert_eq!((second.meta.learner.as_str(), second.meta.dataset.as_str()), ("full-prec", "synthetic"));
    place.host(&format!("eval in/model.ckpt {EVAL} --run_dir=again")).expect(0);
    let again = place.json("again/report.json");
    assert_eq!((&again["top1"], &again["loss"]), (&top1, &loss));
    let again = format!("{import} --overwrite --format=json");
    let json: Value = serde_json::from_str(&place.host(&again).expect(0).stdout).unwrap();
    assert_eq!(json["options"]["resnet_size"], 8);
    assert_eq!(json["report"]["matched"].as_array().unwrap().len(), 37);
}

#[test]
fn a_map_tells_names_that_nobody_guesses() {
    let place = Place::new();
    trained(&place);
    let bytes = safetensors(&place.path("models/model.ckpt"), |ours| format!("net.{}", ours.replace("fc.", "head.")));
    fs::write(place.path("theirs.safetensors"), bytes).unwrap();
    let import = "import theirs.safetensors --net=resnet_at_cifar10 --save_path=in/model.ckpt";
    let refused = place.host(import).expect(2).says(&["nothing was saved", "2 of 37", "`net.head.bias`", "--map"]);
    assert!(refused.stdout.contains("left over") && refused.stdout.contains("missing"), "{}", refused.stdout);
    assert!(!place.path("in").exists());
    let parts = ["conv1", "bn1", "layer1", "layer2", "layer3"].map(|part| format!("\"net.{part}\" = \"{part}\"\n"));
    fs::write(place.path("map.toml"), parts.concat() + "\"net.head\" = \"fc\"\n").unwrap();
    place.host(&format!("{import} --map=map.toml")).expect(0);
    fs::write(place.path("map.toml"), "\"net.none\" = \"fc\"\n").unwrap();
    place.host(&format!("{import} --overwrite --map=map.toml")).expect(2).says(&["net.none"]);
}

#[test]
fn what_was_exported_comes_back() {
    let place = Place::new();
    let (top1, _) = trained(&place);
    place
        .host(
            "export --model_dir=models --enbl_post_quant --format=tflite --calibration_images=64 --verify_images=0 \
                --nb_smpls_train=960 --threads=1",
        )
        .expect(0);
    for file in ["model_original", "model_quantized"] {
        let import =
            format!("import models/{file}.tflite --net=resnet_at_cifar10 --dataset=synthetic --save_path={file}.ckpt");
        let done = place.host(&import).expect(0);
        assert!(done.stdout.contains("0 missing, 0 left over") && done.stdout.contains("folded"), "{}", done.stdout);
    }
    place.host(&format!("eval model_original.ckpt {EVAL} --run_dir=again")).expect(0);
    let again = place.json("again/report.json")["top1"].as_f64().unwrap();
    assert!((again - top1.as_f64().unwrap()).abs() <= 0.005, "{again} {top1}");
}

/// A name and the numbers of a tensor of one dimension.
type Extra<'a> = (&'a str, Vec<f32>);

/// The model's tensors, with `change` done to each and some more beside them.
fn changed(model: &Path, change: impl Fn(&str, &mut [f32]), extra: &[Extra]) -> Vec<u8> {
    let model = Model::load(model).unwrap();
    let (mut table, mut data) = (Map::new(), Vec::new());
    let mut put = |name: &str, shape: &[usize], values: &[f32]| {
        let start = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        table.insert(name.into(), json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()] }));
    };
    for (name, stored) in &model.tensors {
        let mut values = model.values(name).unwrap();
        change(name, &mut values);
        put(name, stored.shape(), &values);
    }
    for (name, values) in extra {
        put(name, &[values.len()], values);
    }
    let table = Value::Object(table).to_string();
    [&(table.len() as u64).to_le_bytes()[..], table.as_bytes(), &data].concat()
}

#[test]
fn nothing_that_changes_the_result_is_left_out() {
    let place = Place::new();
    let (top1, loss) = trained(&place);
    let model = place.path("models/model.ckpt");
    let channels = 16;
    let bias: Vec<f32> = (0..channels).map(|channel| channel as f32 / 2.0 - 4.0).collect();
    // The same function, if the bias counts.
    let shifted = |name: &str, values: &mut [f32]| {
        if name == "bn1.running_mean" {
            values.iter_mut().zip(&bias).for_each(|(mean, bias)| *mean += bias);
        }
    };
    fs::write(place.path("biased.safetensors"), changed(&model, shifted, &[("conv1.bias", bias.clone())])).unwrap();
    let import = "--net=resnet_at_cifar10 --dataset=synthetic --save_path=in/model.ckpt";
    let done = place.host(&format!("import biased.safetensors {import}")).expect(0);
    assert!(done.stdout.contains("subtracted") && done.stdout.contains("conv1.bias"), "{}", done.stdout);
    place.host(&format!("eval in/model.ckpt {EVAL} --run_dir=again")).expect(0);
    let again = place.json("again/report.json");
    assert_eq!(again["top1"], top1);
    assert!((again["loss"].as_f64().unwrap() - loss.as_f64().unwrap()).abs() < 1e-4);

    let extra = [("layer1.0.se.fc1.weight", vec![0.0; 4]), ("teacher.weight", vec![0.0; 4])];
    fs::write(place.path("more.safetensors"), changed(&model, |_, _| (), &extra)).unwrap();
    let import = "--net=resnet_at_cifar10 --dataset=synthetic --save_path=more/model.ckpt";
    let refused = place.host(&format!("import more.safetensors {import}")).expect(2);
    let refused = refused.says(&["nothing was saved", "`layer1.0.se.fc1.weight` [4]", "--map"]);
    assert!(refused.stdout.contains("no place") && refused.stdout.contains("left over"), "{}", refused.stdout);
    assert!(!place.path("more").exists());
    fs::write(place.path("map.toml"), "\"layer1.0.se\" = \"\"\n").unwrap();
    place.host(&format!("import more.safetensors {import} --map=map.toml")).expect(0);
}

#[test]
fn a_net_that_its_file_contradicts_is_refused() {
    let place = Place::new();
    let small = "--net=mobilenet_at_ilsvrc12 --mobilenet_version=1 --mobilenet_depth_mult=0.25 --image_size=32 \
                 --nb_smpls_train=64 --nb_smpls_val=16 --nb_smpls_eval=32 --batch_size=16 --threads=1";
    place.host(&format!("{small} --nb_epochs_rat=0.01")).expect(0);
    let export = "export --model_dir=models --format=tflite,onnx --enbl_post_quant --calibration_images=16";
    place.host(&format!("{export} --verify_images=0 --nb_smpls_train=64 --threads=1")).expect(0);
    let import = "--net=mobilenet_at_ilsvrc12 --dataset=synthetic --stand_in_for=ilsvrc12 --image_size=32";
    for file in ["original", "quantized"] {
        place.host(&format!("import models/model_{file}.tflite {import} --save_path={file}.ckpt")).expect(0);
    }
    // PyTorch's padding instead of TensorFlow's, with the same weights.
    let refused = place
        .host(&format!(
            "import models/model_original.tflite {import} --save_path=torch.ckpt --mobilenet_style=torchvision"
        ))
        .expect(2);
    refused
        .says(&["the weights fit, but the file says that its network is another", "conv0` is padded in the net by 1"]);
}

#[test]
fn files_that_are_none_are_refused() {
    let place = Place::new();
    let import = |file: &str| place.host(&format!("import {file} --net=resnet_at_cifar10 --save_path=in/model.ckpt"));
    import("nowhere.pth").expect(2).says(&["nowhere.pth"]);
    place.host("import nowhere.pth").expect(2);
    for (name, bytes) in [
        ("text.pth", &b"no weights at all"[..]),
        ("code.pth", b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.cposix\nsystem\n"),
        ("cut.safetensors", b"\xff\0\0\0\0\0\0\0{\"a\":"),
        ("cut.tflite", b"\x1c\0\0\0TFL3\x14\0 \0\0\0\0\0"),
        ("cut.pth", b"PK\x03\x04\x14\0\0\0"),
    ] {
        fs::write(place.path(name), bytes).unwrap();
        import(name).expect(1).says(&[name]);
    }
    assert!(!place.path("in").exists());
}

#[test]
fn a_model_is_replaced_whole_or_not_at_all() {
    let place = Place::new();
    trained(&place);
    let before = place.bytes("models/model.ckpt");
    fs::write(place.path("theirs.safetensors"), safetensors(&place.path("models/model.ckpt"), str::to_owned)).unwrap();
    let import = "import theirs.safetensors --net=resnet_at_cifar10";
    place.host(import).expect(2).says(&["`save_path` = ./models/model.ckpt", "there is a file already", "--overwrite"]);
    assert_eq!(place.bytes("models/model.ckpt"), before);
    let itself = "import theirs.safetensors --net=resnet_at_cifar10 --save_path=./theirs.safetensors --overwrite";
    place.host(itself).expect(2).says(&["flag --save-path", "the file of weights"]);
    // Another size than the file's: the options that a user gives are not guessed away.
    let import = "import theirs.safetensors --net=resnet_at_cifar10 --resnet_size=14 --overwrite";
    place.host(import).expect(2).says(&["resnet14_at_cifar10"]);
    assert_eq!(place.bytes("models/model.ckpt"), before);
    let left: Vec<_> = fs::read_dir(place.path("models")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["model.ckpt"]);
}
