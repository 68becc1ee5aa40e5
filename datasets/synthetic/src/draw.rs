//! Random numbers for one image. Conversions are written out, so that the images do not change with
//! the release of a library: only the generator (PCG XSL 128/64 MCG, O'Neill 2014) is taken from
//! one.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::Rng as _;

/// The stream of one image.
pub struct Draw(Pcg64Mcg);

impl Draw {
    pub fn new(seed: u64) -> Self {
        // The generator needs a state of well mixed bits; the constant fills the upper half.
        Self(Pcg64Mcg::new(u128::from(seed) ^ (0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834 << 64)))
    }

    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `0..count`; `count` is small.
    pub fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.bits()) * count as u128) >> 64) as usize
    }

    /// Uniform in `low..high`.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * (self.bits() >> 40) as f32 / (1u32 << 24) as f32
    }

    pub fn coin(&mut self) -> bool {
        self.bits() >> 63 == 1
    }

    /// A point of a box with sides `low..high`.
    pub fn triple(&mut self, low: f32, high: f32) -> [f32; 3] {
        [self.between(low, high), self.between(low, high), self.between(low, high)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_fill_their_range() {
        let mut draw = Draw::new(0);
        let values: Vec<f32> = (0..10_000).map(|_| draw.between(2.0, 4.0)).collect();
        assert!(values.iter().all(|value| (2.0..4.0).contains(value)));
        let mean = values.iter().sum::<f32>() / 10_000.0;
        assert!((mean - 3.0).abs() < 0.03, "{mean}");
        let mut seen = [0; 3];
        (0..3000).for_each(|_| seen[draw.below(3)] += 1);
        assert!(seen.iter().all(|count| (880..1120).contains(count)), "{seen:?}");
        let heads = (0..2000).filter(|_| draw.coin()).count();
        assert!((890..1110).contains(&heads), "{heads}");
    }

    #[test]
    fn neighbouring_seeds_are_unrelated() {
        let firsts: Vec<u64> = (0..64).map(|seed| Draw::new(pocketflow::dataset::mix(7, seed)).bits()).collect();
        for pair in firsts.windows(2) {
            assert!((12..52).contains(&(pair[0] ^ pair[1]).count_ones()));
        }
    }
}
