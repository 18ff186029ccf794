//! The run directory: how a run was made, what it holds, and where.

pub mod card_state;
mod dir;
mod header;
pub mod journal;
mod machine;
pub mod replace;
pub mod shard;
mod tables;

pub use dir::{Run, RunDir};
pub(crate) use header::is_derived;
pub use header::{Coverage, ModelIdentity, RunHeader, SCHEMA_VERSION};
pub use machine::{Cache, Machine};
pub use tables::TableHashes;
