//! What a plan would do: its tokens, its costs, what plans that were run say of both, and the one
//! measured speedup that is reported of it.

pub mod additive;
pub mod calibration;
pub mod conditions;
pub mod costs;
pub mod measured;
pub mod neighbours;
pub mod prediction;
pub mod reported;
