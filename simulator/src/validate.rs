//! How wrong is it? Prediction error on plans that were held out, interval coverage, regret, and the
//! waterfall from ideal to measured speedup (cost model, section 5).

pub mod neighbours;
pub mod waterfall;

use crate::error::Result;
use crate::observed::{TraceTable, Way};
use crate::optimize::Request;
use crate::optimize::costs::Costs;
use crate::optimize::measured::Blocks;
use crate::optimize::predict::{Pool, speedup_draws};
use crate::statistics::{Resamples, interval, median, quantile};
use neighbours::Neighbours;
use s3d_data::{DraftPlan, Drafting, Estimate, Plan, PredictionError, Run};
use serde::Serialize;
use std::collections::BTreeMap;

/// A plan that was run end to end, with what was predicted of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeldOutPlan {
    /// The plan.
    pub plan: Plan,
    /// Predicted speedup; its interval is one for a measurement, whose own noise is in it.
    pub predicted: Estimate,
    /// Measured speedup.
    pub measured: Estimate,
    /// `|predicted - measured| / measured`.
    pub error: f64,
}

/// Prediction errors over plans.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Errors {
    /// Each plan.
    pub plans: Vec<HeldOutPlan>,
    /// Median, 95th percentile, coverage.
    pub summary: PredictionError,
}

/// `1 - choice / best`, and how it was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Regret {
    /// The fraction of tokens per second lost, with its interval.
    pub estimate: Estimate,
    /// `sweep` or `bootstrap`.
    pub basis: &'static str,
}

/// Errors on plans whose window was held out: no trace, no draft-pass time, no throughput of it
/// entered. Acceptance comes from the neighbouring windows' traces, draft time from the law over the
/// other windows. `None` where no plan was run in two blocks or more.
///
/// # Errors
/// No timed plain pass, or a trace that contradicts itself.
pub fn held_out(run: &Run, request: &Request) -> Result<Option<Errors>> {
    errors(run, request, true)
}

/// Errors with trace and passes of the plan known: this only checks the bookkeeping.
///
/// # Errors
/// As [`held_out`].
pub fn bookkeeping(run: &Run, request: &Request) -> Result<Option<Errors>> {
    errors(run, request, false)
}

fn errors(run: &Run, request: &Request, hold_out: bool) -> Result<Option<Errors>> {
    let blocks = Blocks::new(run, request.machine, request.seed);
    let measured: Vec<(&DraftPlan, &Plan, Estimate)> = blocks
        .plans()
        .into_keys()
        .filter_map(|plan| Some((plan.draft()?, plan, blocks.speedup(plan, &blocks.with(plan))?)))
        .collect();
    if measured.is_empty() || run.observations.traces.is_empty() {
        return Ok(None);
    }
    let table = TraceTable::new(&run.observations.traces)?;
    let costs = Costs::new(run, request.machine, &request.contexts)?;
    let context = Context { run, request, table: &table, costs: &costs };
    let plans: Vec<HeldOutPlan> = measured
        .into_iter()
        .filter_map(|(draft, plan, measured)| context.plan(draft, plan, measured, hold_out))
        .collect();
    let summary = summary(&plans);
    Ok(summary.map(|summary| Errors { plans, summary }))
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

/// What predicting one plan needs.
struct Context<'a> {
    run: &'a Run,
    request: &'a Request,
    table: &'a TraceTable<'a>,
    costs: &'a Costs,
}

impl Context<'_> {
    fn plan(
        &self,
        draft: &DraftPlan,
        plan: &Plan,
        measured: Estimate,
        hold_out: bool,
    ) -> Option<HeldOutPlan> {
        let (way, gamma): (Way, usize) =
            ((draft.drafting, draft.skip.clone()), draft.predictors.get());
        let texts = texts(self.run, self.request.machine, plan, self.table);
        let neighbours = Neighbours::new(self.table, &texts, draft.drafting, gamma);
        let (iterations, doubt) = match hold_out {
            true => neighbours.interpolated(&way.1)?,
            false => (neighbours.own(&way.1)?, 0.0),
        };
        let cost = match hold_out {
            true => self.costs.without(&way).of(&way, gamma).ok()?,
            false => self.costs.of(&way, gamma).ok()?,
        };
        let tokens: f64 = texts.iter().sum::<f64>();
        let value = tokens / iterations.iter().sum::<f64>() / cost.in_plain_steps();
        // The texts are the measured ones: only costs and interpolation are in doubt.
        let pool = Pool::new(self.request.seed);
        let same = vec![tokens / iterations.iter().sum::<f64>(); self.request.draws];
        let draws = speedup_draws(&cost, &same, [1, gamma + 1, 0], &pool);
        let noise = doubt.hypot((measured.high - measured.low) / 3.92 / measured.value);
        let moved = draws.iter().zip(pool.of(usize::MAX / 2)).map(|(s, z)| s * (1.0 + z * noise));
        Some(HeldOutPlan {
            plan: plan.clone(),
            predicted: interval(value, moved.collect(), usize::MAX),
            measured,
            error: (value / measured.value - 1.0).abs(),
        })
    }
}

/// Tokens after the first that were decoded of each traced prompt with `plan`; those of all traced
/// prompts where the names do not match.
fn texts(run: &Run, machine: usize, plan: &Plan, table: &TraceTable) -> Vec<f64> {
    let rows = run.observations.throughput.iter();
    let mut decoded: BTreeMap<&str, f64> = BTreeMap::new();
    for row in rows.filter(|row| row.machine == machine && row.plan == *plan) {
        decoded.insert(&row.id, row.tokens.saturating_sub(1) as f64);
    }
    let known = table.prompts.iter().any(|prompt| decoded.contains_key(prompt));
    let traced = |prompt: usize| {
        let mut traces = table.ways.values().filter_map(|row| row[prompt]);
        traces.next().map_or(0.0, |trace| trace.tokens() as f64 - 1.0)
    };
    (0..table.prompts.len())
        .map(|prompt| match known {
            true => decoded.get(table.prompts[prompt]).copied().unwrap_or(0.0),
            false => traced(prompt),
        })
        .collect()
}

/// Blocks of a sweep hold at least this many plans; blocks of its second measurement fewer.
const SWEEP_PLANS: usize = 13;

/// Regret by a second measurement: after blocks that swept many plans, later blocks that hold the
/// choice and the best of the sweep again; only those count, because the maximum of noisy values is
/// biased. `None` where no such blocks exist.
pub fn sweep_regret(run: &Run, blocks: &Blocks, choice: &Plan) -> Option<Regret> {
    let sizes = blocks.sizes();
    let last_sweep =
        sizes.iter().filter(|(_, plans)| **plans >= SWEEP_PLANS).map(|(b, _)| *b).max()?;
    let swept = blocks.plans().keys().filter(|plan| plan.draft().is_some()).count();
    let windows = run.header.model.shape.layers;
    if swept < Drafting::ALL.len() * windows * run.header.gamma_max {
        return None;
    }
    let second: Vec<usize> = blocks.with(choice).into_iter().filter(|b| *b > last_sweep).collect();
    let rivals: Vec<&Plan> = blocks
        .plans()
        .into_keys()
        .filter(|plan| plan.draft().is_some() && *plan != choice)
        .filter(|plan| second.iter().all(|block| blocks.ratio(*block, plan, choice).is_some()))
        .collect();
    if second.len() < 2 || rivals.is_empty() {
        return None;
    }
    let lost = |weights: &[u32]| -> Option<f64> {
        let of = |plan: &&Plan| {
            let ratios = second.iter().zip(weights).flat_map(|(block, &weight)| {
                let ratio = blocks.ratio(*block, plan, choice).unwrap_or(f64::NAN);
                vec![ratio; weight as usize]
            });
            median(&ratios.collect::<Vec<f64>>())
        };
        let best = rivals.iter().filter_map(of).fold(1.0, f64::max);
        Some(1.0 - best.recip())
    };
    let value = lost(&vec![1; second.len()])?;
    let resamples = Resamples::new(second.len(), 1000, run.header.seed);
    let draws = resamples.draws().filter_map(lost).collect();
    Some(Regret { estimate: interval(value, draws, second.len()), basis: "sweep" })
}
