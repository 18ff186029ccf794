//! The fastest prediction under other conditions than the run's: context, memory budget, most
//! drafts.

use super::prediction::{Known, Pool, Texts, predict};
use crate::cost::measured::MeasuredCosts;
use crate::cost::memory::plan_memory;
use crate::error::Result;
use crate::predict::plans_run::known_runs;
use crate::predict::request::Request;
use crate::traces::table::TraceTable;
use s3d_data::{Estimate, Plan, Run};
use serde::Serialize;
use std::collections::BTreeSet;

/// Bootstrap draws behind each interval; there are many predictions, and each only orients.
const DRAWS: usize = 200;

/// What would be chosen under one condition, by prediction alone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Condition {
    /// Context, in tokens.
    pub context: usize,
    /// Memory that the plan must fit, in bytes; `u64::MAX` = no limit.
    pub memory_budget_bytes: u64,
    /// Most tokens drafted.
    pub gamma_max: usize,
    /// The fastest plan; null where none fits.
    pub plan: Option<Plan>,
    /// Its predicted speedup over plain decoding at that context.
    pub predicted: Option<Estimate>,
    /// Whether the context lies beyond those that were timed.
    pub extrapolated: bool,
}

/// A plan predicted at one context.
struct Candidate {
    plan: Plan,
    predictors: usize,
    /// Null where the model's shape is not known.
    peak_bytes: Option<u64>,
    speedup: Estimate,
}

/// The contexts that are worth asking beside `own`: shorter and longer ones, by factors of two,
/// that the model has positions for.
fn contexts_around(own: usize, positions: Option<usize>) -> Vec<usize> {
    let most = positions.unwrap_or(usize::MAX).max(own);
    let around = [own / 4, own / 2, own, own.saturating_mul(2), own.saturating_mul(4)];
    around.into_iter().filter(|context| (1..=most).contains(context)).collect()
}

/// The fastest prediction at contexts around the request's, for every number of drafts up to the
/// request's and for budgets worth asking: the least memory that a plan needs at each context, the
/// request's budget, none.
///
/// # Errors
/// What [`crate::choose()`] refuses.
pub fn conditions(run: &Run, request: &Request) -> Result<Vec<Condition>> {
    let table = TraceTable::of(run)?;
    if table.ways.is_empty() {
        return Ok(Vec::new());
    }
    let draws = request.draws.min(DRAWS);
    let texts = Texts::new(&table, request.gamma_max, draws, request.seed);
    let pool = Pool::new(request.seed, draws);
    let runs = known_runs(run, request, &table)?;
    let mut all = Vec::new();
    for context in contexts_around(request.context(), run.header.model.positions) {
        let costs = MeasuredCosts::new(run, request.machine, &[(context, 1.0)])?;
        let candidate = |prediction: super::prediction::Prediction| {
            let memory = plan_memory(run, &prediction.plan, (context, 1))?;
            Ok(Candidate {
                predictors: prediction.plan.predictors.get(),
                peak_bytes: memory.map(|memory| memory.peak_bytes.0),
                speedup: prediction.speedup,
                plan: Plan::Speculate(prediction.plan),
            })
        };
        let predicted = predict(&texts, &Known { costs: &costs, runs: &runs }, &pool)
            .into_iter()
            .map(candidate);
        all.push((context, costs.extrapolated(), predicted.collect::<Result<Vec<_>>>()?));
    }
    let least = |(.., candidates): &(_, _, Vec<Candidate>)| {
        candidates.iter().filter_map(|candidate| candidate.peak_bytes).min()
    };
    let own = request.memory_budget.map(|budget| budget.0);
    let budgets: BTreeSet<u64> =
        all.iter().filter_map(least).chain(own).chain([u64::MAX]).collect();
    let mut rows = Vec::new();
    for (context, extrapolated, candidates) in &all {
        for &memory_budget_bytes in &budgets {
            for gamma_max in 1..=request.gamma_max {
                let best = best(candidates, memory_budget_bytes, gamma_max);
                rows.push(Condition {
                    context: *context,
                    memory_budget_bytes,
                    gamma_max,
                    plan: best.map(|best| best.plan.clone()),
                    predicted: best.map(|best| best.speedup),
                    extrapolated: *extrapolated,
                });
            }
        }
    }
    Ok(rows)
}

fn best(candidates: &[Candidate], budget: u64, gamma_max: usize) -> Option<&Candidate> {
    let fits = |c: &&Candidate| {
        c.predictors <= gamma_max && c.peak_bytes.is_none_or(|bytes| bytes <= budget)
    };
    let value = |candidate: &Candidate| candidate.speedup.value;
    candidates.iter().filter(fits).max_by(|a, b| value(a).total_cmp(&value(b)))
}
