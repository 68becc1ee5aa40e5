//! An order of images sorted by class in which any start of it has as many images of every class as
//! possible: a quick run uses the first images, and must not see a few classes only.

/// Reorders items that are grouped by class: the first of every class, then the second of every
/// class, and so on.
pub fn interleave<T>(classes: Vec<Vec<T>>) -> Vec<T> {
    let total = classes.iter().map(Vec::len).sum();
    let mut rows: Vec<_> = classes.into_iter().map(Vec::into_iter).collect();
    let mut order = Vec::with_capacity(total);
    while order.len() < total {
        order.extend(rows.iter_mut().filter_map(Iterator::next));
    }
    order
}

#[cfg(test)]
mod tests {
    #[test]
    fn takes_one_of_each_in_turn() {
        let order = super::interleave(vec![vec!["a1", "a2", "a3"], vec![], vec!["c1"], vec!["d1", "d2"]]);
        assert_eq!(order, ["a1", "c1", "d1", "a2", "d2", "a3"]);
        assert!(super::interleave(Vec::<Vec<u8>>::new()).is_empty());
    }
}
