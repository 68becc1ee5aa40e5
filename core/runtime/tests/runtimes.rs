//! Small models through every runtime, installed for the tests, and what must be refused without
//! any.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pocketflow::{Error, ErrorKind};
use pocketflow_export::deployed::Activation;
use pocketflow_export::tflite;
use pocketflow_export::tflite::metadata::{BUFFER, ImageMetadata, LABELS};
use pocketflow_export::tflite::model::{DType, Kind, Operator, Padding, Quantization, Signature, Tensor, TfliteModel};
use pocketflow_runtime::measure::{Effort, latency};
use pocketflow_runtime::{Choice, LibraryPaths, Normalisation, Opened, Runtime, open};
use pocketflow_tests::samples::sample;
use pocketflow_tests::wheels::{LITERT, ONNXRUNTIME, wheels};

fn centred() -> Normalisation {
    Normalisation { mean: vec![127.5], std: vec![127.5] }
}

/// The runtimes of the tests, installed once.
fn libraries() -> LibraryPaths {
    LibraryPaths { litert: Some(wheels(LITERT)), onnxruntime: Some(wheels(ONNXRUNTIME)) }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn opened(path: &Path, choice: Choice, threads: usize) -> Box<dyn Runtime> {
    open(path, choice, &libraries(), threads, &centred()).unwrap().runtime
}

fn refused(path: &Path, choice: Choice, libraries: &LibraryPaths) -> Error {
    match open(path, choice, libraries, 1, &centred()) {
        Ok(Opened { runtime, .. }) => panic!("{} runs {}", runtime.name(), path.display()),
        Err(error) => error,
    }
}

fn tensor(name: &str, shape: &[usize], dtype: DType) -> Tensor {
    Tensor { name: name.into(), shape: shape.to_vec(), dtype, quantization: None, data: None }
}

fn on_grid(tensor: Tensor, scale: f32, zero_point: i64) -> Tensor {
    let quantization = Quantization { scales: vec![scale], zero_points: vec![zero_point], ..Default::default() };
    Tensor { quantization: Some(quantization), ..tensor }
}

/// A mean over a 4 × 4 image of three channels: `[1, 3]` float logits.
fn mean_of_pixels() -> TfliteModel {
    let axes: Vec<u8> = [1_i32, 2].iter().flat_map(|axis| axis.to_le_bytes()).collect();
    TfliteModel {
        tensors: vec![
            tensor("image", &[1, 4, 4, 3], DType::Float32),
            Tensor { data: Some(axes), ..tensor("axes", &[2], DType::Int32) },
            tensor("mean", &[1, 3], DType::Float32),
        ],
        operators: vec![Operator {
            kind: Kind::Mean { keep_dims: false },
            inputs: vec![Some(0), Some(1)],
            outputs: vec![2],
        }],
        inputs: vec![0],
        outputs: vec![2],
        ..Default::default()
    }
}

/// An int8 convolution of 1 × 1 with one channel and weight 1: the image on another grid, with
/// normalisation in the metadata and labels behind the model.
fn int8_convolution() -> TfliteModel {
    let labels = vec!["one".into()];
    let metadata =
        ImageMetadata { mean: vec![100.0], std: vec![50.0], size: Some([2, 2]), labels, ..Default::default() };
    let weights = on_grid(tensor("weights", &[1, 1, 1, 1], DType::Int8), 1.0 / 127.0, 0);
    let bias = on_grid(tensor("bias", &[1], DType::Int32), 0.02 / 127.0, 0);
    TfliteModel {
        tensors: vec![
            on_grid(tensor("image", &[1, 2, 2, 1], DType::Int8), 0.02, -20),
            Tensor { data: Some(vec![127]), ..weights },
            Tensor { data: Some(vec![0; 4]), ..bias },
            on_grid(tensor("features", &[1, 2, 2, 1], DType::Int8), 0.025, 3),
        ],
        operators: vec![Operator {
            kind: Kind::Conv2d {
                stride: [1, 1],
                padding: Padding::Valid,
                dilation: [1; 2],
                activation: Activation::None,
            },
            inputs: vec![Some(0), Some(1), Some(2)],
            outputs: vec![3],
        }],
        inputs: vec![0],
        outputs: vec![3],
        metadata: vec![(BUFFER.into(), metadata.to_bytes())],
        files: vec![(LABELS.into(), b"one\n".to_vec())],
        ..Default::default()
    }
}

/// Two inputs, whose signature names them in the other order: left + right and left + 2 · right.
fn two_inputs() -> TfliteModel {
    let vector = |name: &str| tensor(name, &[1, 4], DType::Float32);
    let add = |inputs: [usize; 2], output| Operator {
        kind: Kind::Add { activation: Activation::None },
        inputs: inputs.map(Some).to_vec(),
        outputs: vec![output],
    };
    TfliteModel {
        tensors: vec![vector("left"), vector("right"), vector("sum"), vector("more")],
        operators: vec![add([0, 1], 2), add([2, 1], 3)],
        inputs: vec![0, 1],
        outputs: vec![3, 2],
        signature: Some(Signature {
            key: "serving_default".into(),
            inputs: vec![("b".into(), 1), ("a".into(), 0)],
            outputs: vec![("sum".into(), 2), ("more".into(), 3)],
        }),
        ..Default::default()
    }
}

fn runs_tflite(choice: Choice) {
    let folder = Folder::new();
    let mut logits = Vec::new();

    let path = folder.file("mean.tflite", &tflite::write(&mean_of_pixels()).unwrap());
    let mut runtime = opened(&path, choice, 2);
    let pixels: Vec<u8> = [0, 255, 102].repeat(16);
    runtime.infer(&pixels, &mut logits).unwrap();
    assert!(logits.iter().zip([-1.0, 1.0, -0.2]).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6), "{logits:?}");
    assert!(runtime.infer(&pixels[1..], &mut logits).is_err());
    let effort = Effort { warm_up: 1, runs: 5, at_least: Duration::ZERO };
    let times = latency(runtime.as_mut(), &pixels, effort).unwrap();
    assert!(times.runs == 5 && times.min_ms > 0.0 && times.median_ms <= times.p90_ms, "{times:?}");

    let path = folder.file("int8.tflite", &tflite::write(&int8_convolution()).unwrap());
    let mut runtime = opened(&path, choice, 1);
    runtime.infer(&[0, 100, 101, 255], &mut logits).unwrap();
    // (p − 100) / 50 is −2, 0, 0.02 and 3.1, which the input's grid ends at 2.94; then steps
    // of 0.025.
    assert!(logits.iter().zip([-2.0, 0.0, 0.025, 2.95]).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6), "{logits:?}");

    let path = folder.file("two.tflite", &tflite::write(&two_inputs()).unwrap());
    let mut runtime = opened(&path, choice, 1);
    let bytes = |numbers: [f32; 4]| numbers.map(f32::to_le_bytes).as_flattened().to_vec();
    let (left, right) = (bytes([1.0, 2.0, 3.0, 4.0]), bytes([10.0, 20.0, 30.0, 40.0]));
    let outputs = runtime.run_raw(&[&left, &right]).unwrap();
    assert_eq!(outputs, [bytes([21.0, 42.0, 63.0, 84.0]), bytes([11.0, 22.0, 33.0, 44.0])]);
    assert!(runtime.run_raw(&[&left]).is_err());
    assert!(runtime.infer(&[0; 4], &mut logits).unwrap_err().to_string().contains("one image"));
    // Whatever thread it is on.
    let outputs = std::thread::spawn(move || runtime.run_raw(&[&left, &right]).unwrap()).join().unwrap();
    assert_eq!(outputs[1], bytes([11.0, 22.0, 33.0, 44.0]));
}

#[test]
fn tflite_in_the_reference_interpreter() {
    runs_tflite(Choice::Reference);
}

#[test]
fn tflite_in_litert() {
    runs_tflite(Choice::Litert);
    let folder = Folder::new();
    let path = folder.file("mean.tflite", &tflite::write(&mean_of_pixels()).unwrap());
    assert!(opened(&path, Choice::Auto, 1).name().starts_with("LiteRT"));
    // Many at a time and one after another: nothing is left behind that the next stumbles over.
    let mut many: Vec<_> = (0..20).map(|_| opened(&path, Choice::Litert, 2)).collect();
    let mut logits = Vec::new();
    for runtime in &mut many {
        runtime.infer(&[0; 48], &mut logits).unwrap();
        assert_eq!(logits, [-1.0; 3]);
    }
}

/// A file that TensorFlow made, where the data that comes with the project is there.
#[test]
fn the_quantized_mobilenet() {
    let Some(data) = sample("mobilenet_v1_0.25_128_quant.tflite") else { return };
    let pixels: Vec<u8> = (0..128 * 128 * 3).map(|i| (i * 7919 % 251) as u8).collect();
    let run = |choice| {
        let mut runtime = opened(&data, choice, 1);
        let image = runtime.io().image.clone().unwrap();
        assert_eq!((image.height, image.width, image.channels, image.normalisation), (128, 128, 3, None));
        let mut probabilities = Vec::new();
        runtime.infer(&pixels, &mut probabilities).unwrap();
        assert_eq!(probabilities.len(), 1001);
        let sum: f32 = probabilities.iter().sum();
        // Each rounded to 1/256, and most of them to none.
        assert!((0.5..1.5).contains(&sum), "{sum}");
    };
    run(Choice::Reference);
    run(Choice::Litert);
}

/// `[1, 3, h, w]` float images averaged, as ONNX's protobuf wire format: field number and type,
/// then length or number.
fn onnx_average(metadata: &[(&str, &str)]) -> Vec<u8> {
    fn number(field: u8, value: u8) -> Vec<u8> {
        vec![field << 3, value]
    }
    fn block(field: u8, bytes: &[u8]) -> Vec<u8> {
        assert!(bytes.len() < 128 * 128);
        let length = [bytes.len() as u8 | 0x80, (bytes.len() >> 7) as u8];
        [&[field << 3 | 2], length.as_slice(), bytes].concat()
    }
    let value = |name: &str, dims: &[u8]| {
        let dims = dims.iter().flat_map(|&dim| block(1, &number(1, dim))).collect::<Vec<_>>();
        let kind = block(1, &[number(1, 1), block(2, &dims)].concat());
        [block(1, name.as_bytes()), block(2, &kind)].concat()
    };
    let node = [block(1, b"pixels"), block(2, b"scores"), block(4, b"GlobalAveragePool")].concat();
    let graph = [
        block(1, &node),
        block(2, b"graph"),
        block(11, &value("pixels", &[1, 3, 2, 2])),
        block(12, &value("scores", &[1, 3, 1, 1])),
    ];
    let properties = metadata.iter().map(|(key, text)| {
        let property = [block(1, key.as_bytes()), block(2, text.as_bytes())].concat();
        block(14, &property)
    });
    let properties: Vec<u8> = properties.flatten().collect();
    [number(1, 8), block(8, &number(2, 13)), block(7, &graph.concat()), properties].concat()
}

#[test]
fn onnx_in_onnx_runtime() {
    let folder = Folder::new();
    let pixels: Vec<u8> = [0, 255, 102].repeat(4);
    let mut logits = Vec::new();
    let path = folder.file("plain.onnx", &onnx_average(&[]));
    let mut runtime = opened(&path, Choice::Auto, 2);
    runtime.infer(&pixels, &mut logits).unwrap();
    assert!(logits.iter().zip([-1.0, 1.0, -0.2]).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6), "{logits:?}");
    assert!(runtime.name().starts_with("ONNX Runtime"), "{}", runtime.name());

    let path = folder.file("stated.onnx", &onnx_average(&[("mean", "0, 55, 2"), ("std", "[1, 100, 10]")]));
    opened(&path, Choice::Onnxruntime, 1).infer(&pixels, &mut logits).unwrap();
    assert!(logits.iter().zip([0.0, 2.0, 10.0]).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-5), "{logits:?}");

    for (name, bytes) in
        [("text.onnx", b"not a model".to_vec()), ("empty.onnx", vec![]), ("cut.onnx", onnx_average(&[])[..90].to_vec())]
    {
        let error = refused(&folder.file(name, &bytes), Choice::Auto, &libraries());
        assert!(error.to_string().contains(name), "{error}");
    }
    let path = folder.file("half.onnx", &onnx_average(&[("mean", "1,2,3")]));
    assert!(refused(&path, Choice::Auto, &libraries()).to_string().contains("mean and std"));
}

#[test]
fn files_that_are_not_models() {
    let folder = Folder::new();
    let whole = tflite::write(&int8_convolution()).unwrap();
    let text = folder.file("text.tflite", b"once upon a time, and long enough to have offsets");
    let cut = folder.file("cut.tflite", &whole[..whole.len() / 2]);
    let empty = folder.file("empty.tflite", b"");
    let choices = [Choice::Reference, Choice::Auto];
    for (path, choice) in [&text, &cut, &empty].into_iter().flat_map(|path| choices.map(|choice| (path, choice))) {
        let error = refused(path, choice, &LibraryPaths::default());
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
    let missing = folder.0.path().join("missing.tflite");
    assert_eq!(refused(&missing, Choice::Auto, &LibraryPaths::default()).kind(), ErrorKind::Config);
    let other = folder.file("model.pb", b"");
    assert_eq!(refused(&other, Choice::Auto, &LibraryPaths::default()).kind(), ErrorKind::Config);
    for choice in [Choice::Litert, Choice::Reference] {
        assert_eq!(refused(&folder.file("x.onnx", b""), choice, &LibraryPaths::default()).kind(), ErrorKind::Config);
    }
    let onnxruntime_for_tflite = refused(&text, Choice::Onnxruntime, &LibraryPaths::default());
    assert!(onnxruntime_for_tflite.to_string().contains(".onnx"), "{onnxruntime_for_tflite}");
}

#[test]
fn libraries_that_are_none() {
    let folder = Folder::new();
    let tflite = folder.file("mean.tflite", &tflite::write(&mean_of_pixels()).unwrap());
    let onnx = folder.file("plain.onnx", b"");
    let text = folder.file("libLiteRt.so", b"not a library");
    // A library that is one, but not that one: the C library that this process runs on.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let libc = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("libc.so"));
    for library in [Some(text.as_path()), libc.map(Path::new), Some(Path::new("/nonexistent/libLiteRt.so"))] {
        let Some(library) = library else { continue };
        let libraries = LibraryPaths { litert: Some(library.into()), onnxruntime: Some(library.into()) };
        for (path, choice) in [(&tflite, Choice::Auto), (&tflite, Choice::Litert), (&onnx, Choice::Auto)] {
            let error = refused(path, choice, &libraries);
            let text = error.to_string();
            assert_eq!(error.kind(), ErrorKind::Config, "{text}");
            assert!(text.contains(&library.display().to_string()) && text.contains("pip install"), "{text}");
        }
        if library.to_str() == libc {
            let text = refused(&tflite, Choice::Litert, &libraries).to_string();
            assert!(text.contains("kLiteRtRuntimeBuiltin"), "{text}");
            assert!(refused(&onnx, Choice::Auto, &libraries).to_string().contains("OrtGetApiBase"));
        }
    }
}

#[test]
fn an_older_litert_is_refused_by_its_version() {
    let site = Folder::new();
    let package = site.0.path().join("ai_edge_litert");
    std::fs::create_dir_all(&package).unwrap();
    std::fs::create_dir_all(site.0.path().join("ai_edge_litert-2.1.6.dist-info")).unwrap();
    std::fs::write(package.join("libLiteRt.so"), "").unwrap();
    let tflite = site.file("mean.tflite", &tflite::write(&mean_of_pixels()).unwrap());
    let libraries = LibraryPaths { litert: Some(site.0.path().into()), onnxruntime: None };
    let error = refused(&tflite, Choice::Auto, &libraries);
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("2.1.6"), "{error}");
}
