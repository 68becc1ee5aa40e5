//! What a complete check of a data set found: every file and every image that training and
//! evaluation would meet.

use serde::{Deserialize, Serialize};

/// Is told how many images of how many are done, from any thread.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) + Send + Sync);

/// One set of images: the training images, the test images.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckedSet {
    /// `training`, `test`.
    pub name: String,
    /// Form and place, for people.
    pub place: String,
    /// Images that are whole.
    pub images: u64,
    /// Images of the complete set.
    pub complete: u64,
    /// Classes of which there is an image.
    pub classes: u64,
    /// What is missing or damaged: files and images.
    pub problems: u64,
    /// The first of the problems, each with its place.
    pub named: Vec<String>,
}

/// All sets of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckReport {
    /// One for each set that was checked.
    pub sets: Vec<CheckedSet>,
    /// What is absent or unusual without being damaged.
    pub notes: Vec<String>,
}

impl CheckReport {
    /// True where nothing is missing from the files that belong together, and nothing is damaged. A
    /// set may still be a part of the complete one; see [`CheckReport::notes`].
    pub fn is_sound(&self) -> bool {
        self.sets.iter().all(|set| set.problems == 0)
    }
}
