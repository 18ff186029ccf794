//! Plans on a profile without traces: pass times as recorded, acceptance from curves that someone
//! gives.

use crate::cost::measured::MeasuredCosts;
use crate::cost::memory::plan_memory;
use crate::cost::model::CostModel;
use crate::cost::what_if::{PlanAnswer, Rates, fastest_first};
use crate::error::Result;
use crate::predict::request::Request;
use s3d_data::{Bytes, DraftPlan, Drafting, Predictors, Run, Skip, SkipWindow};

/// Every window in the middle of the model with 1 to `gamma_max` predictors whose passes are known
/// and whose memory fits, the fastest first.
///
/// # Errors
/// No timed plain pass; what `rates` refuses.
pub fn with_curves(run: &Run, request: &Request, rates: &Rates) -> Result<Vec<PlanAnswer>> {
    request.check_budget(&run.header)?;
    let costs = MeasuredCosts::of_texts(run, request.machine, &request.contexts, request.batch)?;
    let layers = run.header.model.shape.layers;
    let budget = request.memory_budget.unwrap_or(Bytes(u64::MAX));
    let mut answers = Vec::new();
    for drafting in Drafting::ALL {
        for window in SkipWindow::all_symmetric(layers) {
            let skip = Skip::from(window);
            let share = (window.len(), window.skip_ratio(layers)?);
            for gamma in 1..=request.gamma_max {
                let predictors = Predictors::new(gamma)?;
                let plan = DraftPlan { drafting, skip: skip.clone(), predictors };
                let memory = plan_memory(run, &plan, (request.context(), request.batch))?;
                if memory.is_some_and(|memory| memory.peak_bytes > budget) {
                    continue;
                }
                let Ok(cost) = costs.skipping(&skip).iteration(drafting, gamma) else { continue };
                let rates = rates.at(share.1, predictors)?;
                answers.push(PlanAnswer::new(drafting, share, &rates, &cost));
            }
        }
    }
    fastest_first(&mut answers);
    Ok(answers)
}
