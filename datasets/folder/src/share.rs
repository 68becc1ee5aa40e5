//! Images divided into those for training and those for the test, where nobody divided them: the
//! same in every run and on every machine, and nearly the same when images are added.

use pocketflow::dataset::mix;
use pocketflow_pictures::folders::Folders;
use pocketflow_pictures::source::{Fault, Source, no_such_image};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The choice of test images depends on nothing but the names.
const SEED: u64 = 0x0f01_de25_5eed_0003;

/// A part of the images of another source, in its order.
pub struct Part {
    whole: Arc<Folders>,
    indices: Vec<u32>,
}

impl Source for Part {
    fn count(&self) -> u64 {
        self.indices.len() as u64
    }

    fn read(&self, index: u64, encoded: &mut Vec<u8>) -> Result<u32, Fault> {
        let found = usize::try_from(index).ok().and_then(|index| self.indices.get(index));
        let found = *found.ok_or_else(|| no_such_image(index, self.count()))?;
        self.whole.read(found.into(), encoded)
    }

    fn place(&self, index: u64) -> String {
        let found = usize::try_from(index).ok().and_then(|index| self.indices.get(index));
        found.map_or_else(|| format!("image {index}"), |found| self.whole.place((*found).into()))
    }
}

/// Training and test images: of every class the share `share` is for the test, rounded; at least
/// one image stays in each part where a class has two and the share is neither 0 nor 1.
pub fn divide(whole: Folders, share: f64) -> (Part, Part) {
    let whole = Arc::new(whole);
    let count = u32::try_from(whole.count()).unwrap_or(u32::MAX);
    let mut classes: BTreeMap<u32, Vec<(u64, u32)>> = BTreeMap::new();
    for index in 0..count {
        if let Some((folder, name, label)) = whole.image(index.into()) {
            classes.entry(label).or_default().push((rank(folder, name), index));
        }
    }
    let (mut training, mut test) = (Vec::new(), Vec::new());
    for mut images in classes.into_values() {
        images.sort_unstable();
        let taken = taken(images.len(), share);
        test.extend(images[..taken].iter().map(|(_, index)| *index));
        training.extend(images[taken..].iter().map(|(_, index)| *index));
    }
    training.sort_unstable();
    test.sort_unstable();
    (Part { whole: whole.clone(), indices: training }, Part { whole, indices: test })
}

/// How many of `count` images are for the test.
fn taken(count: usize, share: f64) -> usize {
    let taken = (count as f64 * share).round() as usize;
    match share > 0.0 && share < 1.0 && count >= 2 {
        true => taken.clamp(1, count - 1),
        false => taken.min(count),
    }
}

/// A number for an image that its name decides.
fn rank(folder: &str, name: &str) -> u64 {
    let bytes = folder.bytes().chain([b'/']).chain(name.bytes());
    bytes.fold(SEED, |hash, byte| mix(hash, byte.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::path::Path;

    fn folders(root: &Path, classes: &[(&str, usize)]) -> Folders {
        for (class, images) in classes {
            fs::create_dir_all(root.join(class)).unwrap();
            (0..*images).for_each(|image| fs::write(root.join(class).join(format!("{image}.png")), "x").unwrap());
        }
        let labelled: Vec<_> =
            classes.iter().zip(0..).map(|((class, _), label)| ((*class).to_owned(), Some(label))).collect();
        Folders::open(root, &labelled, 1).0
    }

    fn places(part: &Part) -> Vec<String> {
        (0..part.count()).map(|index| part.place(index)).collect()
    }

    #[test]
    fn every_class_gives_its_share_and_added_images_move_few() {
        let folder = tempfile::tempdir().unwrap();
        let (training, test) = divide(folders(folder.path(), &[("a", 40), ("b", 10), ("c", 1), ("d", 2)]), 0.2);
        let of = |part: &Part, class: &str| {
            places(part).iter().filter(|place| place.contains(&format!("/{class}/"))).count()
        };
        let counts: Vec<_> =
            ["a", "b", "c", "d"].iter().map(|class| (of(&training, class), of(&test, class))).collect();
        assert_eq!(counts, [(32, 8), (8, 2), (1, 0), (1, 1)]);
        let before = places(&test);
        let (_, again) = divide(folders(folder.path(), &[("a", 40), ("b", 10), ("c", 1), ("d", 2)]), 0.2);
        assert_eq!(places(&again), before);
        let (_, grown) = divide(folders(folder.path(), &[("a", 50), ("b", 10), ("c", 1), ("d", 2)]), 0.2);
        let kept = places(&grown).iter().filter(|place| before.contains(place)).count();
        assert!(kept >= before.len() - 3, "{kept} of {}", before.len());
        assert_eq!(divide(folders(folder.path(), &[("a", 40)]), 0.0).1.count(), 0);
    }

    proptest! {
        #[test]
        fn a_share_is_a_share(count in 0usize..10_000, share in 0.0..1.0f64) {
            let taken = taken(count, share);
            prop_assert!(taken <= count && (taken as f64 - count as f64 * share).abs() <= 1.0);
            prop_assert!(count < 2 || share == 0.0 || (1..count).contains(&taken));
        }
    }
}
