//! Peak memory of a plan on the model of a run, by the one formula ([`s3d_data::memory`]).

use crate::error::Result;
use s3d_data::memory::{Held, Load, Memory, Method};
use s3d_data::{DraftPlan, Drafting, Run};

/// Peak memory of `plan` on the run's model with `batch` texts of `context` tokens at once; none
/// where the model's shape is not known.
///
/// # Errors
/// A number type that is not known.
pub fn plan_memory(
    run: &Run,
    plan: &DraftPlan,
    (context, batch): (usize, usize),
) -> Result<Option<Memory>> {
    let predictors = plan.predictors.get();
    let method = match plan.drafting {
        Drafting::Simultaneous => Method::S3d { predictors },
        Drafting::Sequential => Method::Plain,
    };
    memory(run, Load { context, width: predictors + 1, batch }, &method)
}

/// Peak memory of plain decoding on the run's model at `context`; none where the model's shape is
/// not known.
///
/// # Errors
/// A number type that is not known.
pub fn plain_memory(run: &Run, context: usize) -> Result<Option<Memory>> {
    memory(run, Load { context, width: 1, batch: 1 }, &Method::Plain)
}

fn memory(run: &Run, load: Load, method: &Method) -> Result<Option<Memory>> {
    let held = Held::of_run(&run.header, &run.observations)?;
    Ok(held.map(|held| Memory::of(&run.header.model.shape, &held, load, method)))
}
