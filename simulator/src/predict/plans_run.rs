//! Plans that were run end to end, each beside what would be predicted of it: they say how far
//! predicted costs are off, and how wrong predictions are.

use crate::cost::measured::MeasuredCosts;
use crate::error::Result;
use crate::predict::additive::{Additive, StartSpread};
use crate::predict::blocks::Blocks;
use crate::predict::calibration::{Calibration, Sample};
use crate::predict::neighbours::Neighbours;
use crate::predict::prediction::{Pool, speedup_draws};
use crate::predict::request::Request;
use crate::predict::timing_error::TimingError;
use crate::statistics::interval;
use crate::traces::table::TraceTable;
use rayon::prelude::*;
use s3d_data::{DraftPlan, Drafting, Estimate, Plan, Run, ThroughputSample};
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
}

/// What end-to-end runs say about costs, by the blocks that help to choose: how far predicted and
/// measured speedups are apart where trace and passes are known.
///
/// # Errors
/// As [`held_out`].
pub(crate) fn known_runs<'a>(
    run: &'a Run,
    request: &'a Request,
    table: &'a TraceTable<'a>,
) -> Result<Calibration> {
    let blocks = Blocks::new(run, request.machine, request.seed);
    let choosing: BTreeMap<&Plan, Vec<usize>> =
        blocks.plans().into_keys().map(|plan| (plan, blocks.purposes(plan).choosing())).collect();
    let chooses = |sample: &ThroughputSample| {
        choosing.get(&sample.plan).is_some_and(|blocks| blocks.contains(&sample.block))
    };
    let ran = PlansRun::new(run, request, table, chooses)?;
    let predicted = ran.map_or(Vec::new(), |ran| ran.predicted(false));
    let samples: Vec<Sample> = predicted.iter().filter_map(PlanRun::sample).collect();
    Ok(Calibration::new(&samples))
}

/// The context that decoding had on average: half-way through its texts, of those whose traces say
/// how long their prompts are; nothing without any. What was measured there must be predicted
/// there, whatever the request asks.
fn mean_context(samples: &[&ThroughputSample], table: &TraceTable) -> Option<usize> {
    let middle = |sample: &&ThroughputSample| {
        let place = table.prompts.binary_search(&sample.id.as_str()).ok()?;
        let trace = table.ways.values().find_map(|row| row[place])?;
        Some(trace.prompt as f64 + (sample.tokens as f64 - 1.0) / 2.0)
    };
    let all: Vec<f64> = samples.iter().filter_map(middle).collect();
    (!all.is_empty()).then(|| (all.iter().sum::<f64>() / all.len() as f64).round() as usize)
}

/// The traced windows, walked once for each drafting and number of drafts of `plans`.
fn neighbours(
    plans: &BTreeSet<&Plan>,
    table: &TraceTable,
    layers: usize,
) -> BTreeMap<(Drafting, usize), Neighbours> {
    let drafts = plans.iter().filter_map(|plan| plan.draft());
    let keys: BTreeSet<_> = drafts.map(|draft| (draft.drafting, draft.predictors.get())).collect();
    let walked = |key: (Drafting, usize)| (key, Neighbours::new(table, layers, key.0, key.1));
    keys.into_par_iter().map(walked).collect()
}

/// The plans that were run end to end, and what predicting them needs.
pub(super) struct PlansRun<'a> {
    pub(super) evidence: Evidence<'a>,
    plans: BTreeSet<&'a Plan>,
}

impl<'a> PlansRun<'a> {
    /// Nothing where no plan was run end to end in blocks that `used` lets through.
    pub(super) fn new(
        run: &'a Run,
        request: &'a Request,
        table: &'a TraceTable<'a>,
        used: impl Fn(&ThroughputSample) -> bool,
    ) -> Result<Option<Self>> {
        if run.observations.throughput.is_empty() {
            return Ok(None);
        }
        let here = || run.observations.throughput.iter().filter(|s| s.machine == request.machine);
        let speculative = |s: &&ThroughputSample| s.plan.draft().is_some() && s.tokens > 1;
        let samples: Vec<&ThroughputSample> =
            here().filter(speculative).filter(|s| used(s)).collect();
        let Some(context) = mean_context(&samples, table) else { return Ok(None) };
        let contexts = [(context, 1.0)];
        let blocks: BTreeSet<usize> = samples.iter().map(|sample| sample.block).collect();
        let beside = here().filter(|s| s.plan == Plan::Plain && blocks.contains(&s.block));
        let plans: BTreeSet<&Plan> = samples.iter().map(|sample| &sample.plan).collect();
        let evidence = Evidence {
            request,
            neighbours: neighbours(&plans, table, run.header.model.shape.layers),
            costs: MeasuredCosts::new(run, request.machine, &contexts)?,
            timed: Additive::fit(
                samples.iter().copied().chain(beside),
                StartSpread::of(run.header.starts.as_ref()),
            ),
            known: Calibration::default(),
        };
        Ok(Some(Self { evidence, plans }))
    }

    /// The plans.
    pub(super) fn plans(&self) -> impl Iterator<Item = &'a Plan> {
        self.plans.iter().copied()
    }

    pub(super) fn predicted(&self, hold_out: bool) -> Vec<PlanRun> {
        let plans: Vec<&Plan> = self.plans().collect();
        plans.par_iter().filter_map(|plan| self.evidence.plan(plan, hold_out)).collect()
    }
}

/// What predicting one plan needs.
pub(super) struct Evidence<'a> {
    request: &'a Request,
    /// The traced windows by drafting and number of drafts.
    neighbours: BTreeMap<(Drafting, usize), Neighbours>,
    costs: MeasuredCosts,
    timed: Additive<'a>,
    /// How far prediction and measurement are apart where trace and passes are known.
    pub(super) known: Calibration,
}

/// A plan beside its prediction.
pub(super) struct PlanRun {
    pub(super) plan: HeldOutPlan,
    /// Error of the measurement: that of timing, since the prediction is for the same texts.
    timing: TimingError,
}

impl PlanRun {
    /// What a plan with known trace and passes says about costs.
    pub(super) fn sample(&self) -> Option<Sample> {
        Some(Sample {
            plan: self.plan.plan.draft()?.clone(),
            log_ratio: (self.plan.predicted.value / self.plan.measured.value).ln(),
            error: self.timing.clone(),
        })
    }
}

impl Evidence<'_> {
    /// What was measured and what is predicted of a plan, both along the texts that most windows
    /// were traced along: their tokens per iteration over what an iteration costs.
    fn plan(&self, plan: &Plan, hold_out: bool) -> Option<PlanRun> {
        let draft: &DraftPlan = plan.draft()?;
        let (way, gamma) = (draft.draft(), draft.predictors.get());
        let neighbours = self.neighbours.get(&(draft.drafting, gamma))?;
        let own = neighbours.own(&way.skip)?;
        let counted = own.tokens_per_iteration;
        let iteration = self.timed.iteration_cost(plan)?;
        let (low, high) = iteration.ends();
        let measured = Estimate::new(counted / iteration.value, counted / high, counted / low);
        let timing = self.timed.timing_error(plan)?;
        let (guess, cost) = match hold_out {
            true => {
                (neighbours.without(&way.skip)?, self.costs.without(&way).of(&way, gamma).ok()?)
            }
            false => (own, self.costs.of(&way, gamma).ok()?),
        };
        let correction = self.known.of_measurement(draft, timing);
        let cost = cost.slower(correction.factor.recip());
        let tokens = guess.tokens_per_iteration;
        // Of a measurement: costs and interpolation are in doubt, and the measurement is noisy.
        let noise = guess.doubt.hypot(correction.error);
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
        };
        Some(PlanRun { plan, timing: timing.clone() })
    }
}
