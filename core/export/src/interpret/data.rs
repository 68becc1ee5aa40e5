//! What tensors hold while a model runs, and how kernels see it: as slices of their own type.

use crate::tflite::model::DType;
use pocketflow::{Error, Result};

/// The values of a tensor, row-major.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// Single precision.
    Float(Vec<f32>),
    /// Codes from −128 to 127.
    Int8(Vec<i8>),
    /// Codes from 0 to 255.
    Uint8(Vec<u8>),
    /// Indices and sums of products.
    Int32(Vec<i32>),
}

impl Default for Data {
    fn default() -> Self {
        Self::Float(Vec::new())
    }
}

impl Data {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::Float(values) => values.len(),
            Self::Int8(values) => values.len(),
            Self::Uint8(values) => values.len(),
            Self::Int32(values) => values.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of the values.
    pub fn dtype(&self) -> DType {
        match self {
            Self::Float(_) => DType::Float32,
            Self::Int8(_) => DType::Int8,
            Self::Uint8(_) => DType::Uint8,
            Self::Int32(_) => DType::Int32,
        }
    }

    /// From a file's bytes, little endian; the length must be a multiple of the element's size.
    ///
    /// # Errors
    /// `Failed` for int64, which no operator computes with, and for a length that does not divide.
    pub fn from_bytes(dtype: DType, bytes: &[u8]) -> Result<Self> {
        if !bytes.len().is_multiple_of(dtype.size()) {
            return Err(Error::failed(format!("{} bytes are no whole number of {dtype:?} values", bytes.len())));
        }
        let words = || bytes.as_chunks::<4>().0.iter();
        Ok(match dtype {
            DType::Float32 => Self::Float(words().map(|word| f32::from_le_bytes(*word)).collect()),
            DType::Int32 => Self::Int32(words().map(|word| i32::from_le_bytes(*word)).collect()),
            DType::Int8 => Self::Int8(bytes.iter().map(|byte| *byte as i8).collect()),
            DType::Uint8 => Self::Uint8(bytes.to_vec()),
            DType::Int64 => return Err(Error::failed("the reference interpreter does not compute with int64")),
        })
    }

    /// As a file holds them, little endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Float(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::Int32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::Int8(values) => values.iter().map(|value| *value as u8).collect(),
            Self::Uint8(values) => values.clone(),
        }
    }
}

/// A type that activations have: float32, int8 or uint8.
pub(crate) trait Element: Copy + Default + Send + Sync + 'static {
    fn slice(data: &Data) -> Option<&[Self]>;
    /// The vector inside; what holds another type becomes an empty one of this.
    fn vector(data: &mut Data) -> &mut Vec<Self>;
}

macro_rules! element {
    ($type:ty, $variant:ident) => {
        impl Element for $type {
            fn slice(data: &Data) -> Option<&[Self]> {
                match data {
                    Data::$variant(values) => Some(values),
                    _ => None,
                }
            }

            fn vector(data: &mut Data) -> &mut Vec<Self> {
                if !matches!(data, Data::$variant(_)) {
                    *data = Data::$variant(Vec::new());
                }
                match data {
                    Data::$variant(values) => values,
                    _ => unreachable!("was just made so"),
                }
            }
        }
    };
}

element!(f32, Float);
element!(i8, Int8);
element!(u8, Uint8);

/// A type of codes: int8 or uint8.
pub(crate) trait Code: Element + PartialOrd {
    const DTYPE: DType;
    const LOWEST: i32;
    const HIGHEST: i32;

    fn widen(self) -> i32;

    /// Of `LOWEST` … `HIGHEST`.
    fn narrow(code: i32) -> Self;

    /// The code nearest to real / scale + zero point, halves away from zero, held in the range
    /// (TensorFlow Lite's QUANTIZE).
    fn encode(real: f32, scale: f32, zero_point: i32) -> Self {
        let code = ((real / scale).round() as i32).saturating_add(zero_point);
        Self::narrow(code.clamp(Self::LOWEST, Self::HIGHEST))
    }
}

macro_rules! code {
    ($type:ty, $dtype:ident) => {
        impl Code for $type {
            const DTYPE: DType = DType::$dtype;
            const LOWEST: i32 = <$type>::MIN as i32;
            const HIGHEST: i32 = <$type>::MAX as i32;

            #[inline(always)]
            fn widen(self) -> i32 {
                i32::from(self)
            }

            #[inline(always)]
            fn narrow(code: i32) -> Self {
                code as $type
            }
        }
    };
}

code!(i8, Int8);
code!(u8, Uint8);
