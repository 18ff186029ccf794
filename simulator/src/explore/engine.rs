//! Why speculation is, or is not, faster on an engine: what wide passes cost there, the acceptance
//! at which each draft length breaks even, the draft length that pays at an acceptance that someone
//! gives, and what the engine itself measured. None of it needs traces.

use crate::cost::improvement::break_even_acceptance;
use crate::cost::measured::MeasuredCosts;
use crate::cost::summary::{FullPass, full_passes};
use crate::cost::what_if::Rates;
use crate::error::Result;
use crate::predict::blocks::Blocks;
use crate::predict::request::Request;
use crate::tokens::curves::AcceptanceRate;
use crate::tokens::expected::expected_tokens;
use crate::traces::table::skipped_layers;
use s3d_data::{
    Component, Draft, DraftPlan, Drafting, Estimate, Plan, Predictors, Run, Skip, SkipRatio,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What is said of an engine; parts that the run does not hold are empty.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Engine {
    /// Full passes by width: `t(w)` and `t(w) / t(1)`.
    pub passes: Vec<FullPass>,
    /// Every draft length of some drafts, with the acceptance that it needs.
    pub break_even: Vec<BreakEven>,
    /// The draft length that pays best at the given acceptance; null without one, or where nothing
    /// is timed.
    pub pays: Option<BreakEven>,
    /// What the engine measured by itself, against plain decoding.
    pub measured: Vec<Measured>,
}

/// A draft length of one draft.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BreakEven {
    /// The plan.
    pub plan: Plan,
    /// How drafts are made.
    pub drafting: Drafting,
    /// Tokens drafted.
    pub predictors: usize,
    /// Time of a draft pass over one token, over that of a full one.
    pub draft_share: f64,
    /// Tokens per iteration that break even: the cost of an iteration in plain steps.
    pub tokens_per_iteration: f64,
    /// Equal acceptance of every draft that breaks even; null where even full acceptance loses.
    pub acceptance: Option<f64>,
    /// Speedup over plain decoding at the given acceptance.
    pub speedup: Option<f64>,
}

/// What the engine measured of one plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// The plan.
    pub plan: Plan,
    /// Tokens per iteration.
    pub tokens_per_iteration: f64,
    /// Tokens per iteration that break even: seconds of an iteration over those of a plain step;
    /// null where plain decoding was not measured.
    pub break_even_tokens: Option<f64>,
    /// Speedup over plain decoding; null where that was not measured.
    pub speedup: Option<Estimate>,
    /// Tokens per second.
    pub tokens_per_s: f64,
}

/// Shares of a full pass that a draft pass is looked at for, where every window was timed.
const SHARES: [f64; 3] = [0.1, 0.25, 0.5];

/// Says of `run` what it holds; `rates` is an acceptance that someone gives.
///
/// # Errors
/// What `rates` refuses.
pub fn engine(run: &Run, request: &Request, rates: Option<&Rates>) -> Result<Engine> {
    let costs = MeasuredCosts::new(run, request.machine, &request.contexts).ok();
    let passes = full_passes(run, request.machine, request.context()).unwrap_or_default();
    let break_even = match &costs {
        Some(costs) if passes.len() > 1 => lengths(run, request, costs, rates)?,
        _ => Vec::new(),
    };
    let speedup = |row: &BreakEven| row.speedup.unwrap_or(0.0);
    let pays = break_even.iter().filter(|row| row.speedup.is_some());
    let pays = pays.max_by(|a, b| speedup(a).total_cmp(&speedup(b))).cloned();
    Ok(Engine { passes, break_even, pays, measured: measured(run, request) })
}

/// Every draft length of the drafts that are looked at.
fn lengths(
    run: &Run,
    request: &Request,
    costs: &MeasuredCosts,
    rates: Option<&Rates>,
) -> Result<Vec<BreakEven>> {
    let mut rows = Vec::new();
    for drafting in draftings(run) {
        for skip in looked_at(run) {
            for predictors in 1..=request.gamma_max {
                rows.extend(length(
                    run,
                    costs,
                    Draft { drafting, skip: skip.clone() },
                    predictors,
                    rates,
                )?);
            }
        }
    }
    Ok(rows)
}

/// Those of the traces; else one after the other, where draft passes are of that kind alone; else
/// both.
fn draftings(run: &Run) -> Vec<Drafting> {
    let traced: BTreeSet<Drafting> =
        run.observations.traces.iter().filter_map(|trace| trace.drafting).collect();
    if !traced.is_empty() {
        return traced.into_iter().collect();
    }
    let drafts = run.observations.latency.iter().filter_map(|s| s.plan.as_ref()?.draft());
    let timed: BTreeSet<Drafting> = drafts.map(|draft| draft.drafting).collect();
    match timed.contains(&Drafting::Simultaneous) || timed.is_empty() {
        true => Drafting::ALL.to_vec(),
        false => vec![Drafting::Sequential],
    }
}

/// Skips whose draft pass was timed; of many those that keep about [`SHARES`] of the layers.
fn looked_at(run: &Run) -> Vec<Skip> {
    let layers = run.header.model.shape.layers as f64;
    let draft = |plan: &Plan| plan.draft().map(|draft| draft.skip.clone());
    let samples = run.observations.latency.iter();
    let timed: BTreeSet<Skip> = samples
        .filter(|sample| sample.component == Component::DraftPass)
        .filter_map(|sample| draft(sample.plan.as_ref()?))
        .collect();
    if timed.len() <= SHARES.len() {
        return timed.into_iter().collect();
    }
    let kept = |skip: &Skip| 1.0 - skipped_layers(skip) / layers;
    let nearest = |share: &f64| {
        let off = |skip: &Skip| (kept(skip) - share).abs();
        timed.iter().min_by(|a, b| off(a).total_cmp(&off(b))).cloned()
    };
    let some: BTreeSet<Skip> = SHARES.iter().filter_map(nearest).collect();
    some.into_iter().collect()
}

/// One draft length; none where its cost is not known.
fn length(
    run: &Run,
    costs: &MeasuredCosts,
    way: Draft,
    predictors: usize,
    rates: Option<&Rates>,
) -> Result<Option<BreakEven>> {
    let (Ok(cost), Ok(one)) = (costs.of(&way, predictors), costs.of(&way, 1)) else {
        return Ok(None);
    };
    let count = Predictors::new(predictors)?;
    let ratio = skipped_layers(&way.skip) / run.header.model.shape.layers.max(1) as f64;
    let alpha = rates.map(|rates| at(rates, SkipRatio::new(ratio)?, count)).transpose()?.flatten();
    Ok(Some(BreakEven {
        plan: Plan::Speculate(DraftPlan {
            drafting: way.drafting,
            skip: way.skip,
            predictors: count,
        }),
        drafting: way.drafting,
        predictors,
        draft_share: one.draft.value,
        tokens_per_iteration: cost.in_plain_steps(),
        acceptance: break_even_acceptance(&cost, predictors).map(AcceptanceRate::get),
        speedup: alpha.map(|alpha| cost.improvement(expected_tokens(&alpha))),
    }))
}

/// The given acceptance of `count` drafts; one rate serves all, a list as many as it is long.
fn at(rates: &Rates, ratio: SkipRatio, count: Predictors) -> Result<Option<Vec<AcceptanceRate>>> {
    match rates {
        Rates::PerPredictor(list) => Ok(match list.as_slice() {
            [one] => Some(vec![*one; count.get()]),
            list => list.get(..count.get()).map(<[_]>::to_vec),
        }),
        curves => curves.at(ratio, count).map(Some),
    }
}

/// Plans that were run end to end, against plain decoding of the same texts.
fn measured(run: &Run, request: &Request) -> Vec<Measured> {
    let blocks = Blocks::new(run, request.machine, request.seed);
    let mut totals: BTreeMap<&Plan, (f64, f64, f64)> = BTreeMap::new();
    let mine = run.observations.throughput.iter().filter(|s| s.machine == request.machine);
    for sample in mine.filter(|sample| sample.iterations > 0) {
        let total = totals.entry(&sample.plan).or_default();
        // The prompt pass commits the first token.
        total.0 += sample.tokens.saturating_sub(1) as f64;
        total.1 += sample.iterations as f64;
        total.2 += sample.decode_seconds().0;
    }
    let plain_step = totals.get(&Plan::Plain).map(|(_, steps, seconds)| seconds / steps);
    let row = |(plan, (tokens, iterations, seconds)): (&&Plan, &(f64, f64, f64))| {
        plan.draft()?;
        let beside = blocks.with(plan);
        let alone = || blocks.ratio(*beside.first()?, plan, &Plan::Plain).map(Estimate::alone);
        Some(Measured {
            plan: (*plan).clone(),
            tokens_per_iteration: tokens / iterations,
            break_even_tokens: plain_step.map(|step| seconds / iterations / step),
            speedup: blocks.total_speedup(plan, &beside).or_else(alone),
            tokens_per_s: tokens / seconds,
        })
    };
    totals.iter().filter_map(row).collect()
}
