//! Access to images by index: what [`super::pass::Pass`] reads from.

use crate::error::Result;
use crate::graph::Shape;

/// Images of one shape, decoded on request.
pub trait Images: Send + Sync {
    /// `[channels, height, width]` of every image.
    fn shape(&self) -> Shape;

    /// How many images there are.
    fn count(&self) -> u64;

    /// Writes image `index` (height, width, channels; bytes) into `out`, which has the image's
    /// size, and returns its label.
    ///
    /// # Errors
    /// A damaged image or file, by name; an index out of range.
    fn read(&self, index: u64, out: &mut [u8]) -> Result<u32>;
}

/// Bytes of an image.
pub fn image_bytes(shape: Shape) -> usize {
    shape.iter().product()
}

/// The brightness of a colour (ITU-R BT.601), rounded as PIL does; a grey one stays as it is.
pub fn luma([red, green, blue]: [u8; 3]) -> u8 {
    const WEIGHTS: [u32; 3] = [19_595, 38_470, 7_471];
    let sum: u32 = [red, green, blue].into_iter().zip(WEIGHTS).map(|(value, weight)| u32::from(value) * weight).sum();
    ((sum + (1 << 15)) >> 16) as u8
}

/// Images held in memory as they go into batches.
#[derive(Debug, Clone)]
pub struct ImagesInMemory {
    shape: Shape,
    /// Height, width, channels; one image after another.
    pixels: Vec<u8>,
    labels: Vec<u32>,
}

impl ImagesInMemory {
    /// Takes over decoded images.
    ///
    /// # Errors
    /// Pixels that are not one image of `shape` for each label.
    pub fn new(shape: Shape, pixels: Vec<u8>, labels: Vec<u32>) -> Result<Self> {
        if pixels.len() != labels.len() * image_bytes(shape) {
            let (bytes, count) = (pixels.len(), labels.len());
            return Err(crate::Error::failed(format!("{bytes} bytes of pixels are not {count} images of {shape:?}")));
        }
        Ok(Self { shape, pixels, labels })
    }
}

impl Images for ImagesInMemory {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn count(&self) -> u64 {
        self.labels.len() as u64
    }

    fn read(&self, index: u64, out: &mut [u8]) -> Result<u32> {
        let size = image_bytes(self.shape);
        let found = usize::try_from(index).ok().and_then(|index| {
            let start = index.checked_mul(size)?;
            Some((*self.labels.get(index)?, self.pixels.get(start..start.checked_add(size)?)?))
        });
        match found {
            Some((label, pixels)) if out.len() == size => {
                out.copy_from_slice(pixels);
                Ok(label)
            }
            Some(_) => Err(crate::Error::failed(format!("an image has {size} bytes, its buffer {}", out.len()))),
            None => Err(crate::Error::failed(format!("there is no image {index}: {} are held", self.labels.len()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greys_stay_and_colours_are_weighted() {
        assert!((0..=255).all(|grey| luma([grey; 3]) == grey));
        // PIL's L24: (19595 r + 38470 g + 7471 b + 2^15) / 2^16.
        assert_eq!([[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 200, 77]].map(luma), [76, 150, 29, 129]);
    }

    #[test]
    fn reads_what_is_there_and_refuses_the_rest() {
        let images = ImagesInMemory::new([1, 2, 1], vec![1, 2, 3, 4], vec![7, 8]).unwrap();
        let mut out = [0; 2];
        assert_eq!(images.read(1, &mut out).unwrap(), 8);
        assert_eq!(out, [3, 4]);
        for index in [2, u64::MAX] {
            assert!(images.read(index, &mut out).unwrap_err().to_string().contains(&format!("no image {index}")));
        }
        assert!(images.read(0, &mut [0; 3]).is_err());
        assert!(ImagesInMemory::new([1, 2, 1], vec![0; 3], vec![0; 2]).is_err());
    }
}
