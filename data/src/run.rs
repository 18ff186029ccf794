//! The run directory: how a run was made, what it holds, and where.

pub mod adapter;
pub mod card_state;
mod dir;
pub mod drawn;
mod header;
pub mod journal;
mod machine;
pub mod replace;
pub mod shard;
mod starts;
mod tables;
mod times_from;

pub use dir::{Run, RunDir};
pub use drawn::Drawn;
pub use header::{Coverage, ModelIdentity, RunHeader, SCHEMA_VERSION, Stop};
pub use machine::{Cache, Machine};
pub use starts::Starts;
pub use tables::TableHashes;
pub use times_from::TimesFrom;
