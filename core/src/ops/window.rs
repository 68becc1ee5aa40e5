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

/// The number of values of a shape; the largest number where that is beyond it.
pub(super) fn count(sizes: &[usize]) -> usize {
    sizes.iter().fold(1, |count, size| count.saturating_mul(*size))
}
