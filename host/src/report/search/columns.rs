//! Where the layers are from left to right: the same in every drawing of the search, so that what
//! stands above one another is about one layer.

use super::super::charts::{Tick, tenth};
use super::super::layers::shortened;
use serde::Serialize;

/// The width of the page.
const WIDTH: f64 = 1160.0;
const LEFT: f64 = 62.0;
/// Right of the last layer.
const MARGIN: f64 = 12.0;
/// `-0.001` fits.
const NARROWEST: f64 = 42.0;

/// One column a layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Columns {
    width: f64,
    pub left: f64,
    right: f64,
    /// Wider than the page: it has to scroll.
    over: bool,
    pub pitch: f64,
    /// Centres.
    names: Vec<Tick>,
}

impl Columns {
    /// `None` without layers.
    pub fn of(layers: &[String]) -> Option<Self> {
        let count = layers.len().max(1) as f64;
        let pitch = ((WIDTH - LEFT - MARGIN) / count).max(NARROWEST);
        let right = tenth(LEFT + count * pitch);
        let name = |(index, name): (usize, &String)| Tick {
            at: tenth(LEFT + (index as f64 + 0.5) * pitch),
            text: shortened(name),
        };
        let names: Vec<Tick> = layers.iter().enumerate().map(name).collect();
        let over = right + MARGIN > WIDTH + 1.0;
        (!names.is_empty()).then_some(Self { width: right + MARGIN, left: LEFT, right, over, pitch, names })
    }

    /// The left edge of a layer's column.
    pub fn at(&self, layer: usize) -> f64 {
        self.left + self.pitch * layer as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fill_the_page_and_go_over_it_before_they_get_too_narrow() {
        let of = |count: usize| Columns::of(&vec!["conv".to_owned(); count]);
        assert_eq!(of(0), None);
        let few = of(20).unwrap();
        assert!(!few.over && few.width == WIDTH && few.names.len() == 20);
        let many = of(54).unwrap();
        assert!(many.over && many.pitch == NARROWEST && many.width > WIDTH);
        assert!(many.names[53].at < many.right);
    }
}
