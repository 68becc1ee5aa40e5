//! Which of TensorFlow's two paddings a window's is.

/// How to say a window's padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Window {
    /// It is what SAME makes of size, kernel and stride.
    Same,
    /// There is none.
    Valid,
    /// It must be put around the input first; then there is none.
    Explicit,
}

/// `size` of the input, `padding` top, left, bottom, right.
pub(super) fn window(size: [usize; 2], kernel: [usize; 2], stride: [usize; 2], padding: [usize; 4]) -> Window {
    let [top, left, bottom, right] = padding;
    let same = |dimension: usize, before: usize, after: usize| {
        same(size[dimension], kernel[dimension], stride[dimension]) == [before, after]
    };
    if same(0, top, bottom) && same(1, left, right) {
        Window::Same
    } else if padding == [0; 4] {
        Window::Valid
    } else {
        Window::Explicit
    }
}

/// What SAME pads before and after: for ⌈size / stride⌉ outputs, the odd pixel after.
fn same(size: usize, kernel: usize, stride: usize) -> [usize; 2] {
    let outputs = size.div_ceil(stride.max(1));
    let covered = outputs.saturating_sub(1).saturating_mul(stride).saturating_add(kernel);
    let total = covered.saturating_sub(size);
    [total / 2, total - total / 2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strides_decide() {
        // MobileNet's first layer: one pixel at the end; ResNet's: one on each side.
        assert_eq!(window([224; 2], [3; 2], [2; 2], [0, 0, 1, 1]), Window::Same);
        assert_eq!(window([224; 2], [3; 2], [2; 2], [1; 4]), Window::Explicit);
        assert_eq!(window([225; 2], [3; 2], [2; 2], [1; 4]), Window::Same);
        assert_eq!(window([32; 2], [3; 2], [1; 2], [1; 4]), Window::Same);
        assert_eq!(window([32; 2], [1; 2], [2; 2], [0; 4]), Window::Same);
        assert_eq!(window([32; 2], [3; 2], [1; 2], [0; 4]), Window::Valid);
    }

    proptest! {
        #[test]
        fn same_makes_its_number_of_outputs(size in 1usize..60, kernel in 1usize..8, stride in 1usize..5) {
            let [before, after] = same(size, kernel, stride);
            prop_assert_eq!((size + before + after).saturating_sub(kernel) / stride + 1, size.div_ceil(stride));
            prop_assert!(after == before || after == before + 1);
        }
    }
}
