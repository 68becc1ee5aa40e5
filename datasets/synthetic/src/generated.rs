//! The images by index: which class an index has, and the image itself, painted on request.

use crate::draw::Draw;
use crate::look::class_name;
use crate::paint::Canvas;
use pocketflow::dataset::images::{Images, ImagesInMemory, image_bytes, luma};
use pocketflow::dataset::mix;
use pocketflow::graph::Shape;
use pocketflow::{Error, Result};

/// The images are the same in every run, whatever its seed.
const DATASET_SEED: u64 = 0x5eed_51a7_d1b1_0001;

/// Training or test images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    Train = 0,
    Test = 1,
}

/// The labels of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Labels {
    /// With the background.
    pub count: u64,
    /// Label 0 stands for the background, which no image shows.
    pub background: bool,
}

impl Labels {
    /// Labels that images have.
    fn classes(self) -> u64 {
        self.count - u64::from(self.background)
    }

    /// Names by label.
    pub fn names(self) -> Vec<String> {
        let background = self.background.then(|| "background".to_owned());
        let classes = self.classes();
        background.into_iter().chain((0..classes).map(|class| class_name(class, classes))).collect()
    }
}

/// The images of one set.
#[derive(Debug, Clone, Copy)]
pub struct Generated {
    /// Height and width in pixels.
    pub size: usize,
    /// 3, or 1 for grey.
    pub channels: usize,
    pub labels: Labels,
    pub set: Set,
    pub count: u64,
}

impl Generated {
    /// All images, painted.
    ///
    /// # Errors
    /// More than memory can address.
    pub fn in_memory(&self) -> Result<ImagesInMemory> {
        let size = image_bytes(self.shape());
        let too_many = || Error::config(format!("{} images of {size} bytes do not fit into memory", self.count));
        let count = usize::try_from(self.count).map_err(|_| too_many())?;
        let mut pixels = vec![0; count.checked_mul(size).ok_or_else(too_many)?];
        let mut canvas = Canvas::new(self.size);
        let labels = pixels.chunks_exact_mut(size).zip(0..).map(|(out, index)| self.paint(index, &mut canvas, out));
        let labels = labels.collect();
        ImagesInMemory::new(self.shape(), pixels, labels)
    }

    fn paint(&self, index: u64, canvas: &mut Canvas, out: &mut [u8]) -> u32 {
        let set_seed = mix(DATASET_SEED, self.set as u64);
        let classes = self.labels.classes();
        // Each run of as many images as there are classes holds each class once, so that any number
        // of them is balanced.
        let rotation = mix(set_seed, index / classes) >> 32;
        let class = (index + rotation) % classes;
        let mut draw = Draw::new(mix(!set_seed, index));
        if self.channels == 3 {
            canvas.image(class, classes, &mut draw, out);
        } else {
            let mut colours = vec![0; out.len() * 3];
            canvas.image(class, classes, &mut draw, &mut colours);
            out.iter_mut().zip(colours.as_chunks::<3>().0).for_each(|(grey, colour)| *grey = luma(*colour));
        }
        (class + u64::from(self.labels.background)) as u32
    }
}

impl Images for Generated {
    fn shape(&self) -> Shape {
        [self.channels, self.size, self.size]
    }

    fn count(&self) -> u64 {
        self.count
    }

    fn read(&self, index: u64, out: &mut [u8]) -> Result<u32> {
        let size = image_bytes(self.shape());
        if index >= self.count || out.len() != size {
            let (bytes, count) = (out.len(), self.count);
            return Err(Error::failed(format!("image {index} of {count} into {bytes} of {size} bytes")));
        }
        Ok(self.paint(index, &mut Canvas::new(self.size), out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CIFAR10: Labels = Labels { count: 10, background: false };

    fn generated(set: Set, count: u64) -> Generated {
        Generated { size: 32, channels: 3, labels: CIFAR10, set, count }
    }

    #[test]
    fn memory_holds_what_reading_paints() {
        let generated = generated(Set::Train, 25);
        let memory = generated.in_memory().unwrap();
        let (mut painted, mut held) = (vec![0; 3072], vec![1; 3072]);
        for index in [0, 13, 24, 7] {
            let labels = (generated.read(index, &mut painted).unwrap(), memory.read(index, &mut held).unwrap());
            assert_eq!((labels.0, &painted), (labels.1, &held));
        }
        assert!(generated.read(25, &mut painted).is_err() && generated.read(0, &mut [0; 3]).is_err());
    }

    #[test]
    fn classes_are_balanced_and_the_background_unused() {
        let mut out = vec![0; 16 * 16 * 3];
        for (background, count) in [(false, 10), (true, 8)] {
            let labels = Labels { count, background };
            let images = Generated { size: 16, channels: 3, labels, set: Set::Test, count: 5 * labels.classes() };
            let mut seen = vec![0; count as usize];
            (0..images.count).for_each(|index| seen[images.read(index, &mut out).unwrap() as usize] += 1);
            if background {
                assert_eq!(seen.remove(0), 0);
            }
            assert!(seen.iter().all(|times| *times == 5), "{seen:?}");
        }
        let thousand = Labels { count: 1001, background: true }.names();
        assert_eq!((thousand.len(), &*thousand[0], &*thousand[1]), (1001, "background", "0° fine soft grey disc"));
    }

    #[test]
    fn grey_images_are_the_brightness_of_the_coloured_ones() {
        let coloured = generated(Set::Test, 3);
        let grey = Generated { channels: 1, ..coloured };
        let (mut colours, mut greys) = (vec![0; 3072], vec![0; 1024]);
        assert_eq!(coloured.read(2, &mut colours).unwrap(), grey.read(2, &mut greys).unwrap());
        assert!(colours.as_chunks::<3>().0.iter().zip(greys).all(|(colour, grey)| luma(*colour) == grey));
    }

    #[test]
    fn training_and_test_images_differ() {
        let train = generated(Set::Train, 100).in_memory().unwrap();
        let test = generated(Set::Test, 100).in_memory().unwrap();
        let (mut a, mut b) = (vec![0; 3072], vec![0; 3072]);
        for index in 0..100 {
            train.read(index, &mut a).unwrap();
            test.read(index, &mut b).unwrap();
            assert_ne!(a, b);
        }
    }
}
