//! The run directory while it grows, and how one that was interrupted goes on.

pub mod import;
pub(crate) mod recorder;
pub(crate) mod resume;
