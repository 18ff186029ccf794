//! What it would gain to end a draft early when its confidence is low, replayed where traces hold
//! confidences.

use crate::cost::measured::MeasuredCosts;
use crate::error::{Error, Result};
use crate::predict::request::Request;
use crate::traces::replay::sure;
use crate::traces::table::TraceTable;
use crate::traces::walk::visit_text;
use s3d_data::{DraftPlan, Drafting, Run, Trace};
use serde::Serialize;

/// A threshold and what it gives.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EarlyStop {
    /// Drafting ends with the first draft whose top probability lies below this; 0 = never.
    pub threshold: f64,
    /// Tokens per iteration.
    pub tokens_per_iteration: f64,
    /// Verified drafts per iteration.
    pub drafts_per_iteration: f64,
    /// Predicted speedup.
    pub speedup: f64,
}

/// Replays `plan` with each threshold. The draft below the threshold is paid for but not verified;
/// a simultaneous pass still feeds all its tokens.
///
/// # Errors
/// No trace of the plan, none with confidences, or costs that are not known.
pub fn early_stop(
    run: &Run,
    request: &Request,
    plan: &DraftPlan,
    thresholds: &[f64],
) -> Result<Vec<EarlyStop>> {
    let table = TraceTable::of(run)?;
    let way = plan.draft();
    let row = table.ways.get(&way).into_iter().flatten().flatten();
    let traces: Vec<&Trace> = row.filter(|trace| trace.confidence.is_some()).copied().collect();
    if traces.is_empty() {
        let what = format!("trace of {} with confidences", plan.skip);
        return Err(Error::missing(what, "measure acceptance with confidences"));
    }
    let costs = MeasuredCosts::new(run, request.machine, &request.contexts)?;
    let gamma = plan.predictors.get();
    let one = costs.of(&way, 1)?;
    let wide = costs.of(&way, gamma)?.draft.value;
    let verify: Vec<f64> =
        (0..=gamma).map(|kept| Ok(costs.full(kept + 1)?.value)).collect::<Result<_>>()?;
    let replayed = |&threshold: &f64| {
        let (mut tokens, mut iterations, mut drafts, mut seconds) = (0.0, 0.0, 0.0, 0.0);
        for trace in &traces {
            visit_text(trace, |committed, _, probability| {
                let kept = sure(trace, committed, gamma, threshold);
                let paid = match plan.drafting {
                    Drafting::Simultaneous => wide,
                    Drafting::Sequential => one.draft.value * (kept + 1).min(gamma) as f64,
                };
                seconds += probability * (paid + verify[kept] + one.step.value);
                iterations += probability;
                drafts += probability * kept as f64;
                kept
            });
            tokens += trace.accepted.len() as f64 - 1.0;
        }
        EarlyStop {
            threshold,
            tokens_per_iteration: tokens / iterations,
            drafts_per_iteration: drafts / iterations,
            speedup: tokens * (1.0 + one.step.value) / seconds,
        }
    };
    Ok(thresholds.iter().map(replayed).collect())
}
