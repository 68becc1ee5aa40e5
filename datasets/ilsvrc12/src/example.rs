//! `tf.train.Example` as ILSVRC-12's TFRecord files hold it: one encoded image and its label.
//! (<https://www.tensorflow.org/tutorials/load_data/tfrecord>; message numbers from TensorFlow's
//! `example.proto` and `feature.proto`.)

use prost::Message;
use std::collections::HashMap;

const IMAGE: &str = "image/encoded";
const LABEL: &str = "image/class/label";

#[derive(Clone, PartialEq, Message)]
struct Example {
    #[prost(message, optional, tag = "1")]
    features: Option<Features>,
}

#[derive(Clone, PartialEq, Message)]
struct Features {
    #[prost(map = "string, message", tag = "1")]
    feature: HashMap<String, Feature>,
}

#[derive(Clone, PartialEq, Message)]
struct Feature {
    #[prost(oneof = "Kind", tags = "1, 3")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(message, tag = "1")]
    Bytes(BytesList),
    #[prost(message, tag = "3")]
    Ints(Int64List),
}

#[derive(Clone, PartialEq, Message)]
struct BytesList {
    #[prost(bytes = "vec", repeated, tag = "1")]
    value: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Int64List {
    #[prost(int64, repeated, tag = "1")]
    value: Vec<i64>,
}

/// Why a record is no image with a label.
#[derive(Debug, thiserror::Error)]
pub enum ExampleError {
    #[error("no tf.train.Example: {0}")]
    Encoding(#[from] prost::DecodeError),
    #[error("the tf.train.Example has no feature `{0}`")]
    Missing(&'static str),
    #[error("the feature `{key}` is not {expected}")]
    Kind { key: &'static str, expected: &'static str },
}

/// The encoded image and the label of a record.
///
/// # Errors
/// Bytes that are no `Example`, features that are missing or hold something else.
pub fn parse(record: &[u8]) -> Result<(Vec<u8>, i64), ExampleError> {
    let mut features = Example::decode(record)?.features.unwrap_or_default().feature;
    let mut take =
        |key: &'static str| features.remove(key).and_then(|feature| feature.kind).ok_or(ExampleError::Missing(key));
    let image = match take(IMAGE)? {
        Kind::Bytes(BytesList { mut value }) if value.len() == 1 => value.swap_remove(0),
        _ => return Err(ExampleError::Kind { key: IMAGE, expected: "one string of bytes" }),
    };
    match take(LABEL)? {
        Kind::Ints(Int64List { value }) if value.len() == 1 => Ok((image, value[0])),
        _ => Err(ExampleError::Kind { key: LABEL, expected: "one whole number" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example(features: Vec<(&str, Kind)>) -> Vec<u8> {
        let feature = features.into_iter().map(|(key, kind)| (key.into(), Feature { kind: Some(kind) })).collect();
        Example { features: Some(Features { feature }) }.encode_to_vec()
    }

    fn bytes(value: &[&[u8]]) -> Kind {
        Kind::Bytes(BytesList { value: value.iter().map(|each| each.to_vec()).collect() })
    }

    fn ints(value: &[i64]) -> Kind {
        Kind::Ints(Int64List { value: value.to_vec() })
    }

    /// Written by TensorFlow 2.21: image/encoded = b"abc", image/class/label = 700, image/x = 0.5.
    const BY_TENSORFLOW: &[u8] = b"\x0a\x4c\x0a\x1b\x0a\x11image/class/label\x12\x06\x1a\x04\x0a\x02\xbc\x05\
        \x0a\x18\x0a\x0dimage/encoded\x12\x07\x0a\x05\x0a\x03abc\x0a\x13\x0a\x07image/x\x12\x08\x12\x06\x0a\x04\x00\x00\x00\x3f";

    #[test]
    fn what_is_written_comes_back() {
        let record = example(vec![
            (IMAGE, bytes(&[b"abc"])),
            (LABEL, ints(&[700])),
            ("image/height", ints(&[1])),
            ("image/format", bytes(&[b"JPEG"])),
        ]);
        assert_eq!(parse(&record).unwrap(), (b"abc".to_vec(), 700));
        assert_eq!(parse(BY_TENSORFLOW).unwrap(), (b"abc".to_vec(), 700));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let problem = |features| parse(&example(features)).unwrap_err().to_string();
        assert_eq!(problem(vec![]), "the tf.train.Example has no feature `image/encoded`");
        assert_eq!(problem(vec![(IMAGE, bytes(&[b"abc"]))]), "the tf.train.Example has no feature `image/class/label`");
        assert_eq!(
            problem(vec![(IMAGE, bytes(&[])), (LABEL, ints(&[1]))]),
            "the feature `image/encoded` is not one string of bytes"
        );
        assert_eq!(
            problem(vec![(IMAGE, bytes(&[b"abc"])), (LABEL, ints(&[1, 2]))]),
            "the feature `image/class/label` is not one whole number"
        );
        assert!(parse(b"JPEG").unwrap_err().to_string().starts_with("no tf.train.Example: "));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(record in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&record);
        }

        #[test]
        fn a_damaged_example_never_panics(place in 0usize..60, value: u8) {
            let mut record = example(vec![(IMAGE, bytes(&[b"some bytes"])), (LABEL, ints(&[700]))]);
            let place = place % record.len();
            record[place] = value;
            let _ = parse(&record);
        }
    }
}
