//! How a photograph becomes the network's input. Evaluation always takes the square in the middle;
//! training may crop and mirror.

use pocketflow::dataset::augment::PadCropFlip;
use pocketflow_pictures::view::{Cut, View};

/// The least share of the area that a random crop of a photograph keeps, as torchvision's.
const LEAST: f64 = 0.08;
/// Images up to this size are shifted where nobody chose; larger ones are cropped as photographs.
const SMALL: u32 = 64;
const PADDING: [u8; 3] = [128; 3];

pocketflow::choice! {
    /// What is done to training images.
    pub enum Augment {
        Auto = "auto",
        None = "none",
        Flip = "flip",
        Crop = "crop",
        Inception = "inception",
    }
}

/// Cuts and augments images.
pub enum Prepare {
    Plain,
    Flip,
    Crop(PadCropFlip),
    Inception,
}

impl Prepare {
    /// For inputs of `size` pixels along a side.
    pub fn new(augment: Augment, size: u32, channels: usize) -> Self {
        match augment {
            Augment::Auto if size <= SMALL => Self::new(Augment::Crop, size, channels),
            Augment::Auto | Augment::Inception => Self::Inception,
            Augment::None => Self::Plain,
            Augment::Flip => Self::Flip,
            Augment::Crop => {
                let side = size as usize;
                Self::Crop(PadCropFlip::new([channels, side, side], side / 8, &PADDING))
            }
        }
    }

    /// For people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Plain => "none",
            Self::Flip => "flip",
            Self::Crop(_) => "crop",
            Self::Inception => "inception",
        }
    }
}

impl Cut for Prepare {
    fn training(&self, size: (u32, u32), seed: u64, index: u64) -> View {
        match self {
            Self::Plain | Self::Crop(_) => View::centre(size),
            Self::Flip => View::centre(size).flipped(seed, index),
            Self::Inception => View::random(size, LEAST, seed, index),
        }
    }

    fn evaluation(&self, size: (u32, u32), _: u32) -> View {
        View::centre(size)
    }

    fn augment(&self, seed: u64, index: u64, image: &mut [u8], spare: &mut Vec<u8>) {
        if let Self::Crop(crop) = self {
            spare.clear();
            spare.extend_from_slice(image);
            crop.apply(crop.draw(seed, index), spare, image);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_images_are_shifted_and_large_ones_cropped() {
        let name = |augment, size| Prepare::new(augment, size, 3).name();
        assert_eq!([name(Augment::Auto, 32), name(Augment::Auto, 224)], ["crop", "inception"]);
        assert_eq!([name(Augment::Crop, 224), name(Augment::None, 32)], ["crop", "none"]);
        let crop = Prepare::new(Augment::Crop, 16, 1);
        let plain: Vec<u8> = (0..=255).collect();
        let made = |seed| {
            let mut image = plain.clone();
            crop.augment(seed, 5, &mut image, &mut Vec::new());
            image
        };
        assert_eq!(made(1), made(1));
        assert!((2..20).any(|seed| made(seed) != made(1)));
        let mut image = plain.clone();
        Prepare::Inception.augment(1, 5, &mut image, &mut Vec::new());
        assert_eq!(image, plain, "the crop was all");
        let view = |prepare: &Prepare| prepare.training((90, 60), 3, 8);
        assert_eq!(view(&Prepare::Plain), View::centre((90, 60)));
        assert_ne!(view(&Prepare::Inception), View::centre((90, 60)));
        assert_eq!(Prepare::Inception.evaluation((90, 60), 32), View::centre((90, 60)));
    }
}
