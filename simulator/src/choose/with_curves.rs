//! Plans on a profile without traces: pass times as recorded, acceptance from curves that someone gives.

use super::Request;
use crate::cost::improvement::{IterationCost, break_even_acceptance};
use crate::cost::memory::plan_memory;
use crate::cost::what_if::{Cell, Rates, WhatIf};
use crate::error::Result;
use crate::predict::costs::Costs;
use crate::tokens::curves::AcceptanceRate;
use crate::tokens::expected::expected_tokens;
use s3d_data::{Bytes, DraftPlan, Drafting, Predictors, Run, SkipWindow};

/// Every window in the middle of the model with 1 to `gamma_max` predictors whose passes are known and
/// whose memory fits, the fastest first.
///
/// # Errors
/// No timed plain pass; what `rates` refuses.
pub fn with_curves(run: &Run, request: &Request, rates: &Rates) -> Result<Vec<Cell>> {
    request.check_budget(&run.header)?;
    let costs = Costs::new(run, request.machine, &request.contexts)?;
    let layers = run.header.model.shape.layers;
    let budget = request.memory_budget.unwrap_or(Bytes(u64::MAX));
    let mut cells = Vec::new();
    for drafting in Drafting::ALL {
        for window in SkipWindow::all_symmetric(layers) {
            for gamma in 1..=request.gamma_max {
                let predictors = Predictors::new(gamma)?;
                let plan = DraftPlan { drafting, skip: window.into(), predictors };
                let memory = plan_memory(run, &plan, request.context())?;
                let Ok(cost) = costs.of(&plan.draft(), gamma) else { continue };
                if memory.is_some_and(|memory| memory.peak_bytes > budget) {
                    continue;
                }
                let ratio = window.skip_ratio(layers)?;
                let alpha = rates.at(ratio, predictors)?;
                let (draft, verify) = (cost.draft.value, cost.verify.value);
                let iteration = IterationCost::new(1.0, draft, verify, cost.step.value)?;
                let tokens = expected_tokens(&alpha);
                cells.push(Cell {
                    drafting,
                    skipped: window.len(),
                    predictors: gamma,
                    break_even_acceptance: break_even_acceptance(&iteration, gamma)
                        .map(AcceptanceRate::get),
                    answer: WhatIf {
                        alpha: alpha.iter().map(|rate| rate.get()).collect(),
                        expected_tokens: tokens,
                        improvement_factor: iteration.improvement(tokens),
                        skip_ratio: ratio.get(),
                    },
                });
            }
        }
    }
    cells.sort_by(|a, b| b.answer.improvement_factor.total_cmp(&a.answer.improvement_factor));
    Ok(cells)
}
