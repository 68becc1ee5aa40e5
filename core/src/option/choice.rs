//! Options that take one of a few words, each of which stands for a value of an enum.

/// An enum whose values people name by a word each. [`choice!`](crate::choice) makes one.
pub trait Choice: Copy + PartialEq + 'static {
    /// The words with what they stand for, in the order of the help.
    const WORDS: &'static [(&'static str, Self)];

    /// The word for this value.
    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
    }

    /// The value that a word stands for.
    fn of_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(own, _)| *own == word).map(|(_, value)| *value)
    }
}

/// Declares an enum with the word that settings have for each value:
///
/// ```
/// pocketflow::choice! {
///     /// How tensors are laid out.
///     pub enum Layout {
///         Planar = "nchw",
///         Interleaved = "nhwc",
///     }
/// }
/// use pocketflow::option::Choice;
/// assert_eq!(Layout::of_word("nhwc"), Some(Layout::Interleaved));
/// ```
#[macro_export]
macro_rules! choice {
    ($(#[$attribute:meta])* $vis:vis enum $name:ident {
        $($(#[$of_value:meta])* $value:ident = $word:literal),+ $(,)?
    }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $name {
            $($(#[$of_value])* $value),+
        }

        impl $crate::option::Choice for $name {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$value)),+];
        }
    };
}
