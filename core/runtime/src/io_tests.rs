use super::*;

fn info(shape: &[usize], dtype: DType, grid: Option<Affine>) -> TensorInfo {
    TensorInfo { name: "t".into(), shape: shape.to_vec(), dtype, grid }
}

fn centred() -> Normalisation {
    Normalisation { mean: vec![127.5], std: vec![127.5] }
}

fn of(input: TensorInfo, layout: Layout, stated: Option<Normalisation>) -> Io {
    Io::new(vec![input], vec![], layout, stated, &centred()).unwrap()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

#[test]
fn floats_are_normalised_in_the_files_layout() {
    let stated = Normalisation { mean: vec![0.0, 10.0, 20.0], std: vec![1.0, 2.0, 4.0] };
    let pixels = [0, 10, 20, 1, 12, 24];
    let nhwc = of(info(&[1, 1, 2, 3], DType::Float32, None), Layout::Nhwc, Some(stated.clone()));
    assert_eq!(floats(&nhwc.encode(&pixels).unwrap()), [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
    let nchw = of(info(&[1, 3, 1, 2], DType::Float32, None), Layout::Nchw, Some(stated));
    assert_eq!(floats(&nchw.encode(&pixels).unwrap()), [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
    let fallback = of(info(&[1, 1, 1, 1], DType::Float32, None), Layout::Nhwc, None);
    assert_eq!(floats(&fallback.encode(&[255]).unwrap()), [1.0]);
}

#[test]
fn integers_take_pixels_raw_unless_the_file_states_a_normalisation() {
    let uint8 = grid(DType::Uint8, 1.0 / 127.5, 128);
    let int8 = grid(DType::Int8, 1.0 / 64.0, -10);
    let all: Vec<u8> = (0..=255).collect();
    let raw = of(info(&[1, 16, 16, 1], DType::Uint8, uint8), Layout::Nhwc, None);
    assert_eq!(raw.encode(&all).unwrap(), all);
    assert_eq!(raw.image.unwrap().normalisation, None);
    let raw = of(info(&[1, 16, 16, 1], DType::Int8, int8), Layout::Nhwc, None);
    let signed: Vec<i32> = raw.encode(&all).unwrap().iter().map(|&b| i32::from(b.cast_signed())).collect();
    assert_eq!(signed, (-128..=127).collect::<Vec<_>>());
    // (pixel − 127.5) / 127.5 in steps of 1/64 from −10: -64 − 10 … 64 − 10.
    let stated = of(info(&[1, 16, 16, 1], DType::Int8, int8), Layout::Nhwc, Some(centred()));
    let codes = stated.encode(&all).unwrap();
    assert_eq!((codes[0].cast_signed(), codes[255].cast_signed()), (-74, 54));
    // 127.5 and 1/128 from 128 are the pixels within one code, which uint8 files are given; another
    // std is not.
    let uint8 = |std| {
        let grid = grid(DType::Uint8, 1.0 / 128.0, 128);
        let stated = Normalisation { mean: vec![127.5], std: vec![std] };
        of(info(&[1, 16, 16, 1], DType::Uint8, grid), Layout::Nhwc, Some(stated))
    };
    assert_eq!(uint8(127.5).encode(&all).unwrap(), all);
    assert_eq!(uint8(127.5).image.unwrap().normalisation, None);
    assert_eq!(uint8(255.0).encode(&[0; 256]).unwrap(), [64; 256]);
    // Beyond the codes it clamps.
    let narrow = of(info(&[1, 16, 16, 1], DType::Int8, grid(DType::Int8, 0.001, 0)), Layout::Nhwc, Some(centred()));
    let codes = narrow.encode(&all).unwrap();
    assert_eq!((codes[0].cast_signed(), codes[255].cast_signed()), (-128, 127));
}

#[test]
fn outputs_become_numbers() {
    let mut logits = vec![9.0; 7];
    let decode = |dtype, grid, bytes: &[u8], logits: &mut Vec<f32>| {
        let count = bytes.len() / DType::size(dtype);
        let io = Io { inputs: vec![], outputs: vec![info(&[1, count], dtype, grid)], image: None };
        io.decode(&[bytes.to_vec()], logits)
    };
    decode(DType::Uint8, grid(DType::Uint8, 0.5, 100), &[100, 102, 98], &mut logits).unwrap();
    assert_eq!(logits, [0.0, 1.0, -1.0]);
    decode(DType::Int8, grid(DType::Int8, 2.0, -1), &[255, 0, 254], &mut logits).unwrap();
    assert_eq!(logits, [0.0, 2.0, -2.0]);
    decode(DType::Float32, None, &1.5_f32.to_le_bytes(), &mut logits).unwrap();
    assert_eq!(logits, [1.5]);
    decode(DType::Int32, None, &(-7_i32).to_le_bytes(), &mut logits).unwrap();
    assert_eq!(logits, [-7.0]);
    decode(DType::Int64, None, &3_i64.to_le_bytes(), &mut logits).unwrap();
    assert_eq!(logits, [3.0]);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let io = of(info(&[1, 2, 2, 3], DType::Uint8, None), Layout::Nhwc, None);
    let error = io.encode(&[0; 11]).unwrap_err().to_string();
    assert!(error.contains("2×2") && error.contains("11"), "{error}");
    assert!(io.check_inputs(&[&[0; 12]]).is_ok());
    assert!(io.check_inputs(&[&[0; 11]]).is_err());
    assert!(io.check_inputs(&[]).is_err());
    assert!(io.decode(&[], &mut Vec::new()).is_err());

    let bad = Normalisation { mean: vec![1.0, 2.0], std: vec![1.0] };
    let input = || vec![info(&[1, 2, 2, 3], DType::Float32, None)];
    for stated in [bad, Normalisation { mean: vec![0.0], std: vec![0.0] }, Normalisation { mean: vec![], std: vec![] }]
    {
        assert!(Io::new(input(), vec![], Layout::Nhwc, Some(stated), &centred()).is_err());
    }
    // No image: two inputs, features, sizes beyond memory.
    for shapes in
        [vec![vec![1, 2, 2, 3], vec![1, 2]], vec![vec![1, 9]], vec![vec![1, usize::MAX, usize::MAX, 3]], vec![]]
    {
        let inputs = shapes.iter().map(|shape| info(shape, DType::Float32, None)).collect();
        let io = Io::new(inputs, vec![], Layout::Nhwc, None, &centred()).unwrap();
        assert!(io.encode(&[0; 12]).unwrap_err().to_string().contains("one image"));
    }
}

#[test]
fn several_outputs_are_not_guessed_from() {
    let tensor = |name: &str, shape: &[usize]| TensorInfo {
        name: name.into(),
        shape: shape.to_vec(),
        dtype: DType::Float32,
        grid: None,
    };
    let pixels = Normalisation { mean: vec![0.0], std: vec![1.0] };
    let io = |outputs: Vec<TensorInfo>| {
        Io::new(vec![tensor("image", &[1, 2, 2, 3])], outputs, Layout::Nhwc, None, &pixels).unwrap()
    };
    io(vec![tensor("logits", &[1, 10])]).expect_one_output().unwrap();
    let several = io(vec![tensor("features", &[1, 64]), tensor("logits", &[1, 10])]);
    let message = several.expect_one_output().unwrap_err().to_string();
    assert!(message.contains("2 outputs: features [1, 64] Float32, logits [1, 10]"), "{message}");
    assert!(io(Vec::new()).expect_one_output().is_err());
}

#[test]
fn what_was_assumed_of_the_input_is_said() {
    let described = |dtype, stated: Option<Normalisation>| {
        let input = TensorInfo { name: "image".into(), shape: vec![1, 2, 2, 3], dtype, grid: grid(dtype, 0.5, 3) };
        let fallback = Normalisation { mean: vec![125.3, 123.0, 113.9], std: vec![63.0] };
        Io::new(vec![input], Vec::new(), Layout::Nhwc, stated, &fallback).unwrap().image.unwrap().described()
    };
    let stated = || Some(Normalisation { mean: vec![127.5], std: vec![127.5] });
    assert_eq!(
        described(DType::Float32, None),
        "(pixel - mean) / std, mean 125.3, 123, 113.9, std 63; assumed: the file does not say; --input-mean and \
         --input-std for another"
    );
    let said = "(pixel - mean) / std, mean 127.5, std 127.5; as the file says";
    assert_eq!(described(DType::Float32, stated()), said);
    assert_eq!(described(DType::Int8, stated()), said);
    assert_eq!(described(DType::Int8, None), "the pixels as they are, 0 to 255; assumed: the file does not say");
}
