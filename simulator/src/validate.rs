//! How wrong is it? Prediction error on plans that were held out, interval coverage, regret, and the
//! waterfall from ideal to measured speedup (cost model, section 5).

pub mod block_sums;
pub mod control;
mod sweep;
pub mod waterfall;

pub use sweep::{Regret, rivals, sweep_regret};

use crate::choose::{Request, all_blocks};
use crate::error::Result;
use crate::predict::additive::Additive;
use crate::predict::calibration::{Calibration, Sample};
use crate::predict::costs::Costs;
use crate::predict::measured::Blocks;
use crate::predict::neighbours::Neighbours;
use crate::predict::prediction::{Pool, Texts, speedup_draws};
use crate::predict::reported::reported;
use crate::statistics::{interval, median, quantile};
use crate::traces::table::TraceTable;
use crate::traces::walk::walk;
use rayon::prelude::*;
use s3d_data::{DraftPlan, Estimate, Plan, PredictionError, Run, ThroughputSample};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A plan that was run end to end, with what was predicted of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeldOutPlan {
    /// The plan.
    pub plan: Plan,
    /// Predicted speedup; its interval is one for a measurement, whose own noise is in it.
    pub predicted: Estimate,
    /// Measured speedup: the one that is reported of the plan everywhere.
    pub measured: Estimate,
    /// `|predicted - measured| / measured`.
    pub error: f64,
    /// Whether the acceptance was extrapolated: no traced windows lie around this one.
    pub extrapolated: bool,
}

/// Prediction errors over plans.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Errors {
    /// Each plan.
    pub plans: Vec<HeldOutPlan>,
    /// Median, 95th percentile, coverage of the plans that lie between traced windows; of all where
    /// none does.
    pub summary: PredictionError,
    /// The same of the plans at the edge, whose acceptance had to be extrapolated.
    pub extrapolated: Option<PredictionError>,
}

/// Errors on plans whose window was held out: no trace, no draft-pass time, no throughput of it
/// entered. Acceptance comes from the neighbouring windows' traces, draft time from the law over the
/// other windows, corrected by what their end-to-end runs say about costs. `None` where no plan was run in two blocks or more.
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
    let judged = Judged::new(run, request, |_| true)?;
    let Some(mut judged) = judged else { return Ok(None) };
    let mut judgements = judged.judgements(false);
    if hold_out {
        let known: Vec<Sample> = judgements.iter().filter_map(Judgement::sample).collect();
        judged.context.known = Calibration::new(&known);
        judgements = judged.judgements(true);
    }
    let plans = beside_reported(run, request, judgements)?;
    let (edge, inside): (Vec<_>, Vec<_>) = plans.iter().partition(|plan| plan.extrapolated);
    let extrapolated = summary(&edge);
    let summary = summary(&inside).or_else(|| extrapolated.clone());
    Ok(summary.map(|summary| Errors { plans, summary, extrapolated }))
}

/// The judged plans in terms of all traced texts: measured is what is reported of the plan everywhere, predicted is
/// moved by the same factor, so that the error stays that on the texts that were run. Plans run in too few blocks to
/// be reported are left out.
fn beside_reported(
    run: &Run,
    request: &Request,
    judgements: Vec<Judgement>,
) -> Result<Vec<HeldOutPlan>> {
    let table = TraceTable::of(run)?;
    let texts = Texts::new(&table, request.gamma_max, request.draws, request.seed);
    let (timed, pool) = (all_blocks(run, request.machine), Pool::new(request.seed, request.draws));
    let moved = |judgement: Judgement| {
        let plan = judgement.plan;
        let measured = reported(&plan.plan, &texts, &timed, &pool)?.speedup;
        let factor = measured.value / plan.measured.value;
        Some(HeldOutPlan { predicted: plan.predicted.map(|p| p * factor), measured, ..plan })
    };
    Ok(judgements.into_iter().filter_map(moved).collect())
}

/// What end-to-end runs say about costs, by the blocks that help to choose: how far predicted and
/// measured speedups are apart where trace and passes are known.
///
/// # Errors
/// As [`held_out`].
pub(crate) fn known_runs(run: &Run, request: &Request) -> Result<Calibration> {
    let blocks = Blocks::new(run, request.machine, request.seed);
    let choosing: BTreeMap<&Plan, Vec<usize>> =
        blocks.plans().into_keys().map(|plan| (plan, blocks.purposes(plan).choosing())).collect();
    let chooses = |sample: &ThroughputSample| {
        choosing.get(&sample.plan).is_some_and(|blocks| blocks.contains(&sample.block))
    };
    let judged = Judged::new(run, request, chooses)?;
    let judgements = judged.map_or(Vec::new(), |judged| judged.judgements(false));
    let samples: Vec<Sample> = judgements.iter().filter_map(Judgement::sample).collect();
    Ok(Calibration::new(&samples))
}

/// The context that decoding had on average: half-way through its texts. What was measured there
/// must be predicted there, whatever the request asks.
fn mean_context(jobs: &BTreeMap<&Plan, Vec<Job>>) -> usize {
    let all: Vec<f64> =
        jobs.values().flatten().map(|job| job.prompt_tokens + job.tokens / 2.0).collect();
    (all.iter().sum::<f64>() / all.len().max(1) as f64).round() as usize
}

/// One generation of a traced prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Place of the prompt in the trace table.
    pub prompt: usize,
    /// Tokens of the prompt.
    pub prompt_tokens: f64,
    /// Tokens after the first.
    pub tokens: f64,
    /// Iterations that it took.
    pub iterations: f64,
}

/// All generations of speculative plans on prompts whose `places` in the table are known.
fn jobs<'a>(
    samples: &[&'a ThroughputSample],
    table: &TraceTable,
    places: &BTreeMap<&str, usize>,
) -> BTreeMap<&'a Plan, Vec<Job>> {
    let mut jobs: BTreeMap<&Plan, Vec<Job>> = BTreeMap::new();
    for sample in samples {
        let Some(&prompt) = places.get(sample.id.as_str()) else { continue };
        let trace = table.ways.values().find_map(|row| row[prompt]);
        jobs.entry(&sample.plan).or_default().push(Job {
            prompt,
            prompt_tokens: trace.map_or(0.0, |trace| trace.prompt as f64),
            tokens: sample.tokens as f64 - 1.0,
            iterations: sample.iterations as f64,
        });
    }
    jobs
}

fn summary(plans: &[&HeldOutPlan]) -> Option<PredictionError> {
    let errors: Vec<f64> = plans.iter().map(|plan| plan.error).collect();
    let inside = plans.iter().filter(|plan| plan.predicted.covers(plan.measured.value)).count();
    Some(PredictionError {
        median: median(&errors)?,
        p95: quantile(&errors, 0.95)?,
        coverage_95: inside as f64 / plans.len() as f64,
        held_out: plans.len(),
    })
}

/// The plans that were run end to end, and what predicting them needs.
struct Judged<'a> {
    context: Context<'a>,
    jobs: Vec<(&'a Plan, Vec<Job>)>,
}

impl<'a> Judged<'a> {
    /// Nothing where no plan was run end to end in blocks that `used` lets through.
    fn new(
        run: &'a Run,
        request: &'a Request,
        used: impl Fn(&ThroughputSample) -> bool,
    ) -> Result<Option<Self>> {
        // Sorting the traces of a large run is work for nothing where no plan was run.
        if run.observations.throughput.is_empty() {
            return Ok(None);
        }
        let table = TraceTable::of(run)?;
        let here = || run.observations.throughput.iter().filter(|s| s.machine == request.machine);
        let common = table.common();
        let traced = |s: &ThroughputSample| common.contains_key(s.id.as_str());
        let speculative = |s: &&ThroughputSample| s.plan.draft().is_some() && s.tokens > 1;
        let samples: Vec<&ThroughputSample> =
            here().filter(speculative).filter(|s| traced(s) && used(s)).collect();
        let jobs = jobs(&samples, &table, &common);
        if jobs.is_empty() {
            return Ok(None);
        }
        let contexts = [(mean_context(&jobs), 1.0)];
        let blocks: BTreeSet<usize> = samples.iter().map(|sample| sample.block).collect();
        let beside = here().filter(|s| s.plan == Plan::Plain && blocks.contains(&s.block));
        let context = Context {
            request,
            table,
            costs: Costs::new(run, request.machine, &contexts)?,
            timed: Additive::fit(samples.iter().copied().chain(beside)),
            layers: run.header.model.shape.layers,
            known: Calibration::default(),
        };
        Ok(Some(Self { context, jobs: jobs.into_iter().collect() }))
    }

    fn judgements(&self, hold_out: bool) -> Vec<Judgement> {
        let one = |(plan, jobs): &(&Plan, Vec<Job>)| self.context.plan(plan, jobs, hold_out);
        self.jobs.par_iter().filter_map(one).collect()
    }
}

/// What predicting one plan needs.
struct Context<'a> {
    request: &'a Request,
    table: TraceTable<'a>,
    costs: Costs,
    timed: Additive<'a>,
    layers: usize,
    /// How far prediction and measurement are apart where trace and passes are known.
    known: Calibration,
}

/// A plan beside its prediction.
struct Judgement {
    plan: HeldOutPlan,
    /// Relative standard error of the measurement: of timing, since the prediction is for the same texts.
    timing: f64,
}

impl Judgement {
    /// What a plan with known trace and passes says about costs.
    fn sample(&self) -> Option<Sample> {
        Some(Sample {
            plan: self.plan.plan.draft()?.clone(),
            log_ratio: (self.plan.predicted.value / self.plan.measured.value).ln(),
            error: self.timing,
        })
    }
}

impl Context<'_> {
    /// Predicts what was measured on the same texts: their tokens per iteration, which are counted, over what an
    /// iteration costs.
    fn plan(&self, plan: &Plan, jobs: &[Job], hold_out: bool) -> Option<Judgement> {
        let draft: &DraftPlan = plan.draft()?;
        let (way, gamma) = (draft.draft(), draft.predictors.get());
        let sum = |of: fn(&Job) -> f64| jobs.iter().map(of).sum::<f64>();
        let counted = sum(|job| job.tokens) / sum(|job| job.iterations);
        let iteration = self.timed.iteration_cost(plan)?;
        let (low, high) = iteration.ends();
        let measured = Estimate::new(counted / iteration.value, counted / high, counted / low);
        let timing = counted * (low.recip() - high.recip()) / 3.92 / measured.value;
        let neighbours = Neighbours::new(&self.table, jobs, self.layers, draft.drafting, gamma);
        let (guess, cost) = match hold_out {
            true => {
                (neighbours.without(&way.skip)?, self.costs.without(&way).of(&way, gamma).ok()?)
            }
            false => (neighbours.own(&way.skip)?, self.costs.of(&way, gamma).ok()?),
        };
        let correction = self.known.of(draft);
        let cost = cost.slower(correction.factor.recip());
        let tokens = sum(|job| job.tokens) / guess.iterations.iter().sum::<f64>();
        // Of a measurement: costs and interpolation are in doubt, and the measurement is noisy.
        let noise = guess.doubt.hypot(timing).hypot(correction.error);
        let pool = Pool::new(self.request.seed, self.request.draws);
        let same = vec![tokens; self.request.draws];
        let draws = speedup_draws(&cost, &same, [1, gamma + 1, 0], &pool);
        let moved = draws.iter().zip(pool.of(usize::MAX / 2)).map(|(s, z)| s * (1.0 + z * noise));
        let value = tokens / cost.in_plain_steps();
        let plan = HeldOutPlan {
            plan: plan.clone(),
            predicted: interval(value, moved.collect(), usize::MAX),
            measured,
            error: (value / measured.value - 1.0).abs(),
            extrapolated: !guess.inside,
        };
        Some(Judgement { plan, timing })
    }
}

/// Whether generations took exactly the iterations that their traces replay.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ReplayCheck {
    /// Speculative generations whose plan and prompt were traced.
    pub compared: usize,
    /// Those with equal iterations.
    pub equal: usize,
    /// The first that differs, in words.
    pub first_difference: Option<String>,
}

/// Compares every generation with the replay of its trace, cut to the tokens that were generated.
///
/// # Errors
/// A trace that contradicts itself.
pub fn replayed_iterations(run: &Run) -> Result<ReplayCheck> {
    let table = TraceTable::of(run)?;
    let place: BTreeMap<&str, usize> =
        table.prompts.iter().enumerate().map(|(place, prompt)| (*prompt, place)).collect();
    let mut check = ReplayCheck::default();
    for sample in &run.observations.throughput {
        let Some(draft) = sample.plan.draft() else { continue };
        let way = draft.draft();
        let row = table.ways.get(&way).zip(place.get(sample.id.as_str()));
        let Some(trace) = row.and_then(|(row, &place)| row[place]) else { continue };
        if trace.tokens() < sample.tokens {
            continue;
        }
        let replayed = walk(&trace.accepted[..sample.tokens], draft.predictors.get()).iterations;
        check.compared += 1;
        if replayed == sample.iterations as u64 {
            check.equal += 1;
        } else if check.first_difference.is_none() {
            check.first_difference = Some(format!(
                "plan {}, prompt '{}': {} iterations generated, {replayed} replayed",
                sample.plan, sample.id, sample.iterations
            ));
        }
    }
    Ok(check)
}
