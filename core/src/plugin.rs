//! Registration: what a plugin declares of itself, and the list of all that is linked into this
//! library or program.

use crate::agent::Agent;
use crate::dataset::check::{CheckReport, Progress};
use crate::dataset::{Dataset, DatasetInfo};
use crate::error::Result;
use crate::learner::Learner;
use crate::names;
use crate::net::{NamedShape, Net};
use crate::option::{OptionSpec, Value};
use crate::settings::Settings;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The four kinds of plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PluginKind {
    /// Trains, compresses and evaluates networks: [`Learner`].
    Learner,
    /// Gives a graph and the recipe to train it: [`Net`].
    Net,
    /// Gives images and labels: [`Dataset`].
    Dataset,
    /// Chooses actions for a learner, and learns by their outcome: [`Agent`].
    Agent,
}

impl fmt::Display for PluginKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Learner => "learner",
            Self::Net => "net",
            Self::Dataset => "dataset",
            Self::Agent => "agent",
        })
    }
}

/// What a plugin says of itself; crosses the boundary as data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Declaration {
    /// Which trait it implements.
    pub kind: PluginKind,
    /// What users write: `uniform`, `resnet_at_cifar10`.
    pub name: String,
    /// Other names for the same.
    pub aliases: Vec<String>,
    /// One line.
    pub about: String,
    /// The crate's version.
    pub version: String,
    /// Those that it owns, in the order of the help.
    pub options: Vec<OptionSpec>,
    /// A net's data set, a stand-in's originals; see [`About::datasets`].
    pub datasets: Vec<String>,
    /// Options of the program whose files the plugin writes; see [`Plugin::WRITES`].
    #[serde(default)]
    pub writes: Vec<String>,
    /// What this program could not read of it, in sentences: the plugin is newer. Never of the
    /// plugin's own making.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Declaration {
    /// A plugin without options that says nothing else of itself; the fields can be set afterwards.
    pub fn new(kind: PluginKind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
            aliases: Vec::new(),
            about: String::new(),
            version: String::new(),
            options: Vec::new(),
            datasets: Vec::new(),
            writes: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Whether `name` is a spelling of its name or of one of its aliases.
    pub fn is_called(&self, name: &str) -> bool {
        std::iter::once(&self.name).chain(&self.aliases).any(|own| names::same(own, name))
    }

    /// Whether `name` is a spelling of one of its [`Declaration::datasets`].
    pub fn is_for(&self, name: &str) -> bool {
        self.datasets.iter().any(|dataset| names::same(dataset, name))
    }
}

/// The static facts of a plugin, given by the type that implements its trait.
pub struct About {
    /// Other names that users may write for the plugin.
    pub aliases: &'static [&'static str],
    /// One line for `plugins list`.
    pub line: &'static str,
    /// A net: the data set it is for (one). A data set: those it can stand in for, none for a real
    /// one.
    pub datasets: &'static [&'static str],
}

/// How every plugin is made: described and configured without an instance.
pub trait Plugin: Sized {
    /// What can be said of the plugin without its options.
    const ABOUT: About;

    /// Keys of the program's own options, as `save_path`, whose files this plugin writes even where
    /// they exist. Of its own options it says so with [`OptionSpec::output`].
    const WRITES: &'static [&'static str] = &[];

    /// The options it owns.
    fn options() -> Vec<OptionSpec>;

    /// Makes one from resolved settings. For a data set this is where its files are looked for.
    ///
    /// # Errors
    /// Settings that do not go together; [`crate::ErrorKind::DataNotFound`] from a data set whose
    /// data are not there.
    fn configure(settings: &Settings) -> Result<Self>;
}

/// Makes an instance of one of the four kinds; nets and data sets also answer without one.
#[derive(Clone, Copy)]
pub enum Maker {
    /// A learner, from the resolved settings.
    Learner(fn(&Settings) -> Result<Box<dyn Learner>>),
    /// A net, and what it recognises among weights.
    Net {
        /// The net, from the resolved settings.
        make: fn(&Settings) -> Result<Box<dyn Net>>,
        /// [`Net::recognise`].
        recognise: fn(&[NamedShape]) -> Vec<(String, Value)>,
    },
    /// A data set, and what it says before it is made.
    Dataset {
        /// The data set, from the resolved settings.
        make: fn(&Settings) -> Result<Box<dyn Dataset>>,
        /// [`Dataset::describe`].
        describe: fn(&Settings) -> Result<DatasetInfo>,
        /// [`Dataset::check`].
        check: fn(&Settings, Progress<'_>) -> Result<CheckReport>,
    },
    /// An agent, from the resolved settings.
    Agent(fn(&Settings) -> Result<Box<dyn Agent>>),
}

/// One plugin linked into this library or program. Made by [`crate::plugin!`].
pub struct Registration {
    /// Which trait it implements.
    pub kind: PluginKind,
    /// What users write.
    pub name: &'static str,
    /// The module that registers it: `pocketflow_uniform`.
    pub module: &'static str,
    /// Makes its declaration; may panic, as the plugin's own code.
    pub declare: fn() -> Declaration,
    /// Makes an instance of it.
    pub maker: Maker,
}

inventory::collect!(Registration);

/// All plugins linked into this library or program.
pub fn linked() -> impl Iterator<Item = &'static Registration> {
    inventory::iter::<Registration>()
}

/// The declaration of a type under a name; used by [`crate::plugin!`].
pub fn declare<T: Plugin>(kind: PluginKind, name: &str, version: &str) -> Declaration {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Declaration {
        aliases: owned(T::ABOUT.aliases),
        about: T::ABOUT.line.into(),
        version: version.into(),
        options: T::options(),
        datasets: owned(T::ABOUT.datasets),
        writes: owned(T::WRITES),
        ..Declaration::new(kind, name)
    }
}

/// Registers plugins: `pocketflow::plugin! { learner "uniform" => Uniform }`, one line each. The
/// type implements [`Plugin`] and the trait of its kind.
///
/// A crate whose plugins are linked statically must be named somewhere in the program, or the
/// linker drops it.
#[macro_export]
macro_rules! plugin {
    ($($kind:ident $name:literal => $type:ty),+ $(,)?) => {
        $crate::plugin!(@unwinds);
        $( $crate::plugin!(@one $kind $name $type); )+
    };
    (@unwinds) => {
        #[cfg(panic = "abort")]
        compile_error!(
            "a plugin built with `panic = \"abort\"` ends the whole program where it panics, instead of returning an error: \
             remove `panic = \"abort\"` from the profile in Cargo.toml (or from RUSTFLAGS)"
        );
    };
    (@one learner $name:literal $type:ty) => {
        $crate::plugin!(@submit Learner $name $type, $crate::plugin::Maker::Learner($crate::plugin!(@make $type)));
    };
    (@one net $name:literal $type:ty) => {
        $crate::plugin!(@submit Net $name $type, $crate::plugin::Maker::Net {
            make: $crate::plugin!(@make $type),
            recognise: <$type as $crate::net::Net>::recognise,
        });
    };
    (@one dataset $name:literal $type:ty) => {
        $crate::plugin!(@submit Dataset $name $type, $crate::plugin::Maker::Dataset {
            make: $crate::plugin!(@make $type),
            describe: <$type as $crate::dataset::Dataset>::describe,
            check: <$type as $crate::dataset::Dataset>::check,
        });
    };
    (@one agent $name:literal $type:ty) => {
        $crate::plugin!(@submit Agent $name $type, $crate::plugin::Maker::Agent($crate::plugin!(@make $type)));
    };
    (@make $type:ty) => {
        |settings| <$type as $crate::plugin::Plugin>::configure(settings).map(|made| Box::new(made) as _)
    };
    (@submit $kind:ident $name:literal $type:ty, $maker:expr) => {
        $crate::inventory::submit! {
            $crate::plugin::Registration {
                kind: $crate::plugin::PluginKind::$kind,
                name: $name,
                module: module_path!(),
                declare: || $crate::plugin::declare::<$type>(
                    $crate::plugin::PluginKind::$kind, $name, env!("CARGO_PKG_VERSION"),
                ),
                maker: $maker,
            }
        }
    };
}
