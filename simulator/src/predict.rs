//! What a plan would do: its tokens, its costs, what plans that were run say of both, and the one
//! measured speedup that is reported of it.

pub mod additive;
pub mod blocks;
pub mod calibration;
pub mod conditions;
pub(crate) mod counted;
pub(crate) mod evaluated;
pub mod held_out;
pub mod neighbours;
pub mod plans_alone;
pub(crate) mod plans_run;
pub mod prediction;
pub mod reported;
pub mod request;
pub mod timing_error;
mod walked;
