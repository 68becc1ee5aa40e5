//! What flatc makes of the schemas beside this file; [`super::read`] and [`super::write`] are its
//! only users, and [`super::metadata`].

#[allow(dead_code, deprecated, unused, missing_docs, clippy::all, clippy::pedantic)]
#[rustfmt::skip]
pub(super) mod metadata_generated;
#[allow(dead_code, deprecated, unused, missing_docs, clippy::all, clippy::pedantic)]
#[rustfmt::skip]
pub(super) mod model_generated;

pub(super) use model_generated as table;
