//! How many codes the integer weights of a file use: all of 8 bits, or those of which no sum of two
//! products leaves 16 bits.

use pocketflow::integer::Target;

/// The codes of weights that are multiplied as integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightRange {
    /// int8: −127 to 127; uint8: 0 to 255.
    #[default]
    Full,
    /// int8: −64 to 64; uint8: 0 to 127. Two products with uint8 values, 2 · 255 · 64, fit into 16
    /// bits: processors whose kernels add two products in 16 bits (ONNX Runtime's on x86-64 without
    /// VNNI) compute the same as all others. The codes are those of ONNX Runtime's own quantizer
    /// with its option `reduce_range`.
    Reduced,
}

impl WeightRange {
    /// The largest int8 code; the smallest is its negative.
    pub(super) fn largest_symmetric(self) -> i32 {
        match self {
            Self::Full => 127,
            Self::Reduced => 64,
        }
    }

    /// The bits of a uint8 code.
    pub(super) fn affine_bits(self) -> u32 {
        match self {
            Self::Full => 8,
            Self::Reduced => 7,
        }
    }

    /// Whether all of these codes of a target are within the range.
    pub(super) fn holds(self, codes: &[i32], target: Target) -> bool {
        let (least, largest) = match target {
            Target::Int8 => (-self.largest_symmetric(), self.largest_symmetric()),
            Target::Uint8 => (0, (1 << self.affine_bits()) - 1),
        };
        codes.iter().all(|code| (least..=largest).contains(code))
    }
}
