//! Whose conventions a MobileNet follows: TensorFlow and PyTorch pad differently and add another
//! epsilon to the variance, so weights trained under one give other outputs under the other.

pocketflow::choice! {
    /// A family of implementations.
    pub enum Style {
        /// TF-slim: SAME padding, epsilon 1e-3.
        Tensorflow = "tensorflow",
        /// torchvision: the same padding on all sides, epsilon 1e-5.
        Torchvision = "torchvision",
    }
}

impl Style {
    pub(crate) fn batch_norm_eps(self) -> f64 {
        match self {
            Self::Tensorflow => 1e-3,
            Self::Torchvision => 1e-5,
        }
    }

    /// Pixels before and after an axis of `size` pixels, for a convolution that puts out `size /
    /// stride` of them, rounded up (TensorFlow's SAME: what is odd goes after).
    pub(crate) fn padding(self, size: usize, kernel: usize, stride: usize) -> [usize; 2] {
        match self {
            Self::Tensorflow => {
                let reached = size.div_ceil(stride).saturating_sub(1) * stride + kernel;
                let total = reached.saturating_sub(size);
                [total / 2, total - total / 2]
            }
            Self::Torchvision => [kernel / 2; 2],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_of_tensorflow() {
        let padding = |size, kernel, stride| Style::Tensorflow.padding(size, kernel, stride);
        assert_eq!(padding(224, 3, 1), [1, 1]);
        assert_eq!(padding(224, 3, 2), [0, 1]);
        assert_eq!(padding(7, 3, 2), [1, 1]);
        assert_eq!(padding(1, 3, 2), [1, 1]);
        assert_eq!(padding(224, 1, 1), [0, 0]);
        assert_eq!(Style::Torchvision.padding(224, 3, 2), [1, 1]);
        assert_eq!(Style::Torchvision.padding(224, 1, 1), [0, 0]);
    }

    proptest::proptest! {
        #[test]
        fn both_styles_put_out_a_fraction_rounded_up(size in 1usize..2000, stride in 1usize..3) {
            for style in [Style::Tensorflow, Style::Torchvision] {
                let [before, after] = style.padding(size, 3, stride);
                proptest::prop_assert_eq!((size + before + after - 3) / stride + 1, size.div_ceil(stride));
            }
        }
    }
}
