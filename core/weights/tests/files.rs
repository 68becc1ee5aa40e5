//! Whole files in memory: what PyTorch writes is read, what is forged or damaged is refused.

use pocketflow_weights::{Element, Tensors, WeightsError, read, read_file};
use std::io::{Cursor, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;

/// `{'w': tensor of shape, 'epoch': 3}` on one storage, in pickle protocol 2, as torch.save writes
/// it.
fn pickle(shape: &[u8], strides: &[u8], offset: u8, numbers: i32) -> Vec<u8> {
    let mut bytes = b"\x80\x02ccollections\nOrderedDict\nq\0)Rq\x01(X\x01\0\0\0w".to_vec();
    bytes.extend(
        b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuJ",
    );
    bytes.extend(numbers.to_le_bytes());
    bytes.extend(b"tQK");
    bytes.push(offset);
    for sizes in [shape, strides] {
        bytes.push(b'(');
        sizes.iter().for_each(|size| bytes.extend([b'K', *size]));
        bytes.push(b't');
    }
    bytes.extend(b"\x89h\0)RtRX\x05\0\0\0epochK\x03u}X\x09\0\0\0_metadatah\0)Rsb.");
    bytes
}

fn stored() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored)
}

fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        zip.start_file(*name, stored()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn floats(count: u8) -> Vec<u8> {
    (0..count).flat_map(|number| f32::from(number).to_le_bytes()).collect()
}

fn load(bytes: &[u8]) -> Result<Tensors, WeightsError> {
    read_file(Cursor::new(bytes), None).map(|file| file.tensors)
}

fn refused(bytes: &[u8]) -> String {
    load(bytes).unwrap_err().to_string()
}

fn pth(pickle: &[u8], numbers: &[u8]) -> Vec<u8> {
    archive(&[("net/data.pkl", pickle), ("net/byteorder", b"little"), ("net/data/0", numbers), ("net/version", b"3\n")])
}

/// The same in the format before PyTorch 1.6.
fn legacy(pickle: &[u8], numbers: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.".to_vec();
    bytes.extend(b"\x80\x02}(X\x0d\0\0\0little_endian\x88X\x10\0\0\0protocol_versionM\xe9\x03u.");
    bytes.extend(pickle);
    bytes.extend(b"\x80\x02]X\x01\0\0\x000a.");
    bytes.extend((numbers.len() as u64 / 4).to_le_bytes());
    bytes.extend(numbers);
    bytes
}

#[test]
fn both_formats_of_pytorch() {
    let pickle = pickle(&[2, 3], &[1, 2], 1, 8);
    for bytes in [pth(&pickle, &floats(8)), legacy(&pickle, &floats(8))] {
        let tensors = load(&bytes).unwrap();
        assert_eq!(tensors.keys().collect::<Vec<_>>(), ["w"]);
        assert_eq!((tensors["w"].shape.as_slice(), tensors["w"].element), (&[2, 3][..], Element::F32));
        assert_eq!(tensors["w"].values, [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
    }
}

#[test]
fn a_checkpoint_of_a_training_script() {
    let mut bytes = b"\x80\x02}(X\x05\0\0\0epochK\x5aX\x0a\0\0\0state_dict".to_vec();
    let inner = pickle(&[4], &[1], 0, 4);
    bytes.extend(&inner[2..inner.len() - 1]);
    bytes.extend(b"u.");
    assert_eq!(load(&pth(&bytes, &floats(4))).unwrap()["w"].values, [0.0, 1.0, 2.0, 3.0]);
    assert!(refused(&pth(b"}X\x01\0\0\0aK\x01s.", &[])).contains("keys [a]"));
    assert!(refused(&pth(b"K\x01.", &[])).contains("no dictionary"));
}

#[test]
fn code_is_refused_with_its_name_and_place() {
    let message = refused(&pth(b"\x80\x02cposix\nsystem\nX\x02\0\0\0id\x85R.", &[]));
    assert!(message.contains("`posix.system`") && message.contains("byte 2"), "{message}");
}

#[test]
fn tensors_that_do_not_fit() {
    let with = |pickle: &[u8], count: u8| refused(&pth(pickle, &floats(count)));
    assert!(with(&pickle(&[3, 3], &[3, 1], 0, 8), 8).contains("reaches beyond"));
    assert!(with(&pickle(&[2, 3], &[3, 1], 3, 8), 8).contains("reaches beyond"));
    assert!(with(&pickle(&[2, 2], &[200, 200], 0, 8), 8).contains("reaches beyond"));
    // The storage is smaller, or larger, than the pickle says.
    assert!(with(&pickle(&[2], &[1], 0, 8), 7).contains("28 bytes"));
    assert!(with(&pickle(&[2], &[1], 0, 8), 9).contains("36 bytes"));
    assert!(with(&pickle(&[2], &[1], 0, i32::MAX), 8).contains("more than the file"));
    assert!(with(&pickle(&[2], &[1], 0, -1), 8).contains("no size"));
    // An expanded tensor may be larger than what it is made of, but not than the file.
    assert!(with(&pickle(&[200, 200], &[0, 0], 0, 8), 8).contains("more numbers than the file has bytes"));
    let message = refused(&legacy(&pickle(&[2], &[1], 0, 8), &floats(7)));
    assert!(message.contains("7 numbers, not 8"), "{message}");
}

#[test]
fn many_tensors_on_one_storage_do_not_fill_the_memory() {
    let one = pickle(&[100], &[1], 0, 100);
    let (front, tensor) = one.split_at(one.iter().position(|byte| *byte == b'X').unwrap());
    let tensor = &tensor[6..tensor.windows(6).position(|bytes| bytes == b"X\x05\0\0\0e").unwrap()];
    let mut bytes = front.to_vec();
    bytes.extend(b"X\x01\0\0\0a");
    bytes.extend(tensor);
    bytes.extend(b"q\x07");
    for index in 0..200u8 {
        bytes.extend([b'X', 2, 0, 0, 0, b'a' + index % 26, b'a' + index / 26, b'h', 7]);
    }
    bytes.extend(b"u.");
    assert!(refused(&pth(&bytes, &floats(100))).contains("more numbers than the file has bytes"));
}

#[test]
fn archives_that_pytorch_does_not_write() {
    let message = refused(&archive(&[("resnet20.pth", b"")]));
    assert!(
        message.contains("without `data.pkl`") && message.contains("it holds `resnet20.pth`: unpack it"),
        "{message}"
    );
    let good = pickle(&[8], &[1], 0, 8);
    assert!(refused(&archive(&[("n/data.pkl", &good)])).contains("`n/data/0` is missing"));
    let bytes = archive(&[("n/data.pkl", &good), ("n/byteorder", b"big"), ("n/data/0", &floats(8))]);
    assert!(refused(&bytes).contains("little-endian"));
    // A changed number does not pass its checksum.
    let mut bytes = pth(&good, &floats(8));
    let at = bytes.windows(4).position(|window| window == 7f32.to_le_bytes()).unwrap();
    bytes[at] ^= 1;
    assert!(refused(&bytes).contains("hecksum"), "{}", refused(&bytes));
    // Deflated, by the method's number in both of the entry's headers.
    let mut bytes = archive(&[("n/data.pkl", &good)]);
    for (signature, offset) in [(b"PK\x03\x04", 8), (b"PK\x01\x02", 10)] {
        let at = bytes.windows(4).position(|window| window == signature).unwrap();
        bytes[at + offset] = 8;
    }
    assert!(refused(&bytes).contains("compressed"), "{}", refused(&bytes));
}

#[test]
fn every_cut_is_refused() {
    let pickle = pickle(&[8], &[1], 0, 8);
    for whole in [pth(&pickle, &floats(8)), legacy(&pickle, &floats(8)), safetensors()] {
        assert!(load(&whole).is_ok());
        for length in 0..whole.len() {
            assert!(load(&whole[..length]).is_err(), "{length} of {}", whole.len());
        }
    }
}

fn safetensors() -> Vec<u8> {
    let table = br#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"I64","shape":[],"data_offsets":[4,12]}}"#;
    let mut bytes = (table.len() as u64).to_le_bytes().to_vec();
    bytes.extend(table);
    bytes.extend([0x00, 0x3c, 0x00, 0xc0, 5, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

#[test]
fn the_safetensors_format() {
    let tensors = load(&safetensors()).unwrap();
    assert_eq!(tensors["a"].values, [1.0, -2.0]);
    assert_eq!((tensors["b"].values.as_slice(), tensors["b"].shape.as_slice()), (&[5.0][..], &[][..]));
    let text = String::from_utf8_lossy(&safetensors()).replace("[2]", "[9]");
    assert!(load(text.as_bytes()).is_err());
    let mut absurd = safetensors();
    absurd[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(load(&absurd).is_err());
}

#[test]
fn files_that_are_none() {
    let missing = read(Path::new("/nowhere/net.pth"), None).unwrap_err();
    assert_eq!(missing.kind(), pocketflow::ErrorKind::Config);
    assert!(read(Path::new("/dev/zero"), None).unwrap_err().to_string().contains("not a file"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.pth");
    std::fs::write(&path, b"no weights at all").unwrap();
    let message = read(&path, None).unwrap_err().to_string();
    assert!(message.contains("net.pth") && message.contains("torch.save"), "{message}");
}

proptest::proptest! {
    #[test]
    fn garbage_never_panics(bytes: Vec<u8>, front in 0usize..4) {
        let fronts: [&[u8]; 4] = [b"", b"PK\x03\x04", b"\x20\0\0\0\0\0\0\0{", b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."];
        let _ = load(&[fronts[front], &bytes].concat());
    }

    #[test]
    fn damaged_files_never_panic(which in 0usize..3, at: usize, value: u8) {
        let pickle = pickle(&[8], &[1], 0, 8);
        let mut bytes = [pth(&pickle, &floats(8)), legacy(&pickle, &floats(8)), safetensors()][which].clone();
        let at = at % bytes.len();
        bytes[at] = value;
        let _ = load(&bytes);
    }
}

#[test]
fn weights_that_a_tflite_file_decodes() {
    use pocketflow_export::deployed::Activation;
    use pocketflow_export::tflite::model::{DType, Kind, Operator, Padding, Quantization, Tensor, TfliteModel};
    let tensor = |name: &str, shape: &[usize], dtype, quantization, data| Tensor {
        name: name.into(),
        shape: shape.to_vec(),
        dtype,
        quantization,
        data,
    };
    let grid = Quantization { scales: vec![0.5, 2.0], zero_points: vec![-1, 3], ..Quantization::default() };
    let tensors = vec![
        tensor("image", &[1, 2, 2, 2], DType::Float32, None, None),
        tensor("codes", &[2, 1, 1, 2], DType::Int8, Some(grid), Some(vec![0, 1, 2, 0xff])),
        tensor("weight", &[2, 1, 1, 2], DType::Float32, None, None),
        tensor(
            "bias",
            &[2],
            DType::Float32,
            None,
            Some([1.0f32, 2.0].iter().flat_map(|bias| bias.to_le_bytes()).collect()),
        ),
        tensor("logits", &[1, 2, 2, 2], DType::Float32, None, None),
    ];
    let conv = Kind::Conv2d { stride: [1; 2], padding: Padding::Same, dilation: [1; 2], activation: Activation::None };
    let operator = |kind, inputs: &[usize], output| Operator {
        kind,
        inputs: inputs.iter().copied().map(Some).collect(),
        outputs: vec![output],
    };
    let operators = vec![operator(Kind::Dequantize, &[1], 2), operator(conv, &[0, 2, 3], 4)];
    let mut model = TfliteModel { tensors, operators, inputs: vec![0], outputs: vec![4], ..TfliteModel::default() };
    let bytes = pocketflow_export::tflite::write(&model).unwrap();
    let tensors = load(&bytes).unwrap();
    assert_eq!(tensors["weight"].values, [0.5, 1.0, -2.0, -8.0]);
    assert_eq!(tensors["weight"].shape, [2, 2, 1, 1]);
    // Decoded from what is computed itself, it is no weight.
    model.tensors[1] = Tensor { shape: vec![2, 1, 1, 2], data: None, ..model.tensors[1].clone() };
    model.inputs.push(1);
    let message = load(&pocketflow_export::tflite::write(&model).unwrap()).unwrap_err().to_string();
    assert!(message.contains("weight") && message.contains("computed"), "{message}");
}
