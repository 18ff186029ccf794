//! What is written down: one row or line of each table, with what it may hold.

pub mod check;
pub mod latency;
pub mod prompt;
pub mod trace;
