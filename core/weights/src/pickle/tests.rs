use super::*;

fn refused(bytes: &[u8]) -> String {
    load(bytes).unwrap_err().to_string()
}

#[test]
fn dictionaries_lists_and_numbers() {
    // {'a': [1, -2, 300], 'b': (True, None), 'c': 0.5} in protocol 2, by hand.
    let mut bytes =
        b"\x80\x02}(X\x01\0\0\0a](K\x01J\xfe\xff\xff\xffM\x2c\x01eX\x01\0\0\0b\x88N\x86X\x01\0\0\0cG".to_vec();
    bytes.extend(0.5f64.to_be_bytes());
    bytes.extend(b"u.rest");
    let loaded = load(&bytes).unwrap();
    assert_eq!(loaded.length, bytes.len() - 4);
    let pairs: Vec<(&str, Id)> = loaded.pairs(loaded.root).collect();
    let [("a", list), ("b", tuple), ("c", float)] = pairs[..] else { panic!("{pairs:?}") };
    let Node::List(items) = &loaded.nodes[list] else { panic!() };
    assert_eq!(items.iter().map(|id| loaded.int(*id).unwrap()).collect::<Vec<_>>(), [1, -2, 300]);
    assert!(matches!(&loaded.nodes[tuple], Node::Tuple(items) if items.len() == 2));
    assert_eq!(loaded.nodes[float], Node::Float(0.5));
}

#[test]
fn long_numbers() {
    for (bytes, number) in [
        (&b"\x8a\x00."[..], 0),
        (b"\x8a\x01\xff.", -1),
        (b"\x8a\x02\x00\x80.", -32768),
        (b"\x8a\x08\0\0\0\0\0\0\0\x80.", i64::MIN),
    ] {
        let loaded = load(bytes).unwrap();
        assert_eq!(loaded.int(loaded.root), Some(number));
    }
    // Longer ones, as a random number generator's seed, are nobody's weights.
    assert_eq!(load(b"\x8a\x09\0\0\0\0\0\0\0\0\0.").unwrap().nodes, [Node::Opaque(None)]);
    assert_eq!(load(b"\x8b\x01\0\0\0\x05.").unwrap().nodes, [Node::Int(5)]);
}

#[test]
fn code_is_named_and_not_run() {
    let made = |bytes: &[u8]| {
        let loaded = load(bytes).unwrap();
        let Node::Opaque(Some(index)) = loaded.nodes[loaded.root] else { panic!("{:?}", loaded.nodes) };
        (loaded.foreign[index].at, loaded.foreign[index].name.clone())
    };
    assert_eq!(made(b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R."), (2, "os.system".into()));
    assert_eq!(made(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93)R."), (18, "builtins.eval".into()));
    // A function that a function finds, an object with arguments by name, one with attributes and
    // items.
    assert_eq!(made(b"cbuiltins\ngetattr\n)R)R.").1, "builtins.getattr");
    assert_eq!(made(b"ca\nB\n)}\x92.").1, "a.B");
    assert_eq!(made(b"ca\nB\n)\x81}b.").1, "a.B");
    // What is known cannot be bent to other uses.
    assert!(refused(b"ccollections\nOrderedDict\nK\x01\x85R.").contains("no list"));
    assert!(refused(b"ctorch\nFloatStorage\n)R.").contains("cannot be called"));
    assert!(refused(b"ctorch._utils\n_rebuild_tensor_v2\n(NK\0))tR.").contains("no storage"));
    let within = b"ctorch._tensor\n_rebuild_from_type_v2\nq\0(h\0N)tR.";
    assert!(refused(within).contains("cannot be called"));
}

#[test]
fn what_lies_beside_the_weights_does_no_harm() {
    // A counter with items, bytes, a set, a frozen set, a list and a dictionary of a mark, twice
    // the same, a value that is dropped, Python 2's text of a number.
    for bytes in [
        &b"ccollections\nCounter\n)RK\x01K\x02s."[..],
        b"C\x03\xff\xfe\xfd.",
        b"B\x02\0\0\0\xff\xff.",
        b"\x8f(K\x01K\x02\x90.",
        b"(K\x01\x91.",
        b"(K\x01K\x02l.",
        b"(K\x01K\x02d.",
        b"}K\x012s.",
        b"N(K\x01K\x021.",
        b"U\x02\xff\xfe.",
    ] {
        load(bytes).unwrap_or_else(|error| panic!("{}: {error}", bytes.escape_ascii()));
    }
    let loaded = load(b"ccollections\nCounter\n)RX\x01\0\0\0aK\x02s.").unwrap();
    assert_eq!(loaded.pairs(loaded.root).count(), 1);
}

#[test]
fn more_values_than_any_network_has_are_refused() {
    let message = refused(&vec![b']'; MAX_VALUES + 2]);
    assert!(message.contains("more values than any network's"), "{message}");
    let message = refused(&[&b"]"[..], &[b'2'; MAX_VALUES + 2]].concat());
    assert!(message.contains("more values than any network's"), "{message}");
}

#[test]
fn what_torch_never_writes() {
    for (bytes, word) in [
        (&b""[..], "cut off"),
        (b"\x80", "cut off"),
        (b"X\xff\xff\xff\x7fa", "cut off"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffa", "cut off"),
        (b".", "none"),
        (b"K\x01a.", "none"),
        (b"(K\x01", "cut off"),
        (b"e", "never opened"),
        (b"h\x05.", "never kept"),
        (b"}K\x01(u", "no dictionary"),
        (b"}(K\x01u", "no dictionary"),
        (b"K\x01Nb", "sets attributes of what has none"),
        (b"NQ", "no storage"),
        (b"i", "opcode 0x69"),
        (b"X\x01\0\0\0\xff.", "UTF-8"),
        (b"cos", "cut off"),
    ] {
        let message = refused(bytes);
        assert!(message.contains(word), "{:?}: {message}", bytes.escape_ascii().to_string());
    }
}

#[test]
fn deep_nesting_and_cycles_end() {
    let mut bytes = vec![b')'];
    bytes.resize(1_000_000, 0x85);
    bytes.push(b'.');
    load(&bytes).unwrap();
    // A list within itself.
    load(b"]q\x00h\x00a.").unwrap();
}

proptest::proptest! {
    #[test]
    fn garbage_never_panics(bytes: Vec<u8>) {
        let _ = load(&bytes);
    }

    #[test]
    fn garbage_of_known_opcodes_never_panics(picks in proptest::collection::vec(0usize..22, 0..200)) {
        const PIECES: [&[u8]; 22] = [
            b"(", b")", b"]", b"}", b"N", b"K\x02", b"t", b"\x85", b"\x86", b"\x87", b"u", b"s", b"a", b"e", b"b", b"R", b"Q",
            b"q\0", b"h\0", b"X\x07\0\0\0storage", b"ctorch\nFloatStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n",
        ];
        let bytes: Vec<u8> = picks.iter().flat_map(|pick| PIECES[*pick]).copied().collect();
        let _ = load(&bytes);
    }
}
