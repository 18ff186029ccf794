//! How wrong predictions are: every plan that was run end to end, predicted as if it had not been
//! seen.

pub use crate::predict::plans_run::HeldOutPlan;

use crate::error::Result;
use crate::predict::calibration::{Calibration, Sample};
use crate::predict::plans_run::{PlanRun, PlansRun};
use crate::predict::request::Request;
use crate::predict::walked::Walked;
use crate::statistics::{median, quantile};
use s3d_data::{Plan, PredictionError, Run};
use serde::Serialize;

/// Prediction errors over plans.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Errors {
    /// Each plan.
    pub plans: Vec<HeldOutPlan>,
    /// Median, 95th percentile, coverage.
    pub summary: PredictionError,
    /// Plans that were run and are not predicted: their windows lie at an edge of the model, no
    /// traced windows lie around them, or traces or times are missing that the others have.
    pub not_predicted: Vec<Plan>,
}

/// Errors on plans whose window was held out: no trace, no draft-pass time, no throughput of it
/// entered. Acceptance comes from the neighbouring windows' traces, draft time from the law over
/// the other windows, corrected by what their end-to-end runs say about costs. `None` where no plan
/// was run in enough blocks, or none of them is predicted.
///
/// # Errors
/// No timed plain pass, or a trace that contradicts itself.
pub fn held_out(run: &Run, request: &Request) -> Result<Option<Errors>> {
    if run.observations.throughput.is_empty() {
        return Ok(None);
    }
    held_out_of(run, request, &Walked::new(run, request)?)
}

/// [`held_out`] by traces that are walked already.
pub(crate) fn held_out_of(
    run: &Run,
    request: &Request,
    walked: &Walked<'_>,
) -> Result<Option<Errors>> {
    errors(run, request, walked, true)
}

/// Errors with trace and passes of the plan known: this only checks the bookkeeping.
///
/// # Errors
/// As [`held_out`].
pub fn bookkeeping(run: &Run, request: &Request) -> Result<Option<Errors>> {
    if run.observations.throughput.is_empty() {
        return Ok(None);
    }
    errors(run, request, &Walked::new(run, request)?, false)
}

fn errors(
    run: &Run,
    request: &Request,
    walked: &Walked<'_>,
    hold_out: bool,
) -> Result<Option<Errors>> {
    let ran = PlansRun::new(run, request, &walked.table, |_| true)?;
    let Some(mut ran) = ran else { return Ok(None) };
    let mut predicted = ran.predicted(false);
    if hold_out {
        let known: Vec<Sample> = predicted.iter().filter_map(PlanRun::sample).collect();
        ran.evidence.known = Calibration::new(&known);
        predicted = ran.predicted(true);
    }
    let plans = beside_reported(walked, predicted);
    let predicted = |plan: &Plan| plans.iter().any(|one| one.plan == *plan);
    let reported = ran.plans().filter(|plan| walked.reported(plan).is_some());
    let not_predicted = reported.filter(|plan| !predicted(plan)).cloned().collect();
    Ok(summary(&plans).map(|summary| Errors { plans, summary, not_predicted }))
}

/// The ran plans in terms of all traced texts: measured is what is reported of the plan everywhere,
/// predicted is moved by the same factor, so that the error stays that on the texts that most
/// windows were traced along.
/// Plans run in too few blocks to be reported are left out.
fn beside_reported(walked: &Walked<'_>, predicted: Vec<PlanRun>) -> Vec<HeldOutPlan> {
    let moved = |judgement: PlanRun| {
        let plan = judgement.plan;
        let measured = walked.reported(&plan.plan)?.speedup;
        let factor = measured.value / plan.measured.value;
        Some(HeldOutPlan { predicted: plan.predicted.map(|p| p * factor), measured, ..plan })
    };
    predicted.into_iter().filter_map(moved).collect()
}

fn summary(plans: &[HeldOutPlan]) -> Option<PredictionError> {
    let errors: Vec<f64> = plans.iter().map(|plan| plan.error).collect();
    let inside = plans.iter().filter(|plan| plan.predicted.covers(plan.measured.value)).count();
    Some(PredictionError {
        median: median(&errors)?,
        p95: quantile(&errors, 0.95)?,
        coverage_95: inside as f64 / plans.len() as f64,
        held_out: plans.len(),
    })
}
