//! The order in which a file holds the weights of a layer.

/// How a layer's weights lie in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    Conv,
    Depthwise,
    Linear,
}

impl Layout {
    pub(crate) fn of(depthwise: bool) -> Self {
        if depthwise { Self::Depthwise } else { Self::Conv }
    }

    /// The file's shape for weights `[out, in / groups, kh, kw]`.
    pub(crate) fn shape(self, [out, depth, height, width]: [usize; 4]) -> Vec<usize> {
        match self {
            Self::Conv => vec![out, height, width, depth],
            Self::Depthwise => vec![1, height, width, out],
            Self::Linear => vec![out, depth.saturating_mul(height).saturating_mul(width)],
        }
    }
}

/// Weights `[out, in, kh, kw]` in the order of a filter: `[out, kh, kw, in]`, or `[kh, kw, out]` of
/// a depth-wise convolution.
pub(crate) fn to_filter<T: Copy>(weights: &[T], [out, depth, height, width]: [usize; 4], depthwise: bool) -> Vec<T> {
    let pixels = height.saturating_mul(width);
    let at = |out: usize, depth_index: usize, pixel: usize| (out * depth + depth_index) * pixels + pixel;
    let mut filter = Vec::with_capacity(weights.len());
    if depthwise {
        for pixel in 0..pixels {
            filter.extend((0..out).filter_map(|out| weights.get(at(out, 0, pixel))));
        }
    } else {
        for out in 0..out {
            for pixel in 0..pixels {
                filter.extend((0..depth).filter_map(|depth| weights.get(at(out, depth, pixel))));
            }
        }
    }
    filter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_put_in_the_files_order() {
        // [out 2, in 2, 1, 2]
        let weights: Vec<u8> = (0..8).collect();
        assert_eq!(to_filter(&weights, [2, 2, 1, 2], false), [0, 2, 1, 3, 4, 6, 5, 7]);
        assert_eq!(to_filter(&weights[..4], [2, 1, 1, 2], true), [0, 2, 1, 3]);
    }
}
