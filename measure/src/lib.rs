//! Turns a model and a request into a run directory of raw observations.

pub mod clock;
pub mod diagnose;
#[cfg(test)]
mod fake;
pub mod machine;
pub mod probe;
pub mod schedule;
pub mod warning;
