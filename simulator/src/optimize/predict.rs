//! Predicted speedups with bootstrap draws: tokens per iteration by exact replay over resampled
//! prompts, costs moved by their standard errors. All plans share the same draws, so differences
//! between them are paired.

use crate::observed::{TraceTable, Way};
use crate::optimize::costs::{Costs, PlanCost};
use crate::replay::walk;
use crate::statistics::{Normals, Resamples, interval};
use rayon::prelude::*;
use s3d_data::{DraftPlan, Drafting, Estimate, Predictors, Trace};

/// Tokens and iterations of every prompt, by number of predictors.
#[derive(Debug, Clone)]
pub struct WayTable {
    /// What was traced.
    pub way: Way,
    /// Tokens after the first, by prompt; 0 where the prompt was not traced.
    pub tokens: Vec<u32>,
    /// `iterations[gamma - 1][prompt]`
    pub iterations: Vec<Vec<u32>>,
}

impl WayTable {
    /// Walks the traces of one way with 1 to `gamma_max` predictors.
    pub fn new(way: &Way, row: &[Option<&Trace>], gamma_max: usize) -> Self {
        let known = row.iter().flatten().filter_map(|trace| trace.gamma_max).min();
        let most = known.unwrap_or(gamma_max).min(gamma_max);
        let tokens = |trace: &Option<&Trace>| trace.map_or(0, |t| t.tokens() as u32 - 1);
        let walks = |gamma: usize| {
            let one = |trace: &Option<&Trace>| {
                trace.map_or(0, |t| walk(&t.accepted, gamma).iterations as u32)
            };
            row.iter().map(one).collect()
        };
        Self {
            way: way.clone(),
            tokens: row.iter().map(tokens).collect(),
            iterations: (1..=most).map(walks).collect(),
        }
    }

    /// All ways of a run.
    pub fn all(table: &TraceTable, gamma_max: usize) -> Vec<Self> {
        let ways: Vec<_> = table.ways.iter().collect();
        ways.into_par_iter().map(|(way, row)| Self::new(way, row, gamma_max)).collect()
    }

    /// Tokens per iteration over all prompts; `None` where there was no iteration.
    pub fn tokens_per_iteration(&self, predictors: usize) -> Option<f64> {
        let iterations: u32 = self.iterations.get(predictors.checked_sub(1)?)?.iter().sum();
        let tokens: u32 = self.tokens.iter().sum();
        (iterations > 0).then(|| f64::from(tokens) / f64::from(iterations))
    }
}

/// Deviates shared by all cells: each reads the pool from a place of its own on.
#[derive(Debug)]
pub struct Pool {
    deviates: Vec<f64>,
    draws: usize,
}

impl Pool {
    const PLACES: usize = 1 << 16;

    /// The pool of a seed, for `draws` draws.
    pub fn new(seed: u64, draws: usize) -> Self {
        let deviates = Normals::new(seed, u64::MAX).take(Self::PLACES + draws).collect();
        Self { deviates, draws }
    }

    /// The deviates of one cell, one per draw.
    pub fn of(&self, cell: usize) -> &[f64] {
        // An odd step visits every place before it repeats one.
        let start = cell.wrapping_mul(40_503) % Self::PLACES;
        &self.deviates[start..start + self.draws]
    }
}

/// A plan with its predicted speedup.
#[derive(Debug, Clone)]
pub struct Prediction {
    /// The plan.
    pub plan: DraftPlan,
    /// What an iteration costs.
    pub cost: PlanCost,
    /// Tokens per iteration over all prompts.
    pub tokens_per_iteration: Estimate,
    /// Predicted speedup.
    pub speedup: Estimate,
    /// Predicted speedup in each draw.
    pub draws: Vec<f64>,
}

/// Predicts every traced way and number of predictors whose cost is known.
pub fn predict(
    ways: &[WayTable],
    costs: &Costs,
    resamples: &Resamples,
    pool: &Pool,
) -> Vec<Prediction> {
    let indexed: Vec<_> = ways.iter().enumerate().collect();
    indexed
        .into_par_iter()
        .flat_map_iter(|(index, way)| {
            let tokens: Vec<f64> = resamples.draws().map(|w| dot(w, &way.tokens)).collect();
            let one =
                move |gamma: usize| predict_one(way, gamma, index, &tokens, costs, resamples, pool);
            (1..=way.iterations.len()).filter_map(one).collect::<Vec<_>>()
        })
        .collect()
}

fn predict_one(
    way: &WayTable,
    gamma: usize,
    index: usize,
    tokens: &[f64],
    costs: &Costs,
    resamples: &Resamples,
    pool: &Pool,
) -> Option<Prediction> {
    let cost = costs.of(&way.way, gamma).ok()?;
    let tokens_per_iteration = way.tokens_per_iteration(gamma)?;
    let iterations = &way.iterations[gamma - 1];
    let token_draws: Vec<f64> =
        resamples.draws().zip(tokens).map(|(w, tokens)| tokens / dot(w, iterations)).collect();
    // Sequential drafts of one window share one timed pass, hence one deviate.
    let width = if way.way.0 == Drafting::Simultaneous { gamma } else { 1 };
    let draft = Predictors::MAX * (index + 1) + width;
    let draws = speedup_draws(&cost, &token_draws, [draft, gamma + 1, 0], pool);
    let clusters = way.tokens.iter().filter(|tokens| **tokens > 0).count();
    let speedup = tokens_per_iteration / cost.in_plain_steps();
    Some(Prediction {
        plan: DraftPlan {
            drafting: way.way.0,
            skip: way.way.1.clone(),
            predictors: Predictors::new(gamma).ok()?,
        },
        cost,
        tokens_per_iteration: interval(tokens_per_iteration, token_draws, clusters),
        speedup: interval(speedup, draws.clone(), clusters),
        draws,
    })
}

/// Speedup in each draw; `cells` name the deviates of draft, verify and step.
pub fn speedup_draws(cost: &PlanCost, tokens: &[f64], cells: [usize; 3], pool: &Pool) -> Vec<f64> {
    let [draft, verify, step] = cells;
    let passes = pool.of(draft).iter().zip(pool.of(verify));
    let draw = |((tokens, (d, v)), s): ((&f64, (&f64, &f64)), &f64)| {
        let step = (cost.step.value + s * cost.step.error).max(0.0);
        let passes =
            cost.draft.value + d * cost.draft.error + cost.verify.value + v * cost.verify.error;
        tokens * (1.0 + step) / (passes + step)
    };
    tokens.iter().zip(passes).zip(pool.of(step)).map(draw).collect()
}

fn dot(weights: &[u32], values: &[u32]) -> f64 {
    f64::from(weights.iter().zip(values).map(|(w, v)| w * v).sum::<u32>())
}
