//! One tensor of a file: its values or codes in memory, its row in the table, its bytes.

use crate::error::{Error, Result};
use crate::packing::{pack, packed_len, unpack};
use crate::quant::{Grid, Quantized, largest_code};
use serde::{Deserialize, Serialize};

/// A tensor, as it lies in the file.
#[derive(Debug, Clone, PartialEq)]
pub enum Stored {
    /// Values in full precision.
    Full {
        /// Sizes in PyTorch's order; empty for a scalar.
        shape: Vec<usize>,
        /// Row-major, as many as `shape` makes.
        values: Vec<f32>,
    },
    /// Codes and the ranges of their buckets.
    Packed {
        /// Sizes in PyTorch's order; the output channel comes first.
        shape: Vec<usize>,
        /// As many codes as `shape` makes.
        quantized: Quantized,
    },
    /// No tensor, but bytes that belong with the others: an agent's state, say.
    Bytes(Vec<u8>),
}

impl Stored {
    /// The values; of a packed tensor Q(x).
    ///
    /// # Errors
    /// Bytes have no values; codes, ranges and shape that do not fit each other have none either.
    pub fn values(&self) -> Result<Vec<f32>> {
        self.check().map_err(Error::failed)?;
        match self {
            Self::Full { values, .. } => Ok(values.clone()),
            Self::Packed { quantized, .. } => Ok(quantized.values()),
            Self::Bytes(_) => Err(Error::failed("these are bytes, not a tensor")),
        }
    }

    /// Empty for bytes.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Full { shape, .. } | Self::Packed { shape, .. } => shape,
            Self::Bytes(_) => &[],
        }
    }

    /// Bytes that it takes in a file, without its entry in the table: values, or codes and ranges.
    pub fn payload_bytes(&self) -> u64 {
        match self {
            Self::Full { values, .. } => 4 * values.len() as u64,
            Self::Packed { quantized, .. } => {
                let codes = packed_len(quantized.codes.len() as u64, quantized.bits).unwrap_or(u64::MAX);
                codes.saturating_add(self.range_bytes())
            }
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Of [`Stored::payload_bytes`], those of the buckets' ranges or codebooks.
    pub fn range_bytes(&self) -> u64 {
        match self {
            Self::Packed { quantized: Quantized { ranges, codebooks, .. }, .. } => {
                8 * ranges.len() as u64 + 4 * codebooks.iter().map(Vec::len).sum::<usize>() as u64
            }
            _ => 0,
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let (shape, held) = match self {
            Self::Full { shape, values } => (shape, values.len()),
            Self::Packed { shape, quantized } => (shape, quantized.codes.len()),
            Self::Bytes(_) => return Ok(()),
        };
        if element_count(shape) != Some(held as u64) {
            return Err(format!("{held} values do not make the shape {shape:?}"));
        }
        let Self::Packed { quantized, .. } = self else { return Ok(()) };
        let Quantized { bits, bucket_size, grid, codes, ranges, codebooks } = quantized;
        if !(1..=31).contains(bits) || *bucket_size == 0 {
            return Err(format!(
                "{bits} bits in buckets of {bucket_size}; 1 to 31 bits and no empty bucket can be stored"
            ));
        }
        let buckets = codes.len().div_ceil(*bucket_size);
        let (wanted, entries) = match grid {
            Grid::Codebook => ([0, buckets], codebooks.first().map_or(0, Vec::len)),
            _ => ([buckets, 0], 0),
        };
        if [ranges.len(), codebooks.len()] != wanted {
            let (ranges, books) = (ranges.len(), codebooks.len());
            return Err(format!("{ranges} ranges and {books} codebooks for {held} values in buckets of {bucket_size}"));
        }
        if codebooks.iter().any(|book| book.len() != entries)
            || codes.iter().any(|code| *code as usize >= entries && *grid == Grid::Codebook)
        {
            return Err(format!("its codebooks do not hold {entries} values each, or a code is beyond them"));
        }
        match codes.iter().find(|code| **code > largest_code(*bits)) {
            Some(code) => Err(format!("the code {code} does not fit {bits} bits")),
            None => Ok(()),
        }
    }

    pub(super) fn entry(&self, name: &str) -> Entry {
        let (shape, encoding) = match self {
            Self::Full { shape, .. } => (shape.clone(), Encoding::Full),
            Self::Packed { shape, quantized } => {
                let (bits, bucket_size) = (quantized.bits, quantized.bucket_size);
                let encoding = match quantized.grid {
                    Grid::MinMax => Encoding::Packed(bits, bucket_size),
                    Grid::Symmetric => Encoding::Symmetric(bits, bucket_size),
                    Grid::Affine => Encoding::Affine(bits, bucket_size),
                    Grid::Codebook => {
                        Encoding::Codebook(bits, bucket_size, quantized.codebooks.first().map_or(0, Vec::len))
                    }
                };
                (shape.clone(), encoding)
            }
            Self::Bytes(bytes) => (vec![bytes.len()], Encoding::Bytes),
        };
        Entry(name.into(), shape, encoding)
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Full { values, .. } => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::Packed { quantized, .. } => {
                pack(&quantized.codes, quantized.bits, out);
                let numbers = quantized.ranges.iter().flatten().chain(quantized.codebooks.iter().flatten());
                out.extend(numbers.flat_map(|value| value.to_le_bytes()));
            }
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
        }
    }
}

/// How a tensor is encoded. The short names are what the file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Encoding {
    #[serde(rename = "f")]
    Full,
    /// Bits and bucket size.
    #[serde(rename = "p")]
    Packed(u32, usize),
    /// As `Packed`, on the grid [`Grid::Symmetric`].
    #[serde(rename = "s")]
    Symmetric(u32, usize),
    /// As `Packed`, on the grid [`Grid::Affine`].
    #[serde(rename = "a")]
    Affine(u32, usize),
    /// As `Packed`, with so many values in each bucket's codebook.
    #[serde(rename = "c")]
    Codebook(u32, usize, usize),
    #[serde(rename = "b")]
    Bytes,
}

impl Encoding {
    /// Bytes of the two numbers or the codebook of a bucket.
    fn bucket_bytes(self) -> Option<u64> {
        match self {
            Self::Codebook(.., entries) => (entries as u64).checked_mul(4),
            _ => Some(8),
        }
    }

    /// Bits, bucket size and grid of a packed tensor.
    fn packing(self) -> Option<(u32, usize, Grid)> {
        match self {
            Self::Packed(bits, size) => Some((bits, size, Grid::MinMax)),
            Self::Symmetric(bits, size) => Some((bits, size, Grid::Symmetric)),
            Self::Affine(bits, size) => Some((bits, size, Grid::Affine)),
            Self::Codebook(bits, size, _) => Some((bits, size, Grid::Codebook)),
            Self::Full | Self::Bytes => None,
        }
    }
}

/// A row of the table: name, shape (of bytes: their number), encoding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry(pub(super) String, Vec<usize>, Encoding);

impl Entry {
    /// Of a tensor in full precision.
    pub(crate) fn full(name: &str, shape: &[usize]) -> Self {
        Self(name.into(), shape.to_vec(), Encoding::Full)
    }

    /// Number of elements and bytes in the file; `None` where that is not sound.
    pub(super) fn size(&self) -> Option<(u64, u64)> {
        let count = element_count(&self.1)?;
        let bytes = match self.2 {
            Encoding::Full => count.checked_mul(4)?,
            Encoding::Bytes if self.1.len() == 1 => count,
            Encoding::Bytes => return None,
            _ => {
                let (bits, bucket_size, _) = self.2.packing()?;
                if !(1..=31).contains(&bits) || bucket_size == 0 {
                    return None;
                }
                let buckets = count.div_ceil(bucket_size as u64);
                packed_len(count, bits)?.checked_add(buckets.checked_mul(self.2.bucket_bytes()?)?)?
            }
        };
        Some((count, bytes))
    }

    /// `bytes` has the length that [`Entry::size`] says.
    pub(super) fn take(&self, count: usize, bytes: &[u8]) -> Result<Stored, String> {
        let shape = self.1.clone();
        match (self.2, self.2.packing()) {
            (_, Some((bits, bucket_size, grid))) => {
                let (codes, numbers) = bytes.split_at(packed_len(count as u64, bits).unwrap_or(0) as usize);
                let codes = unpack(codes, bits, count).ok_or("bits are set after the last code")?;
                let mut quantized = Quantized { bits, bucket_size, grid, codes, ..Quantized::default() };
                match self.2 {
                    Encoding::Codebook(.., entries) => {
                        quantized.codebooks = floats(numbers).chunks(entries.max(1)).map(<[f32]>::to_vec).collect();
                    }
                    _ => quantized.ranges = floats(numbers).as_chunks().0.to_vec(),
                }
                let stored = Stored::Packed { shape, quantized };
                stored.check()?;
                Ok(stored)
            }
            (Encoding::Full, _) => Ok(Stored::Full { shape, values: floats(bytes) }),
            _ => Ok(Stored::Bytes(bytes.to_vec())),
        }
    }
}

fn element_count(shape: &[usize]) -> Option<u64> {
    shape.iter().try_fold(1u64, |count, size| count.checked_mul(*size as u64))
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
