//! Regret against a sweep: all symmetric windows, predictors and draftings were run end to end,
//! then the choice and the best of them once more. Rates are ratios of totals over the blocks'
//! texts.

use crate::predict::blocks::Blocks;
use crate::predict::evaluated::Evaluated;
use crate::statistics::{Resamples, interval, quantile};
use s3d_data::{BlockPurpose, Drafting, Estimate, Plan, RegretBasis, Run};
use serde::Serialize;

/// `1 - choice / best`, and how it was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Regret {
    /// The fraction of tokens per second lost, with its interval.
    pub estimate: Estimate,
    /// `sweep` or `bootstrap`.
    pub basis: RegretBasis,
}

/// The blocks of a sweep, and those of its second measurement, which all hold the same few plans.
struct Rounds {
    swept: Vec<usize>,
    second: Vec<usize>,
}

/// The blocks by round; `None` where fewer plans ran than all symmetric windows at all numbers of
/// predictors with both draftings.
fn rounds(run: &Run, blocks: &Blocks) -> Option<Rounds> {
    let swept = blocks.plans().keys().filter(|plan| plan.draft().is_some()).count();
    let all = Drafting::ALL.len() * run.header.model.shape.layers * run.header.gamma_max.get();
    let mut sets = blocks.sets();
    sets.retain(|(block, _)| BlockPurpose::of(*block) == BlockPurpose::Explore);
    let last = sets.last()?.1.clone();
    let tail = sets.iter().rev().take_while(|(_, plans)| *plans == last).count();
    // A sweep's own blocks differ from one to the next, or hold everything.
    let second = if tail >= 2 && last.len() <= swept { tail } else { 0 };
    let numbers: Vec<usize> = sets.into_iter().map(|(block, _)| block).collect();
    let (swept_blocks, second) = numbers.split_at(numbers.len() - second);
    (swept >= all).then(|| Rounds { swept: swept_blocks.to_vec(), second: second.to_vec() })
}

/// The `count` plans other than `choice` that were fastest in the sweep: what the second
/// measurement sets beside the choice. Empty without a sweep.
pub fn rivals(run: &Run, blocks: &Blocks, choice: &Plan, count: usize) -> Vec<Plan> {
    let Some(rounds) = rounds(run, blocks) else { return Vec::new() };
    let speedup = |plan: &Plan| {
        let mut own = blocks.with(plan);
        own.retain(|block| rounds.swept.contains(block));
        blocks.total_rate(plan, own.into_iter().map(|block| (block, 1)))
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
    let Rounds { mut second, .. } = rounds(run, blocks)?;
    let holding = blocks.holding(choice);
    second.retain(|block| holding.contains(block));
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
        let weighted = || second.iter().copied().zip(weights.iter().copied());
        let own = blocks.total_rate(choice, weighted())?;
        let rates = rivals.iter().filter_map(|plan| blocks.total_rate(plan, weighted()));
        Some(1.0 - own / rates.fold(own, f64::max))
    };
    let value = lost(&vec![1; second.len()])?;
    let resamples = Resamples::new(second.len(), 1000, run.header.seed);
    let draws = resamples.draws().filter_map(lost).collect();
    Some(Regret { estimate: interval(value, draws, second.len()), basis: RegretBasis::Sweep })
}

/// By a second measurement where a sweep was made, else the bootstrap bound over predictions.
pub(super) fn regret(run: &Run, all: &Evaluated, choice: usize) -> Option<Regret> {
    let swept = sweep_regret(run, &all.blocks, &all.plan(choice));
    swept.or_else(|| {
        let mine = all.predictions[choice].draws.iter();
        let best = all.best_of_draws.iter();
        // A draw without a prompt of the plan says nothing about it.
        let lost = mine.zip(best).map(|(mine, (_, best))| 1.0 - mine / best);
        let lost: Vec<f64> = lost.filter(|lost| lost.is_finite()).collect();
        let middle = quantile(&lost, 0.5)?;
        Some(Regret {
            estimate: interval(middle, lost, all.prompts),
            basis: RegretBasis::Bootstrap,
        })
    })
}
