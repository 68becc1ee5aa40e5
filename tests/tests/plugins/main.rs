//! Real plugin libraries through the real loader: what crosses the boundary, what is refused and
//! why, and that a panic in any function of a plugin is an error like any other.

mod abort;
mod crossing;
mod fixtures;
mod job;
mod listing;
mod logs;
mod panics;
