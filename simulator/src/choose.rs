//! The choice: which window, how many predictors, which drafting.
//!
//! Tokens per iteration come from exact replay of traces, costs from passes timed in situ; every
//! plan is predicted with an interval, the best one that fits the memory is chosen, and what cannot
//! be told apart from it is listed. Where plans were run end to end, the first half of their blocks
//! helps to choose, through what it says about the costs of all plans, and only the second half is
//! reported. Where the leading plans were set beside each other (a run-off), their costs there
//! decide among them.

pub mod baseline;
pub mod by_batch;
pub mod by_context;
mod by_task;
mod deciding;
pub mod draft_lengths;
mod grid;
pub mod machines;
mod notes;
pub mod regret;
pub mod runs;
mod select;
pub mod speed_memory;
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
    let of_several = (request.batch > 1).then(|| by_batch::without_generations(run));
    let run = of_several.as_ref().unwrap_or(run);
    let evaluated = Evaluated::new(run, request)?;
    select::select(run, request, &evaluated)
}

/// [`choose`], and the best plan for each number of texts whose passes were timed.
///
/// # Errors
/// As [`choose`].
pub fn choose_for_all(run: &Run, request: &Request) -> Result<Choice> {
    let mut choice = choose(run, request)?;
    let rows = by_batch::by_batch(run, request, &choice, choose)?;
    choice.recommendation.break_even_batch = by_batch::break_even(&rows);
    choice.recommendation.by_batch = rows;
    Ok(choice)
}
