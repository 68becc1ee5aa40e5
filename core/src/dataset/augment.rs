//! Training augmentation of small images: pad, random crop of the original size, random horizontal
//! flip (He et al. 2015, arXiv 1512.03385, §4.2). Works by rows, without a padded copy.

use super::mix;
use crate::graph::Shape;

/// Keeps the augmentation apart from the order, which uses the same seed.
const AUGMENT_STREAM: u64 = 1;

/// Pads an image by `pad` pixels of one colour on each side, cuts an image of the original size out
/// of it, and mirrors it or not.
#[derive(Debug, Clone)]
pub struct PadCropFlip {
    height: usize,
    channels: usize,
    /// Bytes.
    row: usize,
    pad: usize,
    /// A row of the padding colour, as long as an image's.
    padding: Vec<u8>,
}

/// What is done to one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crop {
    /// Offset of the crop in the padded image, `0..=2 * pad`; `pad` is the unshifted image.
    pub top: usize,
    /// The same for columns.
    pub left: usize,
    /// Mirrored left to right.
    pub flip: bool,
}

impl PadCropFlip {
    /// For images of a shape; `colour` is the padding, one byte a channel (missing ones are 0).
    pub fn new(shape: Shape, pad: usize, colour: &[u8]) -> Self {
        let [channels, height, width] = shape;
        let pixel = (0..channels).map(|channel| colour.get(channel).copied().unwrap_or(0)).collect::<Vec<u8>>();
        Self { height, channels, row: width * channels, pad, padding: pixel.repeat(width) }
    }

    /// The crop of one image in one pass: a function of the pass's seed and the image's index, not
    /// of its place in the order, so that skipping and sharding change nothing.
    pub fn draw(&self, seed: u64, index: u64) -> Crop {
        let bits = mix(mix(seed, AUGMENT_STREAM), index);
        let places = 2 * self.pad as u64 + 1;
        // Two independent halves, each scaled to the number of places; the lowest bit is left for
        // the flip.
        let scaled = |part: u64| ((part * places) >> 31) as usize;
        Crop { top: scaled(bits >> 33), left: scaled(bits >> 2 & 0x7fff_ffff), flip: bits & 1 == 1 }
    }

    /// Writes the crop of `image` to `out`; both are height, width, channels.
    ///
    /// # Panics
    /// Buffers smaller than an image.
    pub fn apply(&self, crop: Crop, image: &[u8], out: &mut [u8]) {
        let Self { height, channels, row, pad, .. } = *self;
        let shift = (crop.left.min(2 * pad) as isize - pad as isize) * channels as isize;
        let gap = shift.unsigned_abs().min(row);
        let kept = row - gap;
        // A crop to the left of the image has its padding on the left.
        let (from, to, gap_at) = if shift < 0 { (0, gap, 0) } else { (gap, 0, kept) };
        for (y, out) in out[..height * row].chunks_exact_mut(row.max(1)).enumerate() {
            let source = (y + crop.top.min(2 * pad)).checked_sub(pad).filter(|y| *y < height);
            match source {
                Some(y) => {
                    let line = &image[y * row..(y + 1) * row];
                    out[to..to + kept].copy_from_slice(&line[from..from + kept]);
                    out[gap_at..gap_at + gap].copy_from_slice(&self.padding[..gap]);
                    if crop.flip {
                        mirror(out, channels);
                    }
                }
                None => out.copy_from_slice(&self.padding),
            }
        }
    }
}

/// Reverses the pixels of a row in place. Constant pixel sizes let the compiler keep a pixel in
/// registers.
fn mirror(row: &mut [u8], channels: usize) {
    fn pixels<const N: usize>(row: &mut [u8]) {
        row.as_chunks_mut::<N>().0.reverse();
    }
    match channels {
        1 => row.reverse(),
        3 => pixels::<3>(row),
        4 => pixels::<4>(row),
        _ => {
            row.reverse();
            row.chunks_exact_mut(channels.max(1)).for_each(<[u8]>::reverse);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One pixel at a time, straight from the definition.
    fn by_definition(shape: Shape, pad: usize, colour: &[u8], crop: Crop, image: &[u8]) -> Vec<u8> {
        let [channels, height, width] = shape;
        let mut out = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let x = if crop.flip { width - 1 - x } else { x };
                let (y, x) = ((y + crop.top).wrapping_sub(pad), (x + crop.left).wrapping_sub(pad));
                for channel in 0..channels {
                    let inside = y < height && x < width;
                    out.push(if inside { image[(y * width + x) * channels + channel] } else { colour[channel] });
                }
            }
        }
        out
    }

    #[test]
    fn draws_cover_all_places_evenly() {
        let augment = PadCropFlip::new([3, 32, 32], 4, &[125, 123, 114]);
        let (mut tops, mut lefts, mut flips) = ([0u32; 9], [0u32; 9], 0u32);
        for index in 0..9000 {
            let crop = augment.draw(3, index);
            tops[crop.top] += 1;
            lefts[crop.left] += 1;
            flips += u32::from(crop.flip);
        }
        // 1000 expected with a standard deviation of 30, 4500 with 47.
        assert!(tops.iter().chain(&lefts).all(|count| (850..1150).contains(count)), "{tops:?} {lefts:?}");
        assert!((4265..4735).contains(&flips), "{flips}");
        assert_eq!(augment.draw(3, 17), augment.draw(3, 17));
        assert!((0..50).any(|index| augment.draw(3, index) != augment.draw(4, index)));
    }

    #[test]
    fn the_centre_is_the_image_itself() {
        let image: Vec<u8> = (0..27).collect();
        let mut out = vec![0; 27];
        let augment = PadCropFlip::new([3, 3, 3], 2, &[0; 3]);
        augment.apply(Crop { top: 2, left: 2, flip: false }, &image, &mut out);
        assert_eq!(out, image);
    }

    proptest! {
        #[test]
        fn rows_give_what_the_definition_gives(
            channels in 1usize..6, height in 1usize..9, width in 1usize..9, pad in 0usize..6,
            top in 0usize..11, left in 0usize..11, flip: bool, start: u8,
        ) {
            let shape = [channels, height, width];
            let image: Vec<u8> =
                (0..channels * height * width).map(|i| start.wrapping_add((i * 37) as u8)).collect();
            let colour = [9, 8, 7, 6, 5];
            let crop = Crop { top: top.min(2 * pad), left: left.min(2 * pad), flip };
            let mut out = vec![255; image.len()];
            PadCropFlip::new(shape, pad, &colour).apply(crop, &image, &mut out);
            prop_assert_eq!(out, by_definition(shape, pad, &colour, crop, &image));
        }
    }
}
