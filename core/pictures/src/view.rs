//! Which part of an image becomes the network's input, and its resizing.

use crate::decode::Picture;
use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ImageView, ResizeAlg, ResizeOptions, Resizer};
use pocketflow::dataset::mix;

/// Keeps the crops apart from the order of a pass, which uses the same seed.
const CROP_STREAM: u64 = 2;
/// Crops that are tried before the largest one in the middle is taken.
const TRIES: u64 = 10;
/// Width by height of a random crop.
const RATIOS: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);
/// Bytes of an image of which the width is done; very high ones are scaled the other way round.
const NARROWED_MAX: usize = 64 << 20;

/// A part of an image, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    /// Of its left edge, from the image's.
    pub left: f64,
    /// Of its upper edge, from the image's.
    pub top: f64,
    /// From left to right, above 0.
    pub width: f64,
    /// From top to bottom, above 0.
    pub height: f64,
    /// Mirrored left to right.
    pub flip: bool,
    /// The image is cut before it is resized (at whole pixels), so that nothing outside of the part
    /// counts.
    pub cut: bool,
    /// The width is scaled first and the height after it, as PIL does, with which published
    /// accuracies are measured: the rounding in between decides on some images. The other way round
    /// is faster.
    pub width_first: bool,
}

/// Numbers for one image in one pass: a function of seed and index, written out here because crops
/// must not change with the release of a random-number library.
struct Draws {
    seed: u64,
    drawn: u64,
}

impl Draws {
    fn new(seed: u64, index: u64) -> Self {
        Self { seed: mix(mix(seed, CROP_STREAM), index), drawn: 0 }
    }

    /// In `0..1`.
    fn unit(&mut self) -> f64 {
        self.drawn += 1;
        (mix(self.seed, self.drawn) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// In `0..=most`.
    fn whole(&mut self, most: f64) -> f64 {
        (self.unit() * (most + 1.0)).floor()
    }
}

/// How the images of a data set become a network's input.
pub trait Cut: Send + Sync {
    /// The part of an image of `(width, height)` in a pass with `seed`.
    fn training(&self, size: (u32, u32), seed: u64, index: u64) -> View;

    /// The part for evaluation at an input of `out` pixels along a side.
    fn evaluation(&self, size: (u32, u32), out: u32) -> View;

    /// What else is done in training to an image that is scaled (height, width, channels); `spare`
    /// is memory to use.
    fn augment(&self, seed: u64, index: u64, image: &mut [u8], spare: &mut Vec<u8>) {
        let _ = (seed, index, image, spare);
    }
}

impl View {
    /// The square in the middle, as large as the shorter side.
    pub fn centre((width, height): (u32, u32)) -> Self {
        let side = width.min(height);
        Self {
            left: f64::from((width - side) / 2),
            top: f64::from((height - side) / 2),
            width: side.into(),
            height: side.into(),
            flip: false,
            cut: true,
            width_first: true,
        }
    }

    /// The same, mirrored or not, as chance has it for image `index` in a pass with `seed`.
    #[must_use]
    pub fn flipped(self, seed: u64, index: u64) -> Self {
        Self { flip: Draws::new(seed, index).unit() < 0.5, ..self }
    }

    /// A random crop of at least the share `least` of the area, mirrored or not, of image `index`
    /// in a pass with `seed` (Szegedy et al. 2014, arXiv 1409.4842).
    pub fn random((width, height): (u32, u32), least: f64, seed: u64, index: u64) -> Self {
        let mut draws = Draws::new(seed, index);
        let flip = draws.unit() < 0.5;
        let (width, height) = (f64::from(width), f64::from(height));
        for _ in 0..TRIES {
            let area = width * height * draws.between(least, 1.0);
            let ratio = draws.between(RATIOS.0.ln(), RATIOS.1.ln()).exp();
            let (w, h) = ((area * ratio).sqrt().round(), (area / ratio).sqrt().round());
            if w >= 1.0 && h >= 1.0 && w <= width && h <= height {
                let (left, top) = (draws.whole(width - w), draws.whole(height - h));
                return View { left, top, width: w, height: h, flip, cut: true, width_first: false };
            }
        }
        // The middle, as much as the ratios allow.
        let ratio = (width / height).clamp(RATIOS.0, RATIOS.1);
        let (w, h) = ((height * ratio).round().clamp(1.0, width), (width / ratio).round().clamp(1.0, height));
        View {
            left: ((width - w) / 2.0).floor(),
            top: ((height - h) / 2.0).floor(),
            width: w,
            height: h,
            flip,
            cut: true,
            width_first: false,
        }
    }

    /// How many rows of the image it takes, from the top, at an output of `size`: filters reach
    /// beyond the part if it is not cut out first.
    pub fn rows(&self, size: u32) -> u32 {
        let reach = if self.cut { 0.0 } else { (self.height / f64::from(size.max(1))).max(1.0) + 1.0 };
        (self.top + self.height + reach).ceil() as u32
    }
}

/// Resizes parts of images; keeps its buffers.
#[derive(Default)]
pub struct Scaler {
    resizer: Resizer,
    /// An image of which the width is done.
    narrowed: Vec<u8>,
}

impl Scaler {
    /// Writes a part of `picture` to `out` (`[size, size, 3]`): bilinear, averaging where it
    /// becomes smaller.
    ///
    /// # Errors
    /// A part that is not inside of the picture.
    pub fn scale(&mut self, picture: &Picture, view: &View, size: u32, out: &mut [u8]) -> Result<(), String> {
        let source =
            TypedImageRef::<U8x3>::from_buffer(picture.width, picture.height, &picture.pixels).map_err(text)?;
        if view.cut {
            let [left, top, width, height] = [view.left, view.top, view.width, view.height].map(|side| side as u32);
            let part = TypedCroppedImage::from_ref(&source, left, top, width, height).map_err(text)?;
            let whole = View { left: 0.0, top: 0.0, ..*view };
            self.resize(&part, &whole, size, out)?;
        } else {
            self.resize(&source, view, size, out)?;
        }
        if view.flip {
            for row in out.chunks_exact_mut(size as usize * 3) {
                row.as_chunks_mut::<3>().0.reverse();
            }
        }
        Ok(())
    }

    fn resize(
        &mut self,
        source: &impl ImageView<Pixel = U8x3>,
        view: &View,
        size: u32,
        out: &mut [u8],
    ) -> Result<(), String> {
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).use_alpha(false);
        let View { left, top, width, height, .. } = *view;
        let mut target = TypedImage::<U8x3>::from_buffer(size, size, out).map_err(text)?;
        let rows = source.height();
        let bytes = size as usize * rows as usize * 3;
        if !view.width_first || bytes > NARROWED_MAX {
            return self
                .resizer
                .resize_typed(source, &mut target, &options.crop(left, top, width, height))
                .map_err(text);
        }
        self.narrowed.resize(bytes, 0);
        let mut narrowed = TypedImage::<U8x3>::from_buffer(size, rows, &mut self.narrowed).map_err(text)?;
        let across = options.crop(left, 0.0, width, rows.into());
        self.resizer.resize_typed(source, &mut narrowed, &across).map_err(text)?;
        self.resizer.resize_typed(&narrowed, &mut target, &options.crop(0.0, top, size.into(), height)).map_err(text)
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn crops_have_the_areas_and_ratios_that_they_should() {
        let views: Vec<View> = (0..4000).map(|index| View::random((500, 400), 0.08, 3, index)).collect();
        let areas: Vec<f64> = views.iter().map(|view| view.width * view.height / 200_000.0).collect();
        assert!(areas.iter().all(|area| (0.078..=1.0).contains(area)));
        let mean = areas.iter().sum::<f64>() / 4000.0;
        assert!((0.45..0.56).contains(&mean), "{mean}");
        assert!(views.iter().all(|view| (0.74..1.35).contains(&(view.width / view.height))));
        let flips = views.iter().filter(|view| view.flip).count();
        assert!((1850..2150).contains(&flips), "{flips}");
        assert_eq!(views[7], View::random((500, 400), 0.08, 3, 7));
        assert_ne!(views[7], View::random((500, 400), 0.08, 4, 7));
        assert!(views.iter().any(|view| view.left == 0.0) && views.iter().any(|view| view.top + view.height == 400.0));
    }

    #[test]
    fn an_extreme_image_is_cut_in_the_middle() {
        let view = View::random((3000, 10), 0.08, 0, 0);
        assert_eq!((view.width, view.height, view.left), (13.0, 10.0, 1493.0));
    }

    #[test]
    fn the_centre_is_a_square_and_a_square_is_itself() {
        let view = View::centre((50, 31));
        assert_eq!((view.left, view.top, view.width, view.height, view.flip), (9.0, 0.0, 31.0, 31.0, false));
        let whole = View::centre((32, 32));
        assert_eq!((whole.left, whole.top, whole.width, whole.height), (0.0, 0.0, 32.0, 32.0));
        let flips = (0..1000).filter(|index| whole.flipped(5, *index).flip).count();
        assert!((430..570).contains(&flips), "{flips}");
    }

    #[test]
    fn a_part_of_its_own_size_is_copied_and_mirrored() {
        let pixels: Vec<u8> = (0..8 * 6 * 3).map(|byte| byte as u8).collect();
        let picture = Picture { width: 8, height: 6, pixels: pixels.clone() };
        let mut view = View { left: 3.0, top: 1.0, width: 4.0, height: 4.0, flip: false, cut: true, width_first: true };
        let mut out = vec![0; 48];
        Scaler::default().scale(&picture, &view, 4, &mut out).unwrap();
        let row = |y: usize| pixels[(y * 8 + 3) * 3..][..12].to_vec();
        assert_eq!(out, (1..5).flat_map(row).collect::<Vec<u8>>());
        view.flip = true;
        let mut mirrored = vec![0; 48];
        Scaler::default().scale(&picture, &view, 4, &mut mirrored).unwrap();
        assert_eq!(mirrored[..3], out[9..12]);
        view.left = 5.0;
        assert!(Scaler::default().scale(&picture, &view, 4, &mut out).is_err(), "outside");
    }

    #[test]
    fn the_order_of_the_two_directions_changes_roundings_only() {
        let pixels = (0..90 * 70 * 3).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let picture = Picture { width: 90, height: 70, pixels };
        for (cut, size) in [(true, 32), (false, 32), (true, 120), (false, 120)] {
            let made = [true, false].map(|width_first| {
                let view = View { left: 9.0, top: 4.0, width: 71.0, height: 57.0, flip: false, cut, width_first };
                let mut out = vec![0; size as usize * size as usize * 3];
                Scaler::default().scale(&picture, &view, size, &mut out).unwrap();
                out
            });
            let [first, second] = &made;
            let most = first.iter().zip(second.iter()).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(most <= Some(2), "{most:?}");
            assert_ne!(first, second);
        }
    }

    proptest! {
        #[test]
        fn views_lie_inside(width in 1u32..3000, height in 1u32..3000, size in 8u32..400, seed: u64) {
            let size_of = (width, height);
            for view in [View::random(size_of, 0.05, seed, 1), View::centre(size_of), View::centre(size_of).flipped(seed, 1)] {
                prop_assert!(view.left >= 0.0 && view.top >= 0.0 && view.width > 0.0 && view.height > 0.0);
                prop_assert!(view.left + view.width <= f64::from(width) + 1e-6, "{:?}", view);
                prop_assert!(view.top + view.height <= f64::from(height) + 1e-6, "{:?}", view);
                prop_assert!(f64::from(view.rows(size)) >= view.top + view.height);
            }
        }

        #[test]
        fn every_view_can_be_scaled(width in 1u32..90, height in 1u32..90, size in 8u32..40, seed: u64) {
            let picture = Picture { width, height, pixels: vec![100; (width * height * 3) as usize] };
            let mut out = vec![0; (size * size * 3) as usize];
            let size_of = (width, height);
            for view in [View::random(size_of, 0.05, seed, 1), View::centre(size_of), View::centre(size_of).flipped(seed, 1)] {
                prop_assert!(Scaler::default().scale(&picture, &view, size, &mut out).is_ok(), "{:?}", view);
                prop_assert!(out.iter().all(|byte| *byte == 100));
            }
        }
    }
}
