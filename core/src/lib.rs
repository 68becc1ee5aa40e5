//! PocketFlow's core: all that the author of a net, a dataset, an agent or a learner needs, and
//! nothing that knows libtorch.
//!
//! | module | what it holds |
//! |---|---|
//! | [`option`] | an option declared once: key, type, range, default, doc |
//! | [`names`] | which keys and names are legal, which spellings are the same, suggestions, printing |
//! | [`settings`] | resolved values, each with its origin |
//! | [`graph`] | a network as data: nodes, operators, shapes, parameter names |
//! | [`quant`] | which node is quantized how ([`quant::QuantPlan`]), and the arithmetic that defines it |
//! | [`clip`] | ranges that leave outliers out |
//! | [`affine`], [`integer`] | grids on which zero lies exactly; which values of a network an integer runtime holds |
//! | [`sums`] | values that meet in sums, on one scale |
//! | [`biases`] | biases on the grid that integer runtimes add them on |
//! | [`fold`] | a model with its batch normalisations folded into the layers before them |
//! | [`tensors`], [`model`] | the file formats: named tensors; a graph with its weights and plan |
//! | [`packing`], [`atomic`] | codes of k bits side by side; files that are there whole or not at all |
//! | [`checkpoints`] | the last two checkpoints of a phase |
//! | [`background`] | results of another thread, waited for as long as nobody asks to stop |
//! | [`net`], [`dataset`], [`learner`], [`agent`] | the four traits a plugin implements |
//! | [`job`], [`report`] | what a learner is given, and what it returns |
//! | [`plugin`](mod@plugin) | registration: the `plugin!` macro and the list of what is linked in |
//! | [`plugin_limits`] | what a plugin may declare |
//! | [`abi`] | the stable binary boundary; the only user of `abi_stable` |

pub mod abi;
pub mod affine;
pub mod agent;
pub mod atomic;
pub mod background;
pub mod biases;
pub mod checkpoints;
pub mod clip;
pub mod dataset;
pub mod error;
pub mod fold;
pub mod graph;
pub mod integer;
pub mod job;
pub mod learner;
pub mod model;
pub mod names;
pub mod net;
mod ops;
pub mod option;
pub mod packing;
pub mod plugin;
pub mod plugin_limits;
pub mod quant;
pub mod report;
pub mod settings;
pub mod sums;
pub mod tensors;
mod tolerant;
pub mod workers;

pub use error::{Error, ErrorKind, Result};

/// Used by the macros of this crate; not part of the interface.
#[doc(hidden)]
pub use inventory;
