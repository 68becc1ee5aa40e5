//! Paints one image: a background of blended colours, distracting patches, the striped object that
//! decides the class, and noise. Phase, place, size, contrast and all colours are random, so that
//! no pixel alone and no mean colour tells the class.

use crate::draw::Draw;
use crate::look::{Look, ORIENTATIONS, PERIODS, TINTS};
use std::sync::LazyLock;

/// Steps of a stripe profile.
const STEPS: usize = 256;

/// Brightness across one period, −1 to 1, by [`crate::look::PROFILES`]. From a table: fast, and the
/// same on every machine.
static PROFILE_TABLES: LazyLock<[[f32; STEPS]; 5]> = LazyLock::new(|| {
    let sine: [f32; STEPS] = std::array::from_fn(|step| {
        let angle = step as f64 / STEPS as f64 * std::f64::consts::TAU;
        // Rounded, since the last bit of a library's sine differs between machines.
        ((angle.sin() * 4096.0).round() / 4096.0) as f32
    });
    let sharp = sine.map(|value| (3.0 * value).clamp(-1.0, 1.0));
    let thin = sine.map(|value| {
        let raised = 0.5 + 0.5 * value;
        2.2 * raised * raised * raised * raised - 0.6
    });
    let slanted = std::array::from_fn(|step| 2.0 * step as f32 / STEPS as f32 - 1.0);
    [sine, sharp, thin, slanted, sine]
});

/// A picture being painted: `[height, width, 3]` of 0–255, square.
pub struct Canvas {
    size: usize,
    pixels: Vec<[f32; 3]>,
}

/// Where a patch lies and how strongly it shows.
struct Patch {
    x: f32,
    y: f32,
    radius: f32,
    /// Amplitude of the stripes.
    contrast: f32,
}

impl Canvas {
    pub fn new(size: usize) -> Self {
        Self { size, pixels: vec![[0.0; 3]; size * size] }
    }

    /// Paints an image of a class over whatever was there, and writes it as bytes.
    pub fn image(&mut self, class: u64, classes: u64, draw: &mut Draw, out: &mut [u8]) {
        let unit = self.size as f32 / 32.0;
        self.background(draw);
        for _ in 0..3 {
            let look = Look::any(draw);
            let patch = Patch {
                x: draw.between(0.0, 32.0) * unit,
                y: draw.between(0.0, 32.0) * unit,
                radius: draw.between(2.5, 5.5) * unit,
                contrast: draw.between(15.0, 45.0),
            };
            self.patch(look, &patch, draw);
        }
        let look = Look::of_class(class, classes, draw);
        let patch = Patch {
            x: draw.between(10.0, 22.0) * unit,
            y: draw.between(10.0, 22.0) * unit,
            radius: draw.between(8.5, 13.0) * unit,
            contrast: draw.between(22.0, 80.0),
        };
        self.patch(look, &patch, draw);
        self.write(draw.between(15.0, 50.0), draw, out);
    }

    /// Four random colours in the corners, blended.
    fn background(&mut self, draw: &mut Draw) {
        let corners: [[f32; 3]; 4] = std::array::from_fn(|_| draw.triple(30.0, 225.0));
        let blend = |a: [f32; 3], b: [f32; 3], part: f32| std::array::from_fn(|i| a[i] + (b[i] - a[i]) * part);
        let last = (self.size.max(2) - 1) as f32;
        for (y, row) in self.pixels.chunks_exact_mut(self.size).enumerate() {
            let left = blend(corners[0], corners[2], y as f32 / last);
            let right = blend(corners[1], corners[3], y as f32 / last);
            for (x, pixel) in row.iter_mut().enumerate() {
                *pixel = blend(left, right, x as f32 / last);
            }
        }
    }

    /// A striped object.
    fn patch(&mut self, look: Look, patch: &Patch, draw: &mut Draw) {
        let unit = self.size as f32 / 32.0;
        let jitter = draw.between(-8.0, 8.0);
        let angle = (ORIENTATIONS[look.orientation] + f64::from(jitter)).to_radians();
        let angle = if draw.coin() { angle } else { -angle };
        let period = f64::from(unit) * PERIODS[look.period].1 * f64::from(draw.between(0.85, 1.18));
        let across = Wave::new(angle, period, draw);
        let dashes = Wave::new(angle + std::f64::consts::FRAC_PI_2, period * 2.0, draw);
        let dashed = if look.profile == 4 { 0.5 } else { 0.0 };
        let profile = &PROFILE_TABLES[look.profile];
        let sine = &PROFILE_TABLES[0];
        let sign = if draw.coin() { patch.contrast } else { -patch.contrast };
        let tint = TINTS[look.tint].1.map(|part| part * sign);
        let base = draw.triple(60.0, 195.0);
        let cover = draw.between(0.6, 1.0);

        // Nothing of an outline lies farther out than this.
        let reach = patch.radius * 1.25 + 1.0;
        let span = |centre: f32| {
            let (from, to) = ((centre - reach).max(0.0), (centre + reach).clamp(0.0, self.size as f32));
            from as usize..to as usize
        };
        let (columns, rows) = (span(patch.x), span(patch.y));
        for y in rows {
            for x in columns.clone() {
                let (dx, dy) = (x as f32 - patch.x, y as f32 - patch.y);
                let alpha = inside(look.outline, dx / patch.radius, dy / patch.radius) * patch.radius / unit;
                let alpha = (alpha + 0.5).clamp(0.0, 1.0) * cover;
                if alpha > 0.0 {
                    let wave = across.at(profile, x, y) * (1.0 - dashed + dashed * dashes.at(sine, x, y));
                    let pixel = &mut self.pixels[y * self.size + x];
                    for channel in 0..3 {
                        let colour = base[channel] + tint[channel] * wave;
                        pixel[channel] += (colour - pixel[channel]) * alpha;
                    }
                }
            }
        }
    }

    /// Adds noise of a standard deviation of about 0.2 `strength` and rounds to bytes.
    fn write(&self, strength: f32, draw: &mut Draw, out: &mut [u8]) {
        // The sum of two bytes is triangular around 255.
        let scale = strength / 510.0;
        for (pixel, out) in self.pixels.iter().zip(out.chunks_exact_mut(3)) {
            let bytes = draw.bits().to_le_bytes();
            for channel in 0..3 {
                let sum = i32::from(bytes[2 * channel]) + i32::from(bytes[2 * channel + 1]);
                out[channel] = (pixel[channel] + (sum - 255) as f32 * scale + 0.5) as u8;
            }
        }
    }
}

/// How far a point lies inside an outline of radius 1 around 0, about the distance from its edge;
/// negative outside.
fn inside(outline: usize, x: f32, y: f32) -> f32 {
    let (ax, ay) = (x.abs(), y.abs());
    match outline {
        0 => 1.0 - (x * x + y * y).sqrt(),
        1 => 0.88 - ax.max(ay),
        2 => (1.25 - ax - ay) * 0.707,
        3 => 0.38 - ((x * x + y * y).sqrt() - 0.68).abs(),
        _ => (0.45 - ax.min(ay)).min(1.05 - ax.max(ay)),
    }
}

/// A plane wave: its phase in turns of 2^32, which wraps as integers do.
struct Wave {
    x: u32,
    y: u32,
    phase: u32,
}

impl Wave {
    /// `angle` of the direction of travel, in radians from the x axis; `period` in pixels.
    fn new(angle: f64, period: f64, draw: &mut Draw) -> Self {
        let turns = |part: f64| (part / period * 65_536.0).round() as i64 as u32;
        // In 65536ths of a turn, so that the last bit of a library's cosine does not matter.
        Self { x: turns(angle.cos()) << 16, y: turns(angle.sin()) << 16, phase: (draw.bits() >> 32) as u32 }
    }

    fn at(&self, table: &[f32; STEPS], x: usize, y: usize) -> f32 {
        let turn = self.phase.wrapping_add(self.x.wrapping_mul(x as u32)).wrapping_add(self.y.wrapping_mul(y as u32));
        table[(turn >> 24) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn profiles_are_balanced_and_in_range() {
        for table in PROFILE_TABLES.iter() {
            let mean = table.iter().sum::<f32>() / STEPS as f32;
            assert!(mean.abs() < 0.01, "the mean colour of stripes tells nothing: {mean}");
            assert!(table.iter().all(|value| (-1.0..=1.7).contains(value)));
        }
    }

    #[test]
    fn stripes_have_the_period_they_were_given() {
        for (angle, period) in [(0.0, 4.0), (0.0, 7.3), (1.0, 5.0)] {
            let wave = Wave::new(angle, period, &mut Draw::new(3));
            let sine = &PROFILE_TABLES[0];
            // Along x a period is longer by the cosine; count the rising zero crossings.
            let rising = (0..1000).filter(|x| wave.at(sine, *x, 0) < 0.0 && wave.at(sine, *x + 1, 0) >= 0.0).count();
            let expected = 1000.0 * f64::cos(angle) / period;
            assert!((rising as f64 - expected).abs() <= 1.5, "{rising} for {expected}");
        }
    }

    #[test]
    fn outlines_end_where_painting_ends() {
        for outline in 0..5 {
            for (x, y) in [(1.25, 0.0), (0.0, -1.25), (1.25, 1.25), (-1.25, 0.6)] {
                assert!(inside(outline, x, y) <= 0.0, "{outline} at {x}, {y}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_image_of_any_size_can_be_painted(size in 1usize..70, class in 0u64..1000, seed: u64) {
            let mut canvas = Canvas::new(size);
            let mut out = vec![0; size * size * 3];
            canvas.image(class, 1000, &mut Draw::new(seed), &mut out);
            let mut again = vec![1; size * size * 3];
            // What was painted before leaves no trace.
            canvas.image(class, 1000, &mut Draw::new(seed), &mut again);
            prop_assert_eq!(out, again);
        }
    }
}
