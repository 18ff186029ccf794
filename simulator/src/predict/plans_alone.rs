//! Plans known by their end-to-end blocks alone, without any trace: what is measured of each, and
//! what choosing among them needs.

use crate::cost::model::{IterationCost, PassTime};
use crate::error::Result;
use crate::predict::prediction::Prediction;
use crate::predict::reported::{ENOUGH_BLOCKS, ENOUGH_TEXTS, speedup_of};
use crate::predict::request::Request;
use crate::predict::walked::Walked;
use s3d_data::{Estimate, Plan, Run, Seconds, ThroughputSample};

/// A plan that was run beside plain decoding.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredPlan {
    /// The plan.
    pub plan: Plan,
    /// Blocks that hold it beside plain decoding.
    pub blocks: usize,
    /// Its speedup over plain decoding, as it is reported everywhere; null where too few blocks or
    /// texts were run.
    pub speedup: Option<Estimate>,
    /// What it is so far, whatever the number of blocks; null where that cannot be told.
    pub so_far: Option<f64>,
}

impl MeasuredPlan {
    /// What it is, or what is missing, in words.
    pub fn words(&self) -> String {
        let Self { plan, blocks, .. } = self;
        match (self.speedup, self.so_far) {
            (Some(speedup), _) => {
                format!("plan {plan} is {speedup:#} times plain decoding, over {blocks} blocks")
            }
            (None, so_far) => {
                let so_far = so_far.map(|so_far| format!("; so far {so_far:.2} times"));
                format!(
                    "plan {plan}: {blocks} blocks; a speedup over plain decoding needs \
                     {ENOUGH_BLOCKS} blocks and {ENOUGH_TEXTS} texts{}",
                    so_far.unwrap_or_default()
                )
            }
        }
    }
}

/// Every plan that ran beside plain decoding, the fastest first.
///
/// # Errors
/// A trace that contradicts itself, a machine that the run does not have.
pub fn measured_plans(run: &Run, request: &Request) -> Result<Vec<MeasuredPlan>> {
    request.check(run)?;
    let walked = Walked::new(run, request)?;
    let measured = |plan: &Plan| MeasuredPlan {
        plan: plan.clone(),
        blocks: walked.timed.blocks(plan),
        speedup: walked.reported_or_counted(plan).map(|reported| reported.speedup),
        so_far: walked.so_far(plan),
    };
    let mut plans: Vec<MeasuredPlan> = walked.timed.plans().map(measured).collect();
    let value = |plan: &MeasuredPlan| plan.so_far.unwrap_or(0.0);
    plans.sort_by(|a, b| value(b).total_cmp(&value(a)));
    Ok(plans)
}

/// What choosing needs of each plan that was run: nothing here is predicted, an iteration costs
/// what it cost in the blocks.
pub(crate) fn as_predictions(run: &Run, request: &Request, walked: &Walked) -> Vec<Prediction> {
    let one = |plan: &Plan| {
        let tokens = walked.counted.of(plan)?;
        let found = speedup_of(plan, &tokens, &walked.timed, &walked.pool)?;
        Some(Prediction {
            plan: plan.draft()?.clone(),
            cost: cost(run, request, walked, plan)?,
            tokens_per_iteration: tokens.estimate(),
            readings: None,
            counted: None,
            speedup: found.speedup,
            draws: found.draws,
        })
    };
    walked.counted.plans().filter_map(one).collect()
}

/// The cost of an iteration in plain steps, divided into drafting and the rest as the clock did.
fn cost(run: &Run, request: &Request, walked: &Walked, plan: &Plan) -> Option<IterationCost> {
    let (log, error) = walked.timed.log_cost(plan)?;
    let own = |s: &&ThroughputSample| s.machine == request.machine && s.plan == *plan;
    let samples = run.observations.throughput.iter().filter(own);
    let add = |sum: (Seconds, Seconds), s: &ThroughputSample| {
        (sum.0 + s.draft_seconds, sum.1 + s.draft_seconds + s.verify_seconds)
    };
    let (draft, both) = samples.fold((Seconds::ZERO, Seconds::ZERO), add);
    let share = if both > Seconds::ZERO { draft / both } else { 0.0 };
    let part = |share: f64| PassTime {
        value: share * log.exp(),
        error: share * log.exp() * error,
        timed: true,
    };
    let step = PassTime::exact(0.0);
    Some(IterationCost { plain: 1.0, draft: part(share), verify: part(1.0 - share), step })
}
