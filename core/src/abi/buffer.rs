//! Owned buffers that may be made in one library and freed in another.

use abi_stable::std_types::RVec;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// A slice on the heap that knows how to free itself: it crosses the plugin boundary by moving,
/// without a copy, whichever allocator either side uses. Behaves as `[T]`; made from a `Vec<T>`,
/// which costs nothing.
#[derive(Clone)]
pub struct Buffer<T>(RVec<T>);

impl<T> Buffer<T> {
    pub(super) fn into_wire(self) -> RVec<T> {
        self.0
    }

    pub(super) fn from_wire(wire: RVec<T>) -> Self {
        Self(wire)
    }
}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Self(RVec::new())
    }
}

impl<T> From<Vec<T>> for Buffer<T> {
    fn from(values: Vec<T>) -> Self {
        Self(values.into())
    }
}

impl<T> FromIterator<T> for Buffer<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<'a, T> IntoIterator for &'a Buffer<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, T> IntoIterator for &'a mut Buffer<T> {
    type Item = &'a mut T;
    type IntoIter = std::slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl<T: fmt::Debug> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: PartialEq, S: AsRef<[T]> + ?Sized> PartialEq<S> for Buffer<T> {
    fn eq(&self, other: &S) -> bool {
        **self == *other.as_ref()
    }
}

impl<T> AsRef<[T]> for Buffer<T> {
    fn as_ref(&self) -> &[T] {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_its_vector_without_a_copy() {
        let values = vec![1u32, 2, 3];
        let start = values.as_ptr();
        let mut buffer = Buffer::from(values);
        assert_eq!(buffer.as_ptr(), start);
        for value in &mut buffer {
            *value *= 2;
        }
        assert_eq!(buffer, [2, 4, 6]);
        assert_eq!(buffer.clone(), buffer);
        let wire = buffer.into_wire();
        assert_eq!(wire.as_ptr(), start);
    }
}
