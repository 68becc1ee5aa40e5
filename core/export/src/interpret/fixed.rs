//! The fixed-point arithmetic that integer operators rescale with: a real multiplier as 31 bits of
//! mantissa and a power of two, two roundings, and the exponential and reciprocal of the integer
//! softmax. Bit by bit as gemmlowp defines it and TensorFlow Lite's reference kernels use it (the
//! two-rounding variant).
//!
//! Sources: Jacob et al., "Quantization and Training of Neural Networks for Efficient
//! Integer-Arithmetic-Only Inference", arXiv 1712.05877, §2.2 and §2.4; gemmlowp,
//! doc/quantization.md and fixedpoint/; TensorFlow Lite's 8-bit quantization specification.
//! Overflow wraps, as the shifts of the original do on every machine it runs on.

/// A real multiplier as `mantissa · 2^(shift − 31)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Multiplier {
    /// 0 … 2³¹ − 1; as `new` makes it 0, or 2³⁰ and more.
    pub mantissa: i32,
    /// −31 … 30.
    pub shift: i32,
}

impl Multiplier {
    /// The nearest to `real`; `None` where it is negative, not finite or 2³⁰ and more. What is
    /// below 2⁻³² becomes 0.
    pub fn new(real: f64) -> Option<Self> {
        if !(0.0..f64::from(1 << 30)).contains(&real) {
            return None;
        }
        let (fraction, mut shift) = fraction_and_exponent(real);
        let mut mantissa = (fraction * f64::from(1u32 << 31)).round() as i64;
        if mantissa == 1 << 31 {
            mantissa /= 2;
            shift += 1;
        }
        if shift < -31 || mantissa == 0 {
            return Some(Self::default());
        }
        Some(Self { mantissa: mantissa as i32, shift })
    }

    /// x · multiplier: to the left first if the multiplier is 1 or more, then the doubling high
    /// product, then to the right.
    #[inline(always)]
    pub fn apply(self, x: i32) -> i32 {
        scale(x, self.mantissa, self.shift.max(0), (-self.shift).max(0))
    }
}

/// [`Multiplier::apply`] with the shift split in two, so that loops over channels become vector
/// code. `mantissa` ≥ 0.
#[inline(always)]
pub(crate) fn scale(x: i32, mantissa: i32, left: i32, right: i32) -> i32 {
    // With a mantissa ≥ 0 the saturating case of the doubling high product cannot happen.
    let product = i64::from(x.wrapping_shl(left as u32)) * i64::from(mantissa);
    divide_by_power_of_two(((product + (1 << 30)) >> 31) as i32, right)
}

/// value = fraction · 2^exponent with ½ ≤ fraction < 1. Of 0 and of subnormal numbers, which no
/// quotient of scales is: (0, 0).
fn fraction_and_exponent(value: f64) -> (f64, i32) {
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32;
    if exponent == 0 {
        return (0.0, 0);
    }
    (f64::from_bits((bits & !(0x7ff << 52)) | (1022 << 52)), exponent - 1022)
}

/// ⌊a · b / 2³¹ + ½⌋, saturating where both are −2³¹ (gemmlowp's
/// SaturatingRoundingDoublingHighMul).
#[inline(always)]
pub(crate) fn doubling_high_product(a: i32, b: i32) -> i32 {
    if a == i32::MIN && b == i32::MIN {
        return i32::MAX;
    }
    ((i64::from(a) * i64::from(b) + (1 << 30)) >> 31) as i32
}

/// x / 2^exponent to the nearest, halves away from zero; `exponent` 0 … 31 (gemmlowp's
/// RoundingDivideByPOT).
#[inline(always)]
pub(crate) fn divide_by_power_of_two(x: i32, exponent: i32) -> i32 {
    let mask = ((1i64 << exponent) - 1) as i32;
    let threshold = ((mask as u32 >> 1) as i32).wrapping_add((x < 0) as i32);
    // The remainder is never negative: below 2^exponent ≤ 2³¹.
    (x >> exponent) + ((x & mask) > threshold) as i32
}

/// x · 2^exponent, held at the ends of 32 bits.
fn saturating_left(x: i32, exponent: i32) -> i32 {
    (i64::from(x) << exponent).clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}

/// exp(a) of −¼ ≤ a < 0, both with 31 bits after the point: the Taylor series to the fourth power
/// about −⅛.
fn exp_between_minus_quarter_and_zero(a: i32) -> i32 {
    const EXP_MINUS_EIGHTH: i32 = 1_895_147_668;
    const THIRD: i32 = 715_827_883;
    let x = a.wrapping_add(1 << 28);
    let x2 = doubling_high_product(x, x);
    let x3 = doubling_high_product(x2, x);
    let x4 = doubling_high_product(x2, x2);
    let quartic = divide_by_power_of_two(x4, 2);
    let tail = divide_by_power_of_two(doubling_high_product(quartic + x3, THIRD) + x2, 1);
    EXP_MINUS_EIGHTH.wrapping_add(doubling_high_product(EXP_MINUS_EIGHTH, x + tail))
}

/// exp(a) of −32 ≤ a ≤ 0 with 26 bits after the point; the result has 31.
pub(crate) fn exp_of_negative(a: i32) -> i32 {
    /// exp(−2^(i − 2)) with 31 bits after the point.
    const FACTORS: [i32; 7] = [1_672_461_947, 1_302_514_674, 790_015_084, 290_630_308, 39_332_535, 720_401, 242];
    const FRACTION: i32 = 26;
    const QUARTER: i32 = 1 << (FRACTION - 2);
    if a == 0 {
        return i32::MAX;
    }
    let residue = (a & (QUARTER - 1)) - QUARTER;
    let mut result = exp_between_minus_quarter_and_zero(saturating_left(residue, 5));
    let quarters = residue.wrapping_sub(a);
    for (i, factor) in FACTORS.into_iter().enumerate() {
        if quarters & (QUARTER << i) != 0 {
            result = doubling_high_product(result, factor);
        }
    }
    result
}

/// 1 / (1 + a) of 0 ≤ a < 1, both with 31 bits after the point: Newton's method on ½(1 + a), three
/// steps.
fn reciprocal_of_one_plus(a: i32) -> i32 {
    /// 48/17 and −32/17 with 29 bits after the point: the best line to start from.
    const START: i32 = 1_515_870_810;
    const SLOPE: i32 = -1_010_580_540;
    // The mean of a and 1; the sum is never negative, so halves go up.
    let half_denominator = ((i64::from(a) + i64::from(i32::MAX) + 1) / 2) as i32;
    let mut x = START.wrapping_add(doubling_high_product(half_denominator, SLOPE));
    for _ in 0..3 {
        let error = (1 << 29) - doubling_high_product(half_denominator, x);
        x = x.wrapping_add(saturating_left(doubling_high_product(x, error), 2));
    }
    saturating_left(x, 1)
}

/// 1 / x of x > 0 with `integer_bits` before the point: a mantissa with 31 bits after the point (½
/// … 1), and the power of two that it is to be divided by.
pub(crate) fn reciprocal(x: i32, integer_bits: i32) -> (i32, i32) {
    let headroom = (x as u32).leading_zeros();
    let fraction = ((x as u32) << headroom).wrapping_sub(1 << 31) as i32;
    (reciprocal_of_one_plus(fraction), integer_bits - headroom as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Halves away from zero, in numbers that cannot overflow.
    fn rounded_quotient(x: i128, divisor: i128) -> i128 {
        let magnitude = (2 * x.abs() + divisor) / (2 * divisor);
        if x < 0 { -magnitude } else { magnitude }
    }

    proptest! {
        #[test]
        fn a_multiplier_is_the_nearest_with_31_bits(real in 1e-9f64..1e9) {
            let multiplier = Multiplier::new(real).unwrap();
            prop_assert!(multiplier.mantissa >= 1 << 30);
            let value = f64::from(multiplier.mantissa) * f64::from(multiplier.shift - 31).exp2();
            // Half a unit of the last of 31 bits.
            prop_assert!((value / real - 1.0).abs() <= f64::from(-31).exp2());
        }

        #[test]
        fn the_high_product_rounds_halves_up(a: i32, b: i32) {
            prop_assume!(a != i32::MIN || b != i32::MIN);
            let exact = i128::from(a) * i128::from(b) * 2;
            prop_assert_eq!(i128::from(doubling_high_product(a, b)), (exact + (1 << 31)).div_euclid(1 << 32));
        }

        #[test]
        fn division_rounds_halves_away_from_zero(x: i32, exponent in 0i32..=31) {
            prop_assert_eq!(i128::from(divide_by_power_of_two(x, exponent)), rounded_quotient(x.into(), 1 << exponent));
        }

        #[test]
        fn scaling_is_the_two_rounding_product(x in -(1i32 << 24)..1 << 24, real in 1e-8f64..64.0) {
            let multiplier = Multiplier::new(real).unwrap();
            let exact = f64::from(x) * real;
            // The first rounding errs by half a unit of what the second still shifts away, or of
            // the result itself.
            prop_assert!((f64::from(multiplier.apply(x)) - exact).abs() <= 1.0 + exact.abs() * 1e-9);
            let left = i128::from(x) << multiplier.shift.max(0);
            let high = (left * i128::from(multiplier.mantissa) * 2 + (1 << 31)).div_euclid(1 << 32);
            let expected = rounded_quotient(high, 1 << (-multiplier.shift).max(0));
            prop_assert_eq!(i128::from(multiplier.apply(x)), expected);
        }

        #[test]
        fn exponentials_are_right_to_seven_digits(a in -(1i64 << 31)..=0) {
            let a = a as i32;
            let exact = (f64::from(a) / f64::from(1 << 26)).exp();
            let value = f64::from(exp_of_negative(a)) / f64::from(1u32 << 31);
            prop_assert!((value - exact).abs() < 1e-6, "{value} for {exact}");
        }

        #[test]
        fn reciprocals_are_right_to_seven_digits(x in 1i32..) {
            let (mantissa, power) = reciprocal(x, 12);
            let value = f64::from(mantissa) / f64::from(1u32 << 31) / f64::from(power).exp2();
            let exact = f64::from(1 << 19) / f64::from(x);
            prop_assert!((value / exact - 1.0).abs() < 1e-7, "{value} for {exact}");
        }
    }

    #[test]
    fn the_ends_of_the_range_hold() {
        assert_eq!(Multiplier::new(0.0), Some(Multiplier::default()));
        assert_eq!(Multiplier::new(1.0), Some(Multiplier { mantissa: 1 << 30, shift: 1 }));
        assert_eq!(Multiplier::new(1.0 - 1e-12), Multiplier::new(1.0));
        assert_eq!(Multiplier::new(1e-12), Some(Multiplier::default()));
        assert_eq!([-1.0, f64::NAN, f64::INFINITY, 1e10].map(Multiplier::new), [None; 4]);
        assert_eq!(doubling_high_product(i32::MIN, i32::MIN), i32::MAX);
        assert_eq!(divide_by_power_of_two(-1, 1), -1);
        assert_eq!(exp_of_negative(0), i32::MAX);
    }
}
