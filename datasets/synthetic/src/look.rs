//! What makes a class: a combination of attributes of a striped object. As many attributes as it
//! takes to tell the classes apart belong to the class; the others vary from image to image.
//!
//! All attributes survive mirroring and shifting, which training images undergo.

use crate::draw::Draw;

/// Angles between the stripes' normal and the horizontal, in degrees; 0–90, since the mirror image
/// must be the same class.
pub const ORIENTATIONS: [f64; 5] = [0.0, 22.5, 45.0, 67.5, 90.0];
/// Distance between stripes in 32nds of the image's width.
pub const PERIODS: [(&str, f64); 2] = [("fine", 3.8), ("coarse", 7.0)];
/// Brightness across the stripes.
pub const PROFILES: [&str; 5] = ["soft", "sharp", "thin", "slanted", "dashed"];
pub const OUTLINES: [&str; 5] = ["disc", "square", "diamond", "ring", "cross"];
/// The colours that the stripes alternate between, as a direction from their common mean.
pub const TINTS: [(&str, [f32; 3]); 4] = [
    ("grey", [0.6, 0.6, 0.6]),
    ("red-green", [0.85, -0.65, 0.0]),
    ("blue-yellow", [0.45, 0.45, -0.9]),
    ("orange-cyan", [0.8, 0.1, -0.7]),
];

const CHOICES: [usize; 5] = [ORIENTATIONS.len(), PERIODS.len(), PROFILES.len(), OUTLINES.len(), TINTS.len()];

/// The most classes there can be.
pub const CLASSES_MAX: u64 = 1000;

/// The attributes of one object, as indices into the tables above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Look {
    pub orientation: usize,
    pub period: usize,
    pub profile: usize,
    pub outline: usize,
    pub tint: usize,
}

/// The attributes that class `class` of `classes` fixes; `None`: free.
fn fixed(class: u64, classes: u64) -> [Option<usize>; 5] {
    let (mut told_apart, mut rest) = (1, class);
    CHOICES.map(|choices| {
        let choices = choices as u64;
        let attribute = (told_apart < classes).then_some((rest % choices) as usize);
        told_apart *= choices;
        rest /= choices;
        attribute
    })
}

impl Look {
    /// An object of a class, with the free attributes drawn.
    pub fn of_class(class: u64, classes: u64, draw: &mut Draw) -> Self {
        let attributes = fixed(class, classes);
        let mut place = 0;
        // Drawn in any case, so that all classes take the same numbers from the stream.
        let [orientation, period, profile, outline, tint] = CHOICES.map(|choices| {
            let free = draw.below(choices);
            let attribute = attributes[place].unwrap_or(free);
            place += 1;
            attribute
        });
        Self { orientation, period, profile, outline, tint }
    }

    /// An object of no class.
    pub fn any(draw: &mut Draw) -> Self {
        Self::of_class(0, 1, draw)
    }
}

/// A class's name, from the attributes that it fixes: `22.5° fine`.
pub fn class_name(class: u64, classes: u64) -> String {
    let [orientation, period, profile, outline, tint] = fixed(class, classes);
    let words = [
        orientation.map(|choice| format!("{}°", ORIENTATIONS[choice])),
        period.map(|choice| PERIODS[choice].0.to_owned()),
        profile.map(|choice| PROFILES[choice].to_owned()),
        tint.map(|choice| TINTS[choice].0.to_owned()),
        outline.map(|choice| OUTLINES[choice].to_owned()),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_attributes_make_as_many_classes_as_promised() {
        assert_eq!(CHOICES.iter().product::<usize>() as u64, CLASSES_MAX);
    }

    #[test]
    fn classes_have_different_names() {
        for classes in [2, 3, 5, 6, 10, 11, 51, 999, 1000] {
            let names: BTreeSet<String> = (0..classes).map(|class| class_name(class, classes)).collect();
            assert_eq!(names.len() as u64, classes);
        }
        assert_eq!(class_name(6, 10), "22.5° coarse");
        assert_eq!(class_name(999, 1000), "90° coarse dashed orange-cyan cross");
    }

    #[test]
    fn a_class_fixes_what_tells_it_apart_and_leaves_the_rest() {
        let mut draw = Draw::new(1);
        let looks: Vec<Look> = (0..200).map(|_| Look::of_class(7, 10, &mut draw)).collect();
        assert!(looks.iter().all(|look| (look.orientation, look.period) == (2, 1)));
        for attribute in [|look: &Look| look.profile, |look: &Look| look.outline, |look: &Look| look.tint] {
            assert!(looks.iter().map(attribute).collect::<BTreeSet<_>>().len() >= 4);
        }
    }
}
