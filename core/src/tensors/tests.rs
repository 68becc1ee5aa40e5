use super::*;
use crate::quant::{Grid, Quantized, largest_code, quantize};
use proptest::prelude::*;
use serde_json::json;

fn small() -> TensorFile {
    let values = vec![1.0, -2.5, f32::from_bits(0x7fa0_1234), f32::NEG_INFINITY, -0.0, 1e-42];
    let quantized = quantize(&[0.5, -1.0, 0.25, 3.0, 7.0], 3, 2, Grid::MinMax).unwrap();
    let tensors = [
        ("a", Stored::Full { shape: vec![2, 3], values }),
        ("b", Stored::Packed { shape: vec![5, 1], quantized }),
        ("c", Stored::Bytes(b"state".to_vec())),
        ("d", Stored::Full { shape: vec![], values: vec![4.0] }),
        ("e", Stored::Full { shape: vec![0, 7], values: vec![] }),
    ];
    let tensors = tensors.into_iter().map(|(name, tensor)| (name.to_string(), tensor)).collect();
    TensorFile { kind: "checkpoint".into(), header: json!({"step": 7, "loss": 0.1}), tensors }
}

/// A file with a sound front and checksum around any header and tensors.
fn forge(header: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&((FRONT + 5 + header.len() + payload.len() + CHECKSUM) as u64).to_le_bytes());
    out.extend_from_slice(&(header.len() as u32).to_le_bytes());
    out.push(5);
    out.extend_from_slice(b"model");
    out.extend_from_slice(header);
    out.extend_from_slice(payload);
    out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
    out
}

fn forge_json(header: &str, payload: &[u8]) -> Result<TensorFile, FormatError> {
    TensorFile::from_bytes(&forge(&zstd::bulk::compress(header.as_bytes(), 3).unwrap(), payload))
}

#[test]
fn comes_back_bit_for_bit() {
    let file = small();
    let bytes = file.to_bytes().unwrap();
    let read = TensorFile::from_bytes(&bytes).unwrap();
    assert_eq!(read.to_bytes().unwrap(), bytes);
    assert_eq!((&read.kind, &read.header), (&file.kind, &file.header));
    let bits =
        |file: &TensorFile| file.tensors["a"].values().unwrap().into_iter().map(f32::to_bits).collect::<Vec<_>>();
    assert_eq!(bits(&read), bits(&file));
    for name in ["b", "c", "d", "e"] {
        assert_eq!(read.tensors[name], file.tensors[name]);
    }
    assert_eq!(read.tensors["b"].shape(), [5, 1]);
    assert!(read.tensors["c"].values().is_err());
}

#[test]
fn every_cut_is_found_and_placed() {
    let bytes = small().to_bytes().unwrap();
    let of = bytes.len() as u64;
    assert_eq!(TensorFile::from_bytes(&[]), Err(FormatError::NotOurs));
    for at in 1..bytes.len() {
        let want = match at {
            0..FRONT => FormatError::CutInFront { at: at as u64 },
            _ => FormatError::Cut { at: at as u64, of },
        };
        assert_eq!(TensorFile::from_bytes(&bytes[..at]), Err(want));
    }
    let mut longer = bytes;
    longer.extend_from_slice(b"\r\n");
    assert_eq!(TensorFile::from_bytes(&longer), Err(FormatError::TooLong(2)));
}

#[test]
fn every_changed_byte_is_found() {
    let mut bytes = small().to_bytes().unwrap();
    for at in 0..bytes.len() {
        for flip in (0..8).map(|bit| 1 << bit).chain([0xff]) {
            bytes[at] ^= flip;
            assert!(TensorFile::from_bytes(&bytes).is_err(), "byte {at} ^ {flip:#x}");
            bytes[at] ^= flip;
        }
    }
    assert!(TensorFile::from_bytes(&bytes).is_ok());
}

#[test]
fn forged_lengths_are_refused_before_anything_is_allocated() {
    let refuse = |rows: &str, payload: &[u8], want: &str| {
        let error = forge_json(&format!(r#"{{"header":null,"tensors":[{rows}]}}"#), payload).unwrap_err().to_string();
        assert!(error.contains(want), "{rows}: {error}");
    };
    let max = u64::MAX;
    refuse(&format!(r#"["a",[{max}],"f"]"#), &[], "tensor `a`: its shape or encoding is impossible");
    refuse(&format!(r#"["a",[{max},{max},0],"f"]"#), &[], "impossible");
    refuse(&format!(r#"["a",[{max}],{{"p":[1,1]}}]"#), &[], "impossible");
    refuse(&format!(r#"["a",[{max}],{{"p":[1,{max}]}}]"#), &[], "beyond the end");
    refuse(&format!(r#"["a",[{max}],"b"]"#), &[], "tensor `a`: it goes beyond the end of the file");
    refuse(r#"["a",[1000000000000],"f"]"#, &[], "beyond the end");
    refuse(r#"["a",[4],{"p":[0,1]}]"#, &[0; 64], "impossible");
    refuse(r#"["a",[4],{"p":[32,1]}]"#, &[0; 64], "impossible");
    refuse(r#"["a",[4],{"p":[4,0]}]"#, &[0; 64], "impossible");
    refuse(r#"["a",[2,2],"b"]"#, &[0; 4], "impossible");
    refuse(r#"["a",[-1],"f"]"#, &[], "its header");
    refuse(r#"["a",[1],"x"]"#, &[0; 4], "its header");
    refuse(r#"["b",[1],"f"],["a",[1],"f"]"#, &[0; 8], "tensor `a`: it is out of order");
    refuse(r#"["a",[1],"f"],["a",[1],"f"]"#, &[0; 8], "out of order");
    refuse(r#"["a",[1],"f"]"#, &[0; 5], "belong to no tensor");
    refuse(r#"["a",[1],{"p":[4,1]}]"#, &[0xf0, 0, 0, 0, 0, 0, 0, 0, 0], "bits are set after the last code");
}

#[test]
fn a_header_that_expands_without_end_is_refused() {
    let bomb = zstd::bulk::compress(&vec![b' '; MAX_HEADER + 1], 3).unwrap();
    assert!(bomb.len() < 100_000);
    let error = TensorFile::from_bytes(&forge(&bomb, &[])).unwrap_err();
    assert_eq!(error, FormatError::Malformed(format!("its header is beyond {MAX_HEADER} bytes")));
    assert!(forge_json(&"[".repeat(100_000), &[]).is_err());
}

#[test]
fn what_does_not_fit_together_is_not_written() {
    let quantized = |bits, bucket_size, codes: &[u32], ranges: usize| Stored::Packed {
        shape: vec![3],
        quantized: Quantized {
            bits,
            bucket_size,
            grid: Grid::MinMax,
            codes: codes.to_vec(),
            ranges: vec![[1.0, 0.0]; ranges],
            codebooks: Vec::new(),
        },
    };
    let wrong = [
        Stored::Full { shape: vec![2], values: vec![0.0; 3] },
        Stored::Full { shape: vec![usize::MAX, 2], values: vec![] },
        quantized(0, 3, &[0; 3], 1),
        quantized(32, 3, &[0; 3], 1),
        quantized(2, 0, &[0; 3], 1),
        quantized(2, 3, &[0; 4], 1),
        quantized(2, 3, &[0; 3], 2),
        quantized(2, 3, &[0, 4, 0], 1),
    ];
    for tensor in wrong {
        assert!(tensor.values().is_err());
        let tensors = BTreeMap::from([("w".to_string(), tensor)]);
        let error = TensorFile { kind: "model".into(), header: json!(null), tensors }.to_bytes().unwrap_err();
        assert!(matches!(&error, FormatError::Tensor { tensor, .. } if tensor == "w"), "{error}");
    }
    let long = TensorFile { kind: "k".repeat(256), header: json!(null), tensors: BTreeMap::new() };
    assert!(long.to_bytes().is_err());
}

#[test]
fn errors_name_the_file_the_damage_and_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.ckpt");
    let read = || {
        let error = TensorFile::read(&path).unwrap_err();
        (error.kind(), error.to_string().replace(&path.display().to_string(), "FILE"))
    };
    let say = |kind, text: &str| (kind, text.to_string());
    let missing =
        "cannot read FILE; check the path, or train and save it first: No such file or directory (os error 2)";
    assert_eq!(read(), say(ErrorKind::Config, missing));

    let size = small().write(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), size);
    assert_eq!(TensorFile::read(&path).unwrap().to_bytes(), small().to_bytes());

    let again = "cannot use FILE; copy it again from where it came, or train again: it";
    let mut bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..100]).unwrap();
    assert_eq!(read(), say(ErrorKind::Failed, &format!("{again} is cut at byte 100 of {size}")));
    bytes[60] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(
        read(),
        say(ErrorKind::Failed, &format!("{again}s checksum does not match: some of its bytes have changed"))
    );
    bytes[8] = 9;
    std::fs::write(&path, &bytes).unwrap();
    let newer = "cannot use FILE; use the program that wrote it, or train again with this one: it has format version 9; \
                 this program reads version 1";
    assert_eq!(read(), say(ErrorKind::Failed, newer));
    std::fs::write(&path, "PK").unwrap();
    let other =
        "cannot use FILE; give the path of a file that PocketFlow saved: it is not a model or checkpoint of PocketFlow";
    assert_eq!(read(), say(ErrorKind::Config, other));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let folder = "cannot read FILE: it is not a file; give the path of a saved model";
    assert_eq!(read(), say(ErrorKind::Config, folder));
}

fn any_tensor() -> impl Strategy<Value = Stored> {
    let full = (prop::collection::vec(any::<u32>(), 0..40)).prop_map(|bits| Stored::Full {
        shape: vec![bits.len()],
        values: bits.into_iter().map(f32::from_bits).collect(),
    });
    let grid = prop_oneof![Just(Grid::MinMax), Just(Grid::Symmetric), Just(Grid::Affine)];
    let codes = prop::collection::vec(any::<u32>(), 0..60);
    let packed = (1u32..=31, 1usize..20, grid, codes).prop_map(|(bits, size, grid, codes)| {
        let ranges = codes.chunks(size).map(|bucket| [f32::from_bits(bucket[0]), 1.0]).collect();
        let codes: Vec<u32> = codes.into_iter().map(|code| code & largest_code(bits)).collect();
        let quantized = Quantized { bits, bucket_size: size, grid, codes, ranges, codebooks: Vec::new() };
        Stored::Packed { shape: vec![1, quantized.codes.len()], quantized }
    });
    prop_oneof![full, packed, prop::collection::vec(any::<u8>(), 0..50).prop_map(Stored::Bytes)]
}

proptest! {
    #[test]
    fn any_file_comes_back(tensors in prop::collection::btree_map(".{0,8}", any_tensor(), 0..6), number: f64) {
        let file = TensorFile { kind: "model".into(), header: json!({"number": number, "text": "ä\n"}), tensors };
        let bytes = file.to_bytes().unwrap();
        let read = TensorFile::from_bytes(&bytes).unwrap();
        prop_assert_eq!(read.to_bytes().unwrap(), bytes);
        prop_assert_eq!(&read.header, &file.header);
        prop_assert_eq!(read.tensors.keys().collect::<Vec<_>>(), file.tensors.keys().collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_give_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(TensorFile::from_bytes(&bytes).is_err());
        let mut ours = MAGIC.to_vec();
        ours.extend_from_slice(&VERSION.to_le_bytes());
        ours.extend_from_slice(&bytes);
        prop_assert!(TensorFile::from_bytes(&ours).is_err());
        prop_assert!(TensorFile::from_bytes(&forge(&bytes, &bytes)).is_err());
    }

    #[test]
    fn any_table_gives_an_answer(
        shape in prop::collection::vec(prop_oneof![0u64..9, any::<u64>()], 0..4),
        bits in 0u32..40,
        size in prop_oneof![0u64..9, any::<u64>()],
        payload in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let header = json!({"header": 1, "tensors": [["a", shape, {"p": [bits, size]}]]}).to_string();
        if let Ok(file) = forge_json(&header, &payload) {
            prop_assert_eq!(file.tensors["a"].payload_bytes(), payload.len() as u64);
            prop_assert!(file.tensors["a"].values().is_ok());
        }
    }
}
