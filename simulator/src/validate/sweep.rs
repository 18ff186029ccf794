//! Regret against a sweep: all symmetric windows, predictors and draftings were run end to end, then
//! the choice and the best of them once more.

use crate::optimize::measured::Blocks;
use crate::statistics::{Resamples, interval, median};
use s3d_data::{Drafting, Estimate, Plan, Run, ThroughputSample};
use serde::Serialize;

/// `1 - choice / best`, and how it was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Regret {
    /// The fraction of tokens per second lost, with its interval.
    pub estimate: Estimate,
    /// `sweep` or `bootstrap`.
    pub basis: &'static str,
}

/// Blocks of a sweep hold at least this many plans; blocks of its second measurement fewer.
const SWEEP_PLANS: usize = 13;

/// The last block that swept; `None` where fewer plans ran than all symmetric windows at all numbers
/// of predictors with both draftings.
fn last_sweep(run: &Run, blocks: &Blocks) -> Option<usize> {
    let swept = blocks.plans().keys().filter(|plan| plan.draft().is_some()).count();
    let all = Drafting::ALL.len() * run.header.model.shape.layers * run.header.gamma_max;
    let sizes = blocks.sizes();
    let sweeping = sizes.iter().filter(|(block, plans)| {
        **block < ThroughputSample::CONFIRMATION_FROM && **plans >= SWEEP_PLANS
    });
    (swept >= all).then(|| sweeping.map(|(block, _)| *block).max()).flatten()
}

/// The `count` plans other than `choice` that were fastest in the sweep: what the second measurement
/// sets beside the choice. Empty without a sweep.
pub fn rivals(run: &Run, blocks: &Blocks, choice: &Plan, count: usize) -> Vec<Plan> {
    let Some(last) = last_sweep(run, blocks) else { return Vec::new() };
    let sizes = blocks.sizes();
    let swept = |block: &usize| *block <= last && sizes[block] >= SWEEP_PLANS;
    let speedup = |plan: &Plan| {
        let own: Vec<usize> = blocks.with(plan).into_iter().filter(swept).collect();
        blocks.speedup(plan, &own).map(|speedup| speedup.value)
    };
    let others = blocks.plans().into_keys().filter(|p| p.draft().is_some() && *p != choice);
    let mut ranked: Vec<(f64, &Plan)> = others.filter_map(|p| Some((speedup(p)?, p))).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    ranked.into_iter().take(count).map(|(_, plan)| plan.clone()).collect()
}

/// Regret by a second measurement: after blocks that swept many plans, later blocks that hold the
/// choice and the best of the sweep again; only those count, because the maximum of noisy values is
/// biased. `None` where no such blocks exist.
pub fn sweep_regret(run: &Run, blocks: &Blocks, choice: &Plan) -> Option<Regret> {
    let last = last_sweep(run, blocks)?;
    let later = |block: &usize| *block > last && *block < ThroughputSample::CONFIRMATION_FROM;
    let second: Vec<usize> = blocks.with(choice).into_iter().filter(later).collect();
    let everywhere =
        |plan: &Plan| second.iter().all(|block| blocks.ratio(*block, plan, choice).is_some());
    let rivals: Vec<&Plan> = blocks
        .plans()
        .into_keys()
        .filter(|plan| plan.draft().is_some() && *plan != choice && everywhere(plan))
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
