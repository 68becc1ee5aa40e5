//! How many channels a layer has under a depth multiplier: TF-slim's two roundings.

use std::fmt;

/// No layer is narrower.
const LEAST: usize = 8;
/// The widest layer of version 1, and about that of version 2 before its last.
const WIDEST: usize = 1024;
/// Version 2 rounds to multiples of this.
const DIVISOR: usize = 8;

/// A factor on the channels of every layer, as TF-slim's `depth_multiplier` and torchvision's
/// `width_mult`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DepthMultiplier(f64);

/// A depth multiplier that leaves nothing to multiply.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error(
    "a depth multiplier of {0} gives no channels: even the widest layer, of {WIDEST}, would not keep one of its own; \
     give at least {least}, published weights have 0.25 to 1.4",
    least = 1.0 / WIDEST as f64
)]
pub struct NoChannels(f64);

impl DepthMultiplier {
    /// The largest factor that is taken; beyond it lie typing errors.
    pub const MOST: f64 = 64.0;

    /// # Errors
    /// Less than 1/1024, where every layer would stand at its least number of channels; more than
    /// [`Self::MOST`] or no number.
    pub fn new(factor: f64) -> Result<Self, NoChannels> {
        match factor * WIDEST as f64 >= 1.0 && factor <= Self::MOST {
            true => Ok(Self(factor)),
            false => Err(NoChannels(factor)),
        }
    }

    /// Version 1: the fraction is cut off, 8 at the least.
    pub(crate) fn cut(self, channels: usize) -> usize {
        ((channels as f64 * self.0) as usize).max(LEAST)
    }

    /// Version 2: the nearest multiple of 8, the next one up where that would lose more than a
    /// tenth.
    pub(crate) fn rounded(self, channels: usize) -> usize {
        let exact = channels as f64 * self.0;
        let nearest = ((exact + DIVISOR as f64 / 2.0) as usize / DIVISOR * DIVISOR).max(LEAST);
        match (nearest as f64) < 0.9 * exact {
            true => nearest + DIVISOR,
            false => nearest,
        }
    }

    /// Version 2's last convolution is widened, never narrowed.
    pub(crate) fn rounded_up_only(self, channels: usize) -> usize {
        Self(self.0.max(1.0)).rounded(channels)
    }
}

impl fmt::Display for DepthMultiplier {
    /// With a decimal point: `1.0`, `0.25`, as published networks are named.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roundings_of_tf_slim() {
        let times = |factor| DepthMultiplier::new(factor).unwrap();
        assert_eq!([32, 64, 1024].map(|channels| times(0.25).cut(channels)), [8, 16, 256]);
        // No multiple of 8 in version 1.
        assert_eq!(times(0.35).cut(64), 22);
        assert_eq!(times(0.01).cut(1024), 10);
        assert_eq!(times(0.01).cut(32), 8);
        // torchvision's and TF-slim's published widths.
        assert_eq!([32, 16, 24, 96, 320].map(|channels| times(0.35).rounded(channels)), [16, 8, 8, 32, 112]);
        assert_eq!([32, 16, 24, 96, 320].map(|channels| times(0.75).rounded(channels)), [24, 16, 24, 72, 240]);
        assert_eq!([32, 16, 24, 96, 320].map(|channels| times(1.4).rounded(channels)), [48, 24, 32, 136, 448]);
        assert_eq!(times(0.5).rounded_up_only(1280), 1280);
        assert_eq!(times(1.4).rounded_up_only(1280), 1792);
    }

    #[test]
    fn nothing_to_multiply() {
        for factor in [0.0, -1.0, 0.0009, f64::NAN, f64::INFINITY, 65.0] {
            assert!(DepthMultiplier::new(factor).is_err(), "{factor}");
        }
        let message = NoChannels(0.0).to_string();
        assert!(message.contains("0 gives no channels"), "{message}");
    }

    proptest::proptest! {
        #[test]
        fn rounding_keeps_nine_tenths(factor in 0.001f64..4.0, channels in 1usize..2000) {
            let multiplier = DepthMultiplier::new(factor).unwrap();
            let rounded = multiplier.rounded(channels);
            let exact = channels as f64 * factor;
            proptest::prop_assert!(rounded.is_multiple_of(8) && rounded >= 8);
            proptest::prop_assert!(rounded as f64 >= 0.9 * exact);
            proptest::prop_assert!((rounded as f64) < exact + 8.0 + 1e-9);
            proptest::prop_assert!(multiplier.cut(channels) >= 8);
        }
    }
}
