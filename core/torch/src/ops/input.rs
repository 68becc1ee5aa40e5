//! The images: the value that a pass begins with, which nobody computes.

use super::Forward;
use pocketflow::graph::Input;

impl Forward for Input {}
