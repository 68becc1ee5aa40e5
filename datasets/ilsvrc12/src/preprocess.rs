//! The two preprocessings of ILSVRC-12: which part of an image becomes the network's input, and how
//! the engine normalises it.

use pocketflow_pictures::view::{Cut, View};

/// Of the shorter side, in evaluation: 224 of 256.
const RESNET_CENTRE: f64 = 224.0 / 256.0;
/// Of both sides, in evaluation.
const INCEPTION_CENTRE: f64 = 0.875;

/// A preprocessing: what is cut out in training and in evaluation, and how the engine normalises
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preprocess {
    /// He et al. 2015 (arXiv 1512.03385) as torchvision has it: random crops of 8 to 100 % of the
    /// area; the centre of the image with the shorter side scaled to 256 for an input of 224.
    Resnet,
    /// Szegedy et al. 2014 (arXiv 1409.4842) as TF-slim has it: random crops of 5 to 100 % of the
    /// area; the central
    /// 87.5 % of both sides, scaled to a square.
    Inception,
}

impl Preprocess {
    pub fn name(self) -> &'static str {
        match self {
            Self::Resnet => "resnet",
            Self::Inception => "inception",
        }
    }

    /// Of the pixel values 0–255 of each channel.
    pub fn mean(self) -> [f32; 3] {
        match self {
            Self::Resnet => [123.68, 116.78, 103.94],
            Self::Inception => [127.5; 3],
        }
    }

    /// Of the pixel values 0–255 of each channel. The original subtracts the mean only; dividing
    /// gives the network the unit scale that published weights are made for.
    pub fn std(self) -> [f32; 3] {
        match self {
            Self::Resnet => [58.393, 57.12, 57.375],
            Self::Inception => [127.5; 3],
        }
    }
}

impl Cut for Preprocess {
    fn training(&self, size: (u32, u32), seed: u64, index: u64) -> View {
        let least = match self {
            Self::Resnet => 0.08,
            Self::Inception => 0.05,
        };
        View::random(size, least, seed, index)
    }

    fn evaluation(&self, (width, height): (u32, u32), size: u32) -> View {
        match self {
            Self::Resnet => {
                // Sizes and places that the image would have after scaling are whole, as they are
                // where it is scaled first.
                let (width, height, size) = (f64::from(width), f64::from(height), f64::from(size));
                let short = (size / RESNET_CENTRE).round();
                let scale = short / width.min(height);
                let (scaled_width, scaled_height) =
                    ((width * scale).floor().max(short), (height * scale).floor().max(short));
                let (left, top) =
                    (((scaled_width - size) / 2.0).round_ties_even(), ((scaled_height - size) / 2.0).round_ties_even());
                let (x, y) = (width / scaled_width, height / scaled_height);
                View {
                    left: left * x,
                    top: top * y,
                    width: size * x,
                    height: size * y,
                    flip: false,
                    cut: false,
                    width_first: true,
                }
            }
            Self::Inception => {
                let centre = |side: u32| {
                    let kept = (f64::from(side) * INCEPTION_CENTRE).floor().max(1.0);
                    (((f64::from(side) - kept) / 2.0).floor(), kept)
                };
                let ((left, width), (top, height)) = (centre(width), centre(height));
                View { left, top, width, height, flip: false, cut: true, width_first: true }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn evaluation_takes_the_centre() {
        // torchvision: Resize(256) makes 341×256 of 500×375; CenterCrop(224) begins at (58, 16).
        let view = Preprocess::Resnet.evaluation((500, 375), 224);
        let x = 500.0 / 341.0;
        assert!((view.left - 58.0 * x).abs() < 1e-9 && (view.width - 224.0 * x).abs() < 1e-9, "{view:?}");
        assert!((view.top - 16.0 * 375.0 / 256.0).abs() < 1e-9, "{view:?}");
        let view = Preprocess::Inception.evaluation((500, 375), 128);
        assert_eq!((view.left, view.top, view.width, view.height), (31.0, 23.0, 437.0, 328.0));
    }

    proptest! {
        #[test]
        fn views_lie_inside(width in 1u32..3000, height in 1u32..3000, size in 8u32..400, seed: u64) {
            for method in [Preprocess::Resnet, Preprocess::Inception] {
                for view in [method.training((width, height), seed, 1), method.evaluation((width, height), size)] {
                    prop_assert!(view.left >= 0.0 && view.top >= 0.0 && view.width > 0.0 && view.height > 0.0);
                    prop_assert!(view.left + view.width <= f64::from(width) + 1e-6, "{:?}", view);
                    prop_assert!(view.top + view.height <= f64::from(height) + 1e-6, "{:?}", view);
                    prop_assert!(f64::from(view.rows(size)) >= view.top + view.height);
                }
            }
        }
    }
}
