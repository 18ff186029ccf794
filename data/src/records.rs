//! What is observed: a row or line of each table, with what it may hold. Checked once, when it is
//! read.

pub mod bounds;
pub mod latency;
pub mod memory;
pub mod near_tie;
pub mod observation;
pub mod policy;
pub mod prompt;
pub mod throughput;
pub mod trace;
pub mod trace_file;
