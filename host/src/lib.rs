//! The program `host`: it finds plugins, resolves settings and runs learners. A library, so that
//! its parts can be tested.
//!
//! | module | what it does |
//! |---|---|
//! | `options`, `cli`, `layers`, `commands` | the host's own options; the command line; the layered settings; what is not a run |
//! | [`discover`], `libtorch`, [`registry`] | where plugins and libtorch are; what plugins there are, and making one |
//! | [`probe`], [`ending`] | the first opening of a library, in a process of its own; plugins that end the process |
//! | `refused` | plugins that are not usable, for messages that name them |
//! | [`program`] | all of it, from the command line to the exit status |
//! | `select`, `run`, `services` | what a run is made of; how it goes; what learners may ask of the host |
//! | `normalised`, `named_classes` | a data set with pixels and class numbers as a model wants them |
//! | `outputs` | every file that a command will write, checked before the work begins |
//! | `run_dir`, `resume` | the folder of a run; whether an interrupted one may go on |
//! | `deploy` | exported files: the images they are made and checked with, and what came of it |
//! | `logging`, `signals`, `errors` | log lines; Ctrl-C; how the program ends |
//! | `progress`, [`report`] | what a person sees while a run goes on, and what it leaves |
//! | `plain` | what plugins and files call things, as it is printed |

mod cli;
mod commands;
mod deploy;
pub mod discover;
pub mod ending;
mod errors;
mod layers;
mod libtorch;
mod logging;
mod named_classes;
mod normalised;
mod options;
mod outputs;
mod plain;
pub mod probe;
pub mod program;
mod progress;
mod provenance;
mod refused;
pub mod registry;
pub mod report;
mod resume;
mod run;
mod run_dir;
mod select;
mod services;
mod signals;
mod workers;

pub use cli::reserved;
