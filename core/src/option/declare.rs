//! [`options!`](crate::options): a struct whose fields are options.

/// Declares options as the fields of a struct: each with its help text (the comment, which may be
/// of several lines), the type that it is read as, and the function of
/// [`OptionSpec`](crate::option::OptionSpec) that declares it, without the help text.
///
/// ```
/// use pocketflow::settings::Settings;
/// use std::path::PathBuf;
///
/// pocketflow::options! {
///     /// The options of a learner.
///     pub struct Options {
///         /// Bits for the weights of layers; 32 leaves them alone.
///         pub bits: u32 = int("my_bits", 4, 1..=32),
///         /// A file with the bits of each layer.
///         pub plan: Option<PathBuf> = path("my_plan", "").optional(),
///     }
/// }
///
/// let settings = Settings::defaults([("mine", Options::specs())]);
/// assert_eq!(Options::read(&settings)?, Options { bits: 4, plan: None });
/// assert_eq!(settings.get(Options::bits())?, 4);
/// let error = settings.invalid(&Options::bits(), "odd").to_string();
/// assert_eq!(error, "`my_bits` = 4 (default of mine): odd");
/// # Ok::<(), pocketflow::Error>(())
/// ```
///
/// Where owners differ in a default or a range, the struct takes what differs, `struct
/// Options(own: &Defaults)`; the declarations use `own`, and `Options::specs` takes it.
#[macro_export]
macro_rules! options {
    ($(#[$attribute:meta])* $vis:vis struct $name:ident $(($own:ident: $own_type:ty))? {
        $(
            $(#[doc = $doc:literal])+
            $of_field:vis $field:ident: $type:ty =
                $kind:ident($key:expr $(, $argument:expr)* $(,)?) $(.$change:ident($($with:expr),* $(,)?))*
        ),+ $(,)?
    }) => {
        $(#[$attribute])*
        // What every group of options has; few places need all of it.
        #[allow(dead_code)]
        #[derive(Debug, Clone, PartialEq)]
        $vis struct $name {
            $($(#[doc = $doc])+ $of_field $field: $type,)+
        }

        #[allow(dead_code)]
        impl $name {
            /// The declarations of the options.
            $vis fn specs($($own: $own_type)?) -> ::std::vec::Vec<$crate::option::OptionSpec> {
                vec![$(
                    $crate::option::OptionSpec::$kind($key, $($argument,)* concat!($($doc),+).trim())
                        $(.$change($($with),*))*
                ),+]
            }

            /// Reads the options.
            ///
            /// # Errors
            /// A setting is missing or holds another type.
            $vis fn read(settings: &$crate::settings::Settings) -> $crate::Result<Self> {
                Ok(Self { $($field: settings.get(Self::$field())?),+ })
            }

            $(
                #[doc = concat!("Returns the key of the field `", stringify!($field), "`.")]
                $of_field const fn $field() -> $crate::option::Key<$type> {
                    $crate::option::Key::new($key)
                }
            )+
        }
    };
}
