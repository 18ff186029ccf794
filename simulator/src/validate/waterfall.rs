//! From ideal to measured speedup, one cause at a time.

use crate::cost::measured::MeasuredCosts;
use crate::error::{Error, Result};
use crate::predict::prediction::WayTable;
use crate::predict::request::Request;
use crate::traces::table::{TraceTable, skipped_layers};
use s3d_data::{DraftPlan, Drafting, Estimate, Run};
use serde::Serialize;

/// The speedup that is left after one more cause.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WaterfallStep {
    /// The cause, in words.
    pub cause: &'static str,
    /// Speedup with this and all earlier causes counted.
    pub speedup: f64,
    /// Change against the step before.
    pub change: f64,
    /// Where the speedup was measured: its interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<Estimate>,
}

/// From every draft accepted in the ideal case, through acceptance, the real draft pass, the
/// widening of the verify pass, the context and the fixed overhead to the measured speedup; what
/// remains is named "unexplained". `measured` is what the choice reports of the plan; without it
/// the steps end at the prediction.
///
/// # Errors
/// No trace of the plan, or costs that are not known.
pub fn waterfall(
    run: &Run,
    request: &Request,
    plan: &DraftPlan,
    measured: Option<Estimate>,
) -> Result<Vec<WaterfallStep>> {
    let table = TraceTable::of(run)?;
    let (way, gamma) = (plan.draft(), plan.predictors.get());
    let row = table.ways.get(&way).ok_or_else(|| {
        Error::missing(format!("trace of {}", plan.skip), "measure acceptance of this window")
    })?;
    let replayed = WayTable::new(&way, row, gamma).tokens_per_iteration(gamma);
    let tokens = replayed.ok_or_else(|| {
        Error::missing(
            format!("iteration of {gamma} predictors in the traces"),
            "trace longer texts",
        )
    })?;
    let here = MeasuredCosts::new(run, request.machine, &request.contexts)?;
    let cost = here.of(&way, gamma)?;
    let short = MeasuredCosts::new(run, request.machine, &[(1, 1.0)])?.of(&way, gamma)?;
    let kept = 1.0 - skipped_layers(&plan.skip) / run.header.model.shape.layers as f64;
    let passes = if plan.drafting == Drafting::Sequential { gamma as f64 } else { 1.0 };
    let ideal = 1.0 + passes * kept;
    let mut levels = vec![
        ("every draft accepted, ideal passes", (gamma as f64 + 1.0) / ideal),
        ("acceptance", tokens / ideal),
        ("draft pass", tokens / (short.draft.value + 1.0)),
        ("wider verify pass", tokens / (short.draft.value + short.verify.value)),
        ("context", tokens / (cost.draft.value + cost.verify.value)),
        ("fixed overhead", tokens / cost.in_plain_steps()),
    ];
    if let Some(measured) = measured {
        levels.push(("unexplained", measured.value));
    }
    Ok(steps(&levels, measured))
}

/// The levels and their changes; the last one is that of the measurement, where there is one.
fn steps(levels: &[(&'static str, f64)], measured: Option<Estimate>) -> Vec<WaterfallStep> {
    let before = std::iter::once(levels[0].1).chain(levels.iter().map(|level| level.1));
    levels
        .iter()
        .zip(before)
        .map(|(&(cause, speedup), before)| WaterfallStep {
            cause,
            speedup,
            change: speedup - before,
            measured: measured.filter(|_| cause == "unexplained"),
        })
        .collect()
}
