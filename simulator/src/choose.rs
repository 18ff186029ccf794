//! The choice: which window, how many predictors, which drafting.
//!
//! Tokens per iteration come from exact replay of traces, costs from passes timed in situ; every
//! plan is predicted with an interval, the best one that fits the memory is chosen, and what cannot
//! be told apart from it is listed. Where plans were run end to end, the first half of their blocks
//! helps to choose, through what it says about the costs of all plans, and only the second half is
//! reported. Where the leading plans were set beside each other (a run-off), their costs there
//! decide among them.

mod baseline;
mod by_task;
mod deciding;
mod grid;
pub mod machines;
mod notes;
pub mod regret;
pub mod runs;
mod select;
mod states;
pub mod with_curves;

pub use crate::predict::request::Request;
pub use grid::PlanEvaluation;
pub use select::Choice;

use crate::error::Result;
use crate::predict::evaluated::Evaluated;
use s3d_data::Run;

/// Chooses from what `run` holds.
///
/// # Errors
/// No traces, no timed plain pass, a trace that contradicts itself, nonsense in the request.
pub fn choose(run: &Run, request: &Request) -> Result<Choice> {
    request.check(run)?;
    let evaluated = Evaluated::new(run, request)?;
    select::select(run, request, &evaluated)
}
