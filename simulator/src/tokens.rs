//! How many tokens an iteration commits: acceptance rates and curves, and what they add up to.

pub mod curves;
pub mod expected;
