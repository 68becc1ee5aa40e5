//! TensorBoard's event files: TFRecord frames, each a protobuf `Event`. The few messages that
//! scalars need are written out here by field number (tensorflow/core/util/event.proto,
//! framework/summary.proto).

use prost::Message;

/// TensorBoard finds files by this.
pub const PREFIX: &str = "events.out.tfevents.";

#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// Seconds since 1970-01-01 UTC.
    #[prost(double, tag = "1")]
    pub wall_time: f64,
    #[prost(int64, tag = "2")]
    pub step: i64,
    #[prost(oneof = "What", tags = "3, 5")]
    pub what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
}

#[derive(Clone, PartialEq, Message)]
pub struct Summary {
    #[prost(message, repeated, tag = "1")]
    pub value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Value {
    #[prost(string, tag = "1")]
    pub tag: String,
    /// `Some` also for 0: a value that is left out, as protobuf does with zeros, is no point of the
    /// curve to TensorBoard.
    #[prost(float, optional, tag = "2")]
    pub simple_value: Option<f32>,
}

impl Event {
    /// The first event of every file.
    pub fn version(wall_time: f64) -> Self {
        Self { wall_time, step: 0, what: Some(What::FileVersion("brain.Event:2".into())) }
    }

    /// The figures of one step, by tag.
    pub fn scalars(wall_time: f64, step: u64, figures: &[(String, f64)]) -> Self {
        let value = |(tag, value): &(String, f64)| Value { tag: tag.clone(), simple_value: Some(*value as f32) };
        let value = figures.iter().map(value).collect();
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        Self { wall_time, step, what: Some(What::Summary(Summary { value })) }
    }

    /// The event as one TFRecord: length, checksum of the length, message, checksum of the message.
    pub fn record(&self) -> Vec<u8> {
        let message = self.encode_to_vec();
        let length = (message.len() as u64).to_le_bytes();
        let mut record = Vec::with_capacity(message.len() + 16);
        record.extend(length);
        record.extend(masked_crc(&length).to_le_bytes());
        record.extend(&message);
        record.extend(masked_crc(&message).to_le_bytes());
        record
    }
}

/// A checksum stored beside its data is masked, so that the checksum of data with checksums inside
/// stays a good one.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Why an event file could not be read.
#[cfg(test)]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("the record at byte {at} is cut off")]
    Cut { at: usize },
    #[error("the record at byte {at} does not match its checksum")]
    Checksum { at: usize },
    #[error("the record at byte {at} is not an event: {reason}")]
    Message { at: usize, reason: String },
}

/// All events of a file.
///
/// # Errors
/// The first record that is cut, damaged or no event, by its offset.
#[cfg(test)]
pub fn read(bytes: &[u8]) -> Result<Vec<Event>, ReadError> {
    let mut events = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let mut rest = &bytes[at..];
        let mut take = |count: usize| {
            let (taken, left) = rest.split_at_checked(count).ok_or(ReadError::Cut { at })?;
            rest = left;
            Ok(taken)
        };
        let length = take(8)?;
        if take(4)? != masked_crc(length).to_le_bytes() {
            return Err(ReadError::Checksum { at });
        }
        let count = length.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        let message = take(usize::try_from(count).map_err(|_| ReadError::Cut { at })?)?;
        if take(4)? != masked_crc(message).to_le_bytes() {
            return Err(ReadError::Checksum { at });
        }
        events.push(Event::decode(message).map_err(|error| ReadError::Message { at, reason: error.to_string() })?);
        at = bytes.len() - rest.len();
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_record_is_what_tensorflow_writes() {
        // Written by tensorboard 2.21's own RecordWriter.
        let version = "1800000000000000a37f4b2209000000000000f03f1a0d627261696e2e4576656e743a3286bf577a";
        let scalars =
            "200000000000000029eda95009000000000000004010032a130a110a0a747261696e2f6c6f7373150000003f89c6b87d";
        let hex = |record: Vec<u8>| record.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(Event::version(1.0).record()), version);
        assert_eq!(hex(Event::scalars(2.0, 3, &[("train/loss".into(), 0.5)]).record()), scalars);
        // A zero is a value, not the absence of one.
        assert_eq!(Event::scalars(2.0, 3, &[("train/loss".into(), 0.0)]).record().len() * 2, scalars.len());
        // The checksum of "123456789" is the published check value of CRC-32C.
        assert_eq!(masked_crc(b"123456789"), 0xe306_9283_u32.rotate_right(15).wrapping_add(0xa282_ead8));
    }

    #[test]
    fn damage_is_noticed() {
        let mut bytes = Event::version(1.0).record();
        let first = bytes.len();
        bytes.extend(Event::scalars(2.0, 3, &[("train/loss".into(), 0.5)]).record());
        assert_eq!(read(&bytes).unwrap().len(), 2);
        assert_eq!(read(&bytes[..bytes.len() - 1]), Err(ReadError::Cut { at: first }));
        for at in first..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            assert_eq!(read(&damaged), Err(ReadError::Checksum { at: first }), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn events_come_back(wall_time in 0.0..1e10, step in 0..i64::MAX as u64, tag in ".{0,20}", value in -1e30..1e30) {
            let event = Event::scalars(wall_time, step, &[(tag, value)]);
            prop_assert_eq!(read(&event.record()), Ok(vec![event]));
        }

        #[test]
        fn garbage_is_an_error(garbage in proptest::collection::vec(any::<u8>(), 1..60)) {
            prop_assert!(read(&garbage).is_err());
        }
    }
}
