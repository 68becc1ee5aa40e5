//! Affine grids, on which integer runtimes compute: value = scale · (code − zero point), with zero
//! exactly on the grid, so that padding and inactive outputs cost nothing (Jacob et al. 2018,
//! arXiv 1712.05877, §2.1).

use crate::quant::{Grid, largest_code};

/// Evenly spaced values, zero among them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// Distance of two neighbours; positive.
    pub scale: f32,
    /// The code of zero; within the codes.
    pub zero_point: i32,
    /// The code of the smallest value; below `max_code`.
    pub min_code: i32,
    /// The code of the largest value.
    pub max_code: i32,
}

impl Affine {
    /// The grid of an activation: codes 0 to 2^bits − 1 over `[min, max]`, widened to hold zero and
    /// nudged so that zero is a code, as TensorFlow's FakeQuantWithMinMaxVars does. An empty range
    /// takes the scale 1.
    pub fn of_range([min, max]: [f32; 2], bits: u32) -> Self {
        Self::nudged([min, max], 0, largest_code(bits.min(31)) as i32)
    }

    /// The grid of a bucket of weights with this minimum and maximum, for [`Grid::Symmetric`] or
    /// [`Grid::Affine`]. 2 to 16 bits.
    pub fn of_weights([min, max]: [f32; 2], grid: Grid, bits: u32) -> Self {
        let top = largest_code(bits) as i32;
        if grid == Grid::Symmetric {
            // As int8's −127 … 127, counted from 0.
            let half = (top - 1) / 2;
            let scale = positive(f64::from(min.abs().max(max.abs())) / f64::from(half));
            return Self { scale, zero_point: half, min_code: 0, max_code: 2 * half };
        }
        Self::nudged([min, max], 1, top)
    }

    fn nudged([min, max]: [f32; 2], min_code: i32, max_code: i32) -> Self {
        let (min, max) = (min.min(0.0), max.max(0.0));
        let scale = positive((f64::from(max) - f64::from(min)) / f64::from(max_code - min_code));
        // In f32, as TensorFlow rounds it.
        let zero_point = (min_code as f32 - min / scale).round().clamp(min_code as f32, max_code as f32) as i32;
        Self { scale, zero_point, min_code, max_code }
    }

    /// The code nearest to `x`, ties to even; values beyond the ends take the ends.
    pub fn encode(&self, x: f32) -> i32 {
        let code = (x / self.scale).round_ties_even() + self.zero_point as f32;
        (code as i32).clamp(self.min_code, self.max_code)
    }

    /// The value of a code: scale · (code − zero point), rounded to f32. Codes beyond the ends are
    /// not clamped.
    pub fn decode(&self, code: i32) -> f32 {
        self.scale * (code - self.zero_point) as f32
    }

    /// The smallest and the largest value.
    pub fn ends(&self) -> [f32; 2] {
        [self.decode(self.min_code), self.decode(self.max_code)]
    }
}

/// A scale that can be divided by: 1 for an empty range.
fn positive(scale: f64) -> f32 {
    let scale = scale as f32;
    if scale >= f32::MIN_POSITIVE && scale.is_finite() { scale } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_as_tensorflow_has_them() {
        // What TensorFlow 2.21's fake_quant_with_min_max_vars makes of -2 and 2 with these ranges.
        let grid = Affine::of_range([-1.0, 1.0], 8);
        assert_eq!((grid.zero_point, grid.min_code, grid.max_code), (127, 0, 255));
        assert_eq!(grid.ends(), [-0.996_078_5, 1.003_921_6]);
        assert_eq!(Affine::of_weights([-1.0, 0.3], Grid::Affine, 8).ends(), [-0.998_031_5, 0.301_968_51]);
        let symmetric = Affine::of_weights([-0.5, 1.0], Grid::Symmetric, 8);
        assert_eq!((symmetric.zero_point, symmetric.max_code, symmetric.encode(1.0)), (127, 254, 254));
        let narrow = Affine::of_weights([0.0, 254.0], Grid::Affine, 8);
        assert_eq!((narrow.zero_point, narrow.encode(254.0), narrow.scale), (1, 255, 1.0));
    }

    #[test]
    fn an_empty_range_is_zero() {
        for grid in [Affine::of_range([0.0, 0.0], 8), Affine::of_weights([0.0, 0.0], Grid::Symmetric, 4)] {
            assert_eq!((grid.scale, grid.decode(grid.encode(0.0))), (1.0, 0.0));
        }
    }

    proptest! {
        #[test]
        fn codes_survive(min in -1e4f32..0.0, max in 0.0f32..1e4, bits in 2u32..=16, at in 0.0f64..=1.0) {
            let grid = Affine::of_range([min, max], bits);
            let code = (at * f64::from(grid.max_code)).round() as i32;
            prop_assert_eq!(grid.encode(grid.decode(code)), code);
            prop_assert_eq!(grid.decode(grid.zero_point), 0.0);
        }
    }
}
