//! The stages of a run, each in its own file.

pub(crate) mod acceptance;
pub mod coverage;
pub(crate) mod latency;
pub mod memory;
pub mod probe;
pub(crate) mod reference;
pub(crate) mod throughput;
