//! The types of stored numbers, and their conversion to `f32`.

use serde::Serialize;
use std::fmt;

/// The type of a stored tensor's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Element {
    /// Double precision.
    F64,
    /// Single precision.
    F32,
    /// IEEE 754's half precision.
    F16,
    /// The upper half of single precision.
    Bf16,
    /// 64 bits, signed.
    I64,
    /// 32 bits, signed.
    I32,
    /// 16 bits, signed.
    I16,
    /// 8 bits, signed.
    I8,
    /// 8 bits, unsigned.
    U8,
    /// A byte, 0 or 1.
    Bool,
}

impl Element {
    /// Bytes of one number.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Weights are; counters and codes are not.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::Bf16)
    }

    /// The little-endian numbers of `bytes`, rounded to `f32`; a rest of less than one is left out.
    pub(crate) fn numbers(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F64 => each(bytes, |bytes| f64::from_le_bytes(bytes) as f32),
            Self::F32 => each(bytes, f32::from_le_bytes),
            Self::F16 => each(bytes, |bytes| half::f16::from_le_bytes(bytes).to_f32()),
            Self::Bf16 => each(bytes, |bytes| half::bf16::from_le_bytes(bytes).to_f32()),
            Self::I64 => each(bytes, |bytes| i64::from_le_bytes(bytes) as f32),
            Self::I32 => each(bytes, |bytes| i32::from_le_bytes(bytes) as f32),
            Self::I16 => each(bytes, |bytes| f32::from(i16::from_le_bytes(bytes))),
            Self::I8 => each(bytes, |bytes| f32::from(i8::from_le_bytes(bytes))),
            Self::U8 | Self::Bool => each(bytes, |[byte]| f32::from(byte)),
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::I16 => "i16",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::Bool => "bool",
        })
    }
}

fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| number(*bytes)).collect()
}

/// The number of elements that a shape makes, if it can be counted.
pub(crate) fn count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |count, size| count.checked_mul(*size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_gives_its_numbers() {
        assert_eq!(Element::F64.numbers(&(-1.5f64).to_le_bytes()), [-1.5]);
        assert_eq!(Element::F32.numbers(&[0, 0, 128, 63, 9]), [1.0]);
        assert_eq!(Element::F16.numbers(&[0x00, 0x3c, 0x01, 0x00]), [1.0, 2f32.powi(-24)]);
        assert_eq!(Element::Bf16.numbers(&[0x80, 0x3f]), [1.0]);
        assert_eq!(Element::I64.numbers(&(-7i64).to_le_bytes()), [-7.0]);
        assert_eq!(Element::I8.numbers(&[0xff, 1]), [-1.0, 1.0]);
        assert_eq!(Element::Bool.numbers(&[0, 1]), [0.0, 1.0]);
    }
}
