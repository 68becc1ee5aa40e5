//! How many steps a window takes over an axis.

/// The steps of a window of `kernel` pixels over `size` pixels with `padding` around them.
///
/// # Errors
/// A window that does not fit.
pub(super) fn steps(size: usize, kernel: usize, stride: usize, padding: usize) -> Result<usize, String> {
    // Saturating, because a graph may come from a forged file; the shapes that this makes fit no
    // stored tensor.
    match size.saturating_add(padding).checked_sub(kernel) {
        Some(room) if stride > 0 && kernel > 0 => Ok((room / stride).saturating_add(1)),
        _ => Err(format!("a window of {kernel} with stride {stride} does not fit {size} + {padding} pixels")),
    }
}

/// The pixels from the first to the last under a kernel whose pixels lie `dilation` apart.
///
/// # Errors
/// A kernel without pixels, or without a distance between them.
pub(super) fn extent(kernel: usize, dilation: usize) -> Result<usize, String> {
    match kernel.checked_sub(1) {
        Some(gaps) if dilation > 0 => Ok(gaps.saturating_mul(dilation).saturating_add(1)),
        _ => Err(format!("a window of {kernel} pixels cannot be dilated by {dilation}")),
    }
}

/// How the windows of a pool lie on an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Down and to the right.
    pub count: [usize; 2],
    /// At the top, left, bottom and right: what windows reach of the padding and beyond it.
    pub padding: [usize; 4],
}

/// The windows of a pool. `ceil`: a window that begins on the image or its padding at the top and
/// left counts, though it ends beyond.
///
/// # Errors
/// Windows that do not fit, or would lie on padding alone.
pub(super) fn pooled(
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 4],
    ceil: bool,
) -> Result<Windows, String> {
    let mut windows = Windows { count: [0; 2], padding };
    for side in 0..2 {
        let [before, after] = [padding[side], padding[side + 2]];
        // A window of padding alone would have no value.
        if before.max(after) >= kernel[side] {
            return Err(format!("a padding of {} covers a window of {}", before.max(after), kernel[side]));
        }
        let all = before.saturating_add(after);
        let mut count = steps(size[side], kernel[side], stride[side], all)?;
        let from = |count: usize| (count - 1).saturating_mul(stride[side]);
        let end = |count: usize| from(count).saturating_add(kernel[side]);
        let reached = size[side].saturating_add(all);
        if ceil && end(count) < reached && from(count + 1) < size[side].saturating_add(before) {
            count += 1;
        }
        windows.count[side] = count;
        windows.padding[side + 2] = end(count).saturating_sub(size[side].saturating_add(before));
    }
    Ok(windows)
}

/// The number of values of a shape; the largest number where that is beyond it.
pub(super) fn count(sizes: &[usize]) -> usize {
    sizes.iter().fold(1, |count, size| count.saturating_mul(*size))
}
