//! Operands of which one repeats: along dimensions in which it has one value.

use super::data::Element;
use super::site::Site;
use crate::tflite::model::Tensor;
use pocketflow::Result;
use std::borrow::Cow;

/// How the values of an operand become as many as the result has.
#[derive(Debug, Clone)]
pub(super) enum Spread {
    /// It has as many.
    Same,
    /// Of each value of the result, the place of the operand's.
    Places(Vec<usize>),
}

impl Spread {
    /// The values of an operand, as many as the result's.
    pub fn apply<'a, T: Element>(&self, values: &'a [T]) -> Cow<'a, [T]> {
        match self {
            Self::Same => Cow::Borrowed(values),
            Self::Places(places) => places.iter().map(|place| values[*place]).collect(),
        }
    }

    /// Of an operand in a result of that shape; `None` where it does not fit.
    fn of(operand: &[usize], result: &[usize]) -> Option<Self> {
        if operand == result {
            return Some(Self::Same);
        }
        let missing = result.len().checked_sub(operand.len())?;
        let mut places = vec![0];
        let mut run = 1;
        // From the last dimension on: the places of a dimension are those behind it, once for each
        // of its values.
        for (axis, size) in result.iter().enumerate().rev() {
            let own = if axis < missing { 1 } else { operand[axis - missing] };
            let step = match own {
                own if own == *size => run,
                1 => 0,
                _ => return None,
            };
            places = (0..*size).flat_map(|at| places.iter().map(move |place| at * step + place)).collect();
            run *= own;
        }
        Some(Self::Places(places))
    }
}

/// The shape of what two operands give, and how each becomes as large.
///
/// # Errors
/// Operands that do not fit each other; more values than are computed.
pub(super) fn spread(site: &Site, a: &Tensor, b: &Tensor) -> Result<(Vec<usize>, [Spread; 2])> {
    let rank = a.shape.len().max(b.shape.len());
    let side = |tensor: &Tensor, axis: usize| {
        let missing = rank - tensor.shape.len();
        if axis < missing { 1 } else { tensor.shape[axis - missing] }
    };
    let shape: Vec<usize> = (0..rank).map(|axis| side(a, axis).max(side(b, axis))).collect();
    // The output's own shape, which is within bounds, before anything is as large as it.
    site.expect_output(&shape)?;
    match (Spread::of(&a.shape, &shape), Spread::of(&b.shape, &shape)) {
        (Some(first), Some(second)) => Ok((shape, [first, second])),
        _ => Err(site.error(format!("its inputs of the shapes {:?} and {:?} do not fit each other", a.shape, b.shape))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_value_is_where_its_indices_say(shape in prop::collection::vec(1usize..5, 1..4), ones in prop::collection::vec(any::<bool>(), 4)) {
            let operand: Vec<usize> = shape.iter().zip(&ones).map(|(size, one)| if *one { 1 } else { *size }).collect();
            let values: Vec<f32> = (0..operand.iter().product::<usize>()).map(|value| value as f32).collect();
            let spread = Spread::of(&operand, &shape).unwrap().apply(&values).into_owned();
            prop_assert_eq!(spread.len(), shape.iter().product::<usize>());
            for (index, value) in spread.into_iter().enumerate() {
                let (mut rest, mut place, mut run) = (index, 0, 1);
                for (size, own) in shape.iter().zip(&operand).rev() {
                    place += if *own == 1 { 0 } else { rest % size * run };
                    rest /= size;
                    run *= own;
                }
                prop_assert_eq!(value, place as f32);
            }
        }
    }
}
