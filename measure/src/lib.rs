//! Turns a model and a request into a run directory of raw observations.

pub mod clock;
#[cfg(test)]
mod fake;
pub mod schedule;
