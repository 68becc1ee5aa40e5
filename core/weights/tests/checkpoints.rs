//! Checkpoints as training scripts and other programs write them: each kind that people have, made
//! here byte by byte.

use pocketflow_weights::{Element, Tensors, WeightsFile, read, read_file};
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;

/// A pickle of protocol 2 under construction.
#[derive(Clone, Default)]
struct Pickle(Vec<u8>);

impl Pickle {
    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    fn int(self, number: u8) -> Self {
        self.raw(&[b'K', number])
    }

    fn global(self, module: &str, name: &str) -> Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    fn sizes(self, sizes: &[u8]) -> Self {
        sizes.iter().fold(self.raw(b"("), |pickle, size| pickle.int(*size)).raw(b"t")
    }

    /// A dictionary of what `items` pushes: a key, a value, a key, …
    fn dict(self, items: impl FnOnce(Self) -> Self) -> Self {
        items(self.raw(b"}(")).raw(b"u")
    }

    /// A storage `0` of that many numbers.
    fn storage(self, class: (&str, &str), numbers: u8, view: Option<[u8; 2]>) -> Self {
        let pickle = self.raw(b"(").text("storage").global(class.0, class.1).text("0").text("cuda:0").int(numbers);
        let pickle = match view {
            Some([first, length]) => pickle.raw(b"(").text("view").int(first).int(length).raw(b"t"),
            None => pickle,
        };
        pickle.raw(b"tQ")
    }

    /// A tensor on that storage, by a function of `torch._utils`.
    fn tensor(self, function: &str, class: (&str, &str), numbers: u8, shape: &[u8], strides: &[u8]) -> Self {
        let pickle = self.global("torch._utils", function).raw(b"(").storage(class, numbers, None).int(0);
        pickle.sizes(shape).sizes(strides).raw(b"\x89N").raw(b"tR")
    }

    /// Four floats.
    fn floats(self) -> Self {
        self.tensor("_rebuild_tensor_v2", ("torch", "FloatStorage"), 4, &[4], &[1])
    }

    fn end(self) -> Vec<u8> {
        self.raw(b".").0
    }
}

fn start() -> Pickle {
    Pickle::default().raw(b"\x80\x02")
}

fn numbers(count: u8) -> Vec<u8> {
    (0..count).flat_map(|number| f32::from(number).to_le_bytes()).collect()
}

fn pth(pickle: Pickle, storage: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in [("net/data.pkl", pickle.end().as_slice()), ("net/data/0", storage)] {
        zip.start_file(name, stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The format before PyTorch 1.6, its pickles of this protocol.
fn legacy(protocol: u8, pickle: Pickle, storage: &[u8]) -> Vec<u8> {
    let begin = |body: &[u8]| match protocol {
        0..4 => [&[0x80, protocol], body].concat(),
        _ => [&[0x80, protocol, 0x95][..], &(body.len() as u64).to_le_bytes(), body].concat(),
    };
    let parts = [
        begin(b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."),
        begin(b"M\xe9\x03."),
        begin(b"}."),
        pickle.end(),
        begin(b"]X\x01\0\0\x000a."),
        (storage.len() as u64 / 4).to_le_bytes().to_vec(),
        storage.to_vec(),
    ];
    parts.concat()
}

fn file(bytes: Vec<u8>) -> WeightsFile {
    read_file(Cursor::new(bytes), None).unwrap()
}

fn tensors(pickle: Pickle) -> Tensors {
    file(pth(pickle, &numbers(4))).tensors
}

fn refused(pickle: Pickle) -> String {
    read_file(Cursor::new(pth(pickle, &numbers(4))), None).unwrap_err().to_string()
}

const FLOAT: (&str, &str) = ("torch", "FloatStorage");

#[test]
fn files_of_pytorch_before_1_0() {
    // Tensors of the first function, of a class of the GPU's, on a view of a storage.
    let tensor = |pickle: Pickle, view| {
        let pickle = pickle.global("torch._utils", "_rebuild_tensor").raw(b"(");
        pickle.storage(("torch.cuda", "FloatStorage"), 6, view).int(1).sizes(&[2]).sizes(&[1]).raw(b"tR")
    };
    let pickle = start().dict(|items| tensor(tensor(items.text("a"), None).text("b"), Some([2, 4])));
    let tensors = file(legacy(2, pickle, &numbers(6))).tensors;
    assert_eq!((tensors["a"].values.as_slice(), tensors["b"].values.as_slice()), (&[1.0, 2.0][..], &[3.0, 4.0][..]));
}

#[test]
fn every_protocol_in_the_old_format() {
    for protocol in 2..=5 {
        let bytes = legacy(protocol, start().dict(|items| items.text("w").floats()), &numbers(4));
        assert_eq!(file(bytes).tensors["w"].values, [0.0, 1.0, 2.0, 3.0], "{protocol}");
    }
}

#[test]
fn what_training_scripts_keep_beside_the_weights() {
    type Writes = fn(Pickle) -> Pickle;
    let beside: [(&str, Writes); 6] = [
        ("a scheduler's counter", |pickle| pickle.global("collections", "Counter").raw(b"}\x85R")),
        ("arguments", |pickle| {
            pickle.global("argparse", "Namespace").raw(b")\x81}X\x02\0\0\0lrG?\xb9\x99\x99\x99\x99\x99\x9asb")
        }),
        ("a number of numpy", |pickle| {
            pickle.global("numpy.core.multiarray", "scalar").raw(b"C\x08\0\0\0\0\0\0\xf0?\x85R")
        }),
        ("a size", |pickle| pickle.global("torch", "Size").sizes(&[3, 32]).raw(b"\x85R")),
        ("a seed", |pickle| pickle.raw(b"\x8a\x09\x01\0\0\0\0\0\0\0\0")),
        ("a command", |pickle| pickle.global("os", "system").text("touch /tmp/never").raw(b"\x85R")),
    ];
    for (what, put) in beside {
        let pickle =
            start().dict(|items| put(items.text("state_dict").dict(|items| items.text("w").floats()).text("other")));
        assert_eq!(tensors(pickle)["w"].values, [0.0, 1.0, 2.0, 3.0], "{what}");
    }
    let many = start().dict(|items| {
        let list =
            (0..700_000).fold(items.text("losses").raw(b"]("), |list, _| list.raw(b"G?\xb9\x99\x99\x99\x99\x99\x9a"));
        list.raw(b"e").text("net").dict(|items| items.text("w").floats())
    });
    assert_eq!(tensors(many).len(), 1, "six megabytes of losses");
}

#[test]
fn code_in_the_place_of_the_weights_is_refused() {
    let whole = start().global("__main__", "Net").raw(b")\x81}X\x01\0\0\0a").floats().raw(b"sb");
    let message = refused(whole);
    assert!(message.contains("`__main__.Net`, which is code and no weights; nothing was run"), "{message}");
    let quantized = start().dict(|items| {
        let items = items.text("a").floats().text("conv.weight").global("torch._utils", "_rebuild_qtensor");
        items.raw(b")R")
    });
    let read = file(pth(quantized, &numbers(4)));
    assert!(read.unread["conv.weight"].contains("quantized: save the float model"), "{:?}", read.unread);
}

#[test]
fn tensors_of_every_making() {
    let parameter = start()
        .dict(|items| items.text("p").global("torch._utils", "_rebuild_parameter").raw(b"(").floats().raw(b"\x88NtR"));
    assert_eq!(tensors(parameter)["p"].values, [0.0, 1.0, 2.0, 3.0]);
    let subclass = start().dict(|items| {
        let items = items.text("s").global("torch._tensor", "_rebuild_from_type_v2").raw(b"(");
        let items = items.global("torch._utils", "_rebuild_tensor_v2").global("my", "Tensor").raw(b"(");
        items.storage(FLOAT, 4, None).int(1).sizes(&[3]).sizes(&[1]).raw(b"\x89Nt}tR")
    });
    assert_eq!(tensors(subclass)["s"].values, [1.0, 2.0, 3.0]);
    // One number for all channels.
    let expanded = start().dict(|items| items.text("e").tensor("_rebuild_tensor_v2", FLOAT, 4, &[5], &[0]));
    assert_eq!(tensors(expanded)["e"].values, [0.0; 5]);
}

#[test]
fn types_that_are_not_read_are_left_aside() {
    let read = file(pth(
        start().dict(|items| {
            let items = items.text("ids").global("torch._utils", "_rebuild_tensor_v3").raw(b"(");
            let items = items.storage(("torch.storage", "UntypedStorage"), 4, None).int(0).sizes(&[2]).sizes(&[1]);
            let items = items.raw(b"\x89N").global("torch", "uint16").raw(b"tR");
            let items = items.text("h").global("torch._utils", "_rebuild_tensor_v2").raw(b"(");
            items.storage(("torch", "HalfStorage"), 2, None).int(0).sizes(&[2]).sizes(&[1]).raw(b"\x89NtR")
        }),
        &[0, 0x3c, 0, 0xc0],
    ));
    assert_eq!((read.tensors["h"].values.as_slice(), read.tensors["h"].element), (&[1.0, -2.0][..], Element::F16));
    assert!(read.unread["ids"].contains("not read, in the shape [2]"), "{:?}", read.unread);
}

#[test]
fn the_usual_key_is_taken_and_others_are_chosen_by_name() {
    let of = |keys: &[&str]| {
        start().dict(|items| {
            keys.iter().fold(items, |items, key| items.text(key).dict(|items| items.text(&format!("{key}_w")).floats()))
        })
    };
    let found = file(pth(of(&["ema", "state_dict"]), &numbers(4)));
    assert_eq!(
        (found.order.as_slice(), found.others.as_slice()),
        (&["state_dict_w".to_owned()][..], &["ema".to_owned()][..])
    );
    assert_eq!(tensors(of(&["my_own"])).keys().next().unwrap(), "my_own_w", "the only one");
    assert!(refused(of(&["encoder", "decoder"])).contains("several state dictionaries, under `decoder`, `encoder`"));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.pth");
    let within = start().dict(|items| {
        items.text("epochs").dict(|items| {
            let items = items.text("3").dict(|items| items.text("w").floats());
            items.text("4").dict(|items| items.text("v").floats())
        })
    });
    std::fs::write(&path, pth(within, &numbers(4))).unwrap();
    assert_eq!(read(&path, Some("epochs.4")).unwrap().order, ["v"]);
    assert_eq!(read(&path, Some("epochs")).unwrap().order, ["3.w", "4.v"]);
    let message = read(&path, Some("epochs.5")).unwrap_err();
    assert_eq!(message.kind(), pocketflow::ErrorKind::Config);
    let message = message.to_string();
    assert!(message.contains("no tensors under `epochs.5`; there are some under `epochs`"), "{message}");
    assert!(message.contains("--key=KEY"), "{message}");
}

#[test]
fn dictionaries_within_the_state_dictionary_are_joined() {
    let nested = start().dict(|items| {
        items.text("model").dict(|items| items.text("conv1").dict(|items| items.text("weight").floats()))
    });
    assert_eq!(tensors(nested).keys().next().unwrap(), "conv1.weight");
}

#[test]
fn dictionaries_of_each_other_end() {
    let cycle = start().raw(b"}q\0X\x01\0\0\0ah\0s");
    assert!(refused(cycle).contains("no tensors with names"));
    // Each level twice the one before: a billion ways to the same tensor.
    let mut bomb = start().dict(|items| items.text("w").floats()).raw(b"q\0");
    for level in 0..30u8 {
        bomb =
            bomb.raw(b"}(").text("a").raw(&[b'h', level]).text("b").raw(&[b'h', level]).raw(&[b'u', b'q', level + 1]);
    }
    let _ = read_file(Cursor::new(pth(bomb, &numbers(4))), None);
}

fn safetensors(tensors: &[(&str, f32)]) -> Vec<u8> {
    let entry = |(at, (name, _)): (usize, &(&str, f32))| {
        format!(r#""{name}":{{"dtype":"F32","shape":[1],"data_offsets":[{},{}]}}"#, 4 * at, 4 * at + 4)
    };
    let table = format!("{{{}}}", tensors.iter().enumerate().map(entry).collect::<Vec<_>>().join(","));
    let numbers = tensors.iter().flat_map(|(_, number)| number.to_le_bytes());
    (table.len() as u64).to_le_bytes().into_iter().chain(table.into_bytes()).chain(numbers).collect()
}

#[test]
fn a_model_in_several_files() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("one.safetensors", &safetensors(&[("b", 1.0), ("a", 2.0)]));
    write("two.bin", &pth(start().dict(|items| items.text("c").floats()), &numbers(4)));
    let index = folder.path().join("model.safetensors.index.json");
    let whole = |text: &str| {
        std::fs::write(&index, text).unwrap();
        read(&index, None).map_err(|error| error.to_string())
    };
    let read =
        whole(r#"{"metadata":{}, "weight_map":{"a":"one.safetensors","b":"one.safetensors","c":"two.bin"}}"#).unwrap();
    assert_eq!(read.order, ["b", "a", "c"]);
    assert_eq!(read.tensors["a"].values, [2.0]);
    for (text, word) in [
        (r#"{"weight_map":{"a":"three.safetensors"}}"#, "three.safetensors"),
        (r#"{"weight_map":{"z":"one.safetensors"}}"#, "holds `z`, which it does not"),
        (r#"{"weight_map":{"a":"../one.safetensors"}}"#, "does not lie beside it"),
        (r#"{"weight_map":{"a":"/etc/passwd"}}"#, "does not lie beside it"),
        (r#"{"weight_map":{"a":"model.safetensors.index.json"}}"#, "model.safetensors.index.json"),
        (r#"{"layers":[]}"#, "`weight_map`"),
        ("{\"weight", "weight_map"),
    ] {
        let message = whole(text).unwrap_err();
        assert!(message.contains(word), "{text}: {message}");
    }
}

#[test]
fn types_of_safetensors_that_are_not_read_are_left_aside() {
    let table = br#"{"ids":{"dtype":"U16","shape":[2],"data_offsets":[0,4]},"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    let mut bytes = (table.len() as u64).to_le_bytes().to_vec();
    bytes.extend(table);
    bytes.extend([1, 0, 2, 0, 0, 0, 0x80, 0x3f]);
    let read = file(bytes);
    assert_eq!(read.tensors["w"].values, [1.0]);
    assert!(read.unread["ids"].contains("U16"), "{:?}", read.unread);
}

proptest::proptest! {
    #[test]
    fn damaged_checkpoints_never_panic(which in 0usize..2, at: usize, value: u8) {
        let pickle = start().dict(|items| items.text("state_dict").dict(|items| items.text("w").floats()));
        let mut bytes = [pth(pickle.clone(), &numbers(4)), legacy(4, pickle, &numbers(4))][which].clone();
        let at = at % bytes.len();
        bytes[at] = value;
        let _ = read_file(Cursor::new(bytes), None);
    }
}
