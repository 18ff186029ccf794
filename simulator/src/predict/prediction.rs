//! Predicted speedups with bootstrap draws: tokens per iteration by exact replay over resampled
//! prompts, costs moved by their standard errors. All plans share the same draws, so differences
//! between them are paired.

use crate::cost::measured::MeasuredCosts;
use crate::cost::model::IterationCost;
use crate::predict::calibration::{Calibration, Correction};
use crate::statistics::{Normals, Resamples, Z95, interval, product};
use crate::traces::table::TraceTable;
use crate::traces::walk::{favourable, walk, walk_text};
use rayon::prelude::*;
use s3d_data::{Draft, DraftPlan, Drafting, Estimate, Predictors, Trace};
use std::collections::BTreeMap;
use std::ops::AddAssign;

/// Tokens and iterations of every prompt, by number of predictors.
#[derive(Debug, Clone)]
pub struct WayTable {
    /// What was traced.
    pub way: Draft,
    /// Tokens after the first, by prompt; 0 where the prompt was not traced.
    pub tokens: Vec<u32>,
    /// `iterations[gamma - 1][prompt]`; of drawn texts, what to expect.
    pub iterations: Vec<Vec<f64>>,
    /// The same by the favourable reading of counts (`favourable`). It differs only where fewer
    /// drafts than were counted are walked.
    pub favourable: Vec<Vec<f64>>,
    /// Drafts per iteration of the counts that the traces were written out from, where they were.
    pub counted: Option<usize>,
}

impl WayTable {
    /// Walks the traces of one way with 1 to `gamma_max` predictors.
    pub fn new(way: &Draft, row: &[Option<&Trace>], gamma_max: usize) -> Self {
        let known = row.iter().flatten().filter_map(|trace| trace.gamma_max).min();
        let known = known.map(Predictors::get);
        let most = known.unwrap_or(gamma_max).min(gamma_max);
        let tokens = |trace: &Option<&Trace>| trace.map_or(0, |t| t.tokens() as u32 - 1);
        let counted = row
            .iter()
            .flatten()
            .filter_map(|trace| trace.counted_drafts)
            .max()
            .map(Predictors::get);
        let iterations = walks(row, most, |_| None);
        let favourable = walks(row, most, |trace| {
            trace.counted_drafts.map(|counted| favourable(&trace.accepted, counted.get()))
        });
        let tokens = row.iter().map(tokens).collect();
        Self { way: way.clone(), tokens, iterations, favourable, counted }
    }

    /// All ways of a run.
    pub fn all(table: &TraceTable, gamma_max: usize) -> Vec<Self> {
        let ways: Vec<_> = table.ways.iter().collect();
        ways.into_par_iter().map(|(way, row)| Self::new(way, row, gamma_max)).collect()
    }

    /// Tokens per iteration over all prompts, of counts by the less favourable reading; `None`
    /// where there was no iteration.
    pub fn tokens_per_iteration(&self, predictors: usize) -> Option<f64> {
        self.readings(predictors).map(|(low, _)| low)
    }

    /// Tokens per iteration by both readings of counts; the same twice for traces, and for as many
    /// drafts as were counted.
    pub fn readings(&self, predictors: usize) -> Option<(f64, f64)> {
        let index = predictors.checked_sub(1)?;
        let tokens: u32 = self.tokens.iter().sum();
        let rate = |iterations: &[Vec<f64>]| {
            let iterations: f64 = iterations.get(index)?.iter().sum();
            (iterations > 0.0).then(|| f64::from(tokens) / iterations)
        };
        Some((rate(&self.iterations)?, rate(&self.favourable)?))
    }
}

/// Iterations at 1 to `most` drafts of every prompt, by another reading of its trace where `read`
/// has one; 0 where there is no trace.
fn walks(
    row: &[Option<&Trace>],
    most: usize,
    read: impl Fn(&Trace) -> Option<Vec<u32>>,
) -> Vec<Vec<f64>> {
    let texts: Vec<_> = row.iter().map(|trace| trace.map(|trace| (trace, read(trace)))).collect();
    let one = |text: &Option<(&Trace, Option<Vec<u32>>)>, gamma| match text {
        Some((_, Some(accepted))) => walk(accepted, gamma).iterations as f64,
        Some((trace, None)) => walk_text(trace, trace.tokens(), gamma).iterations,
        None => 0.0,
    };
    (1..=most).map(|gamma| texts.iter().map(|text| one(text, gamma)).collect()).collect()
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

    /// Number of draws.
    pub fn draws(&self) -> usize {
        self.draws
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
    pub cost: IterationCost,
    /// Tokens per iteration over all prompts.
    pub tokens_per_iteration: Estimate,
    /// Tokens per iteration by both readings of counts, where more drafts were counted than these.
    pub readings: Option<(f64, f64)>,
    /// Drafts per iteration that were counted, where the traces come from counts.
    pub counted: Option<usize>,
    /// Predicted speedup.
    pub speedup: Estimate,
    /// Predicted speedup in each draw.
    pub draws: Vec<f64>,
}

/// What is known of costs: passes timed in situ, and how far plans that were run end to end are
/// off.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Pass times.
    pub costs: &'a MeasuredCosts,
    /// Plans that were run end to end.
    pub runs: &'a Calibration,
}

/// Tokens per iteration of every traced way over all texts, and in draws of texts.
#[derive(Debug)]
pub struct Texts {
    ways: Vec<WayTable>,
    standards: Standards,
    resamples: Resamples,
    /// Strata beyond the first: shares that are fixed, and degrees of freedom that are gone.
    fixed: usize,
}

/// Tokens per iteration of one plan.
pub struct TokenDraws {
    /// Over all texts.
    pub value: f64,
    /// In each draw of texts.
    pub draws: Vec<f64>,
    /// Texts that were traced for the plan, the clusters that are drawn, less the tasks beyond the
    /// first: their shares are fixed.
    pub clusters: usize,
    /// By both readings of counts, where more drafts were counted than these.
    pub readings: Option<(f64, f64)>,
    /// Drafts per iteration that were counted, where the traces come from counts.
    pub counted: Option<usize>,
}

impl TokenDraws {
    /// The value with its interval over texts.
    pub fn estimate(&self) -> Estimate {
        interval(self.value, self.draws.clone(), self.clusters)
    }
}

impl Texts {
    /// Walks all traces with 1 to `gamma_max` predictors; `draws` draws of `seed`.
    pub fn new(table: &TraceTable, gamma_max: usize, draws: usize, seed: u64) -> Self {
        let ways = WayTable::all(table, gamma_max);
        let standards = Standards::new(&ways);
        let strata = table.strata();
        let resamples = Resamples::within(&strata, draws, seed);
        let fixed = strata.iter().max().copied().unwrap_or(0);
        Self { ways, standards, resamples, fixed }
    }

    /// Tokens per iteration of `plan`; nothing where its way was not traced.
    pub fn of(&self, plan: &DraftPlan) -> Option<TokenDraws> {
        let own = |way: &&WayTable| way.way.drafting == plan.drafting && way.way.skip == plan.skip;
        let way = self.ways.iter().find(own)?;
        self.of_way(way, plan.predictors.get(), &self.tokens(way))
    }

    /// Tokens of the way's texts in each draw.
    fn tokens(&self, way: &WayTable) -> Vec<f64> {
        self.resamples.draws().map(|weights| dot(weights, &way.tokens)).collect()
    }

    fn of_way(&self, way: &WayTable, gamma: usize, tokens: &[f64]) -> Option<TokenDraws> {
        let standard = self.standards.beside(way, gamma);
        let factor = |weights: &[u32]| standard.as_ref().map_or(1.0, |s| s.factor(weights));
        let of_all = factor(&vec![1; way.tokens.len()]);
        // Half of the draws read counts one way, half the other: the interval spans both readings.
        let index = gamma.checked_sub(1)?;
        let readings = [way.iterations.get(index)?, way.favourable.get(index)?];
        let draw = |(turn, (w, tokens)): (usize, (&[u32], &f64))| {
            tokens / dot(w, readings[turn % 2]) * factor(w)
        };
        let readings = way.readings(gamma).filter(|(low, high)| low < high);
        let texts = way.tokens.iter().filter(|tokens| **tokens > 0).count();
        Some(TokenDraws {
            value: way.tokens_per_iteration(gamma)? * of_all,
            draws: self.resamples.draws().zip(tokens).enumerate().map(draw).collect(),
            clusters: texts.saturating_sub(self.fixed).max(texts.min(1)),
            readings: readings.map(|(low, high)| (low * of_all, high * of_all)),
            counted: way.counted,
        })
    }
}

/// Predicts every traced way and number of predictors whose cost is known.
pub fn predict(texts: &Texts, known: &Known<'_>, pool: &Pool) -> Vec<Prediction> {
    let indexed: Vec<_> = texts.ways.iter().enumerate().collect();
    indexed
        .into_par_iter()
        .flat_map_iter(|(index, way)| {
            let tokens = texts.tokens(way);
            let one = move |gamma: usize| {
                let tokens = texts.of_way(way, gamma, &tokens)?;
                predict_one(&way.way, gamma, index, tokens, known, pool)
            };
            (1..=way.iterations.len()).filter_map(one).collect::<Vec<_>>()
        })
        .collect()
}

fn predict_one(
    way: &Draft,
    gamma: usize,
    index: usize,
    tokens: TokenDraws,
    known: &Known<'_>,
    pool: &Pool,
) -> Option<Prediction> {
    let predictors = Predictors::new(gamma).ok()?;
    let plan = DraftPlan { drafting: way.drafting, skip: way.skip.clone(), predictors };
    let correction = known.runs.of(&plan);
    let cost = known.costs.of(way, gamma).ok()?.slower(correction.factor.recip());
    // Sequential drafts of one window share one timed pass, hence one deviate.
    let width = if way.drafting == Drafting::Simultaneous { gamma } else { 1 };
    let draft = Predictors::MAX * (index + 1) + width;
    let draws = speedup_draws(&cost, &tokens.draws, [draft, gamma + 1, 0], pool);
    let speedup = tokens.value / cost.in_plain_steps();
    // One text, or one block of times, shows no spread.
    let seen = if known.costs.blocks < 2 { 1 } else { tokens.clusters };
    Some(Prediction {
        plan,
        cost,
        readings: tokens.readings,
        counted: tokens.counted,
        tokens_per_iteration: tokens.estimate(),
        speedup: product(interval(speedup, draws.clone(), seen), doubt(correction)),
        draws,
    })
}

/// A factor of 1 with the interval of a correction. Draws are without it: plans that are alike
/// share it, so it says little about which of them is faster.
fn doubt(correction: Correction) -> Estimate {
    let reach = Z95 * correction.error;
    Estimate::new(1.0, 1.0 - reach, 1.0 + reach)
}

/// Texts differ in how well they can be foreseen. A way that was traced on some prompts only is set
/// beside the ways that were traced on all: its tokens per iteration there, times what theirs are
/// on all prompts over what theirs are there (a ratio estimate: Cochran, Sampling Techniques, ch.
/// 6).
#[derive(Debug)]
struct Standards {
    /// Tokens and, by number of predictors, iterations of each prompt, summed over complete ways.
    by_drafting: BTreeMap<Drafting, (Vec<u32>, Vec<Vec<f64>>)>,
    /// Whether any way was traced on the prompt.
    traced: Vec<bool>,
}

/// The sums of complete ways at one number of predictors, and the prompts of an incomplete way.
#[derive(Debug)]
struct Standard {
    tokens: Vec<u32>,
    iterations: Vec<f64>,
    held: Vec<bool>,
}

impl Standards {
    fn new(ways: &[WayTable]) -> Self {
        let prompts = ways.first().map_or(0, |way| way.tokens.len());
        let traced: Vec<bool> =
            (0..prompts).map(|p| ways.iter().any(|way| way.tokens[p] > 0)).collect();
        let mut by_drafting = BTreeMap::new();
        for way in ways.iter().filter(|way| is_complete(way, &traced)) {
            let fresh = || (vec![0; prompts], vec![vec![0.0; prompts]; way.iterations.len()]);
            let (tokens, iterations) = by_drafting.entry(way.way.drafting).or_insert_with(fresh);
            add(tokens, &way.tokens);
            iterations.iter_mut().zip(&way.iterations).for_each(|(sum, own)| add(sum, own));
        }
        Self { by_drafting, traced }
    }

    /// What corrects `way`; none where it is complete, or no way of its drafting is.
    fn beside(&self, way: &WayTable, gamma: usize) -> Option<Standard> {
        if is_complete(way, &self.traced) {
            return None;
        }
        let (tokens, iterations) = self.by_drafting.get(&way.way.drafting)?;
        let iterations = iterations.get(gamma - 1)?.clone();
        let held = way.tokens.iter().map(|&tokens| tokens > 0).collect();
        Some(Standard { tokens: tokens.clone(), iterations, held })
    }
}

impl Standard {
    /// Tokens per iteration on all prompts over those on the prompts held, prompts weighted.
    fn factor(&self, weights: &[u32]) -> f64 {
        let held: Vec<u32> =
            weights.iter().zip(&self.held).map(|(&w, &held)| if held { w } else { 0 }).collect();
        let rate = |weights: &[u32]| dot(weights, &self.tokens) / dot(weights, &self.iterations);
        rate(weights) / rate(&held)
    }
}

fn is_complete(way: &WayTable, traced: &[bool]) -> bool {
    way.tokens.iter().zip(traced).all(|(&tokens, &traced)| tokens > 0 || !traced)
}

fn add<T: AddAssign + Copy>(sum: &mut [T], own: &[T]) {
    sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += *own);
}

/// Speedup in each draw; `cells` name the deviates of draft, verify and step.
pub(crate) fn speedup_draws(
    cost: &IterationCost,
    tokens: &[f64],
    cells: [usize; 3],
    pool: &Pool,
) -> Vec<f64> {
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

fn dot<T: Into<f64> + Copy>(weights: &[u32], values: &[T]) -> f64 {
    weights.iter().zip(values).map(|(&weight, &value)| f64::from(weight) * value.into()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3d_data::SkipWindow;

    #[test]
    fn a_way_with_few_prompts_is_set_beside_those_with_all() {
        let way = |end, tokens: [u32; 2], iterations: [u32; 2]| WayTable {
            way: Draft {
                drafting: Drafting::Simultaneous,
                skip: SkipWindow::new(1, end).unwrap().into(),
            },
            tokens: tokens.to_vec(),
            iterations: vec![iterations.map(f64::from).to_vec()],
            favourable: vec![iterations.map(f64::from).to_vec()],
            counted: None,
        };
        // The first text is easy: 4 tokens per iteration against 2.
        let ways = [way(2, [40, 40], [10, 20]), way(3, [40, 0], [8, 0])];
        let standards = Standards::new(&ways);
        assert!(standards.beside(&ways[0], 1).is_none());
        let standard = standards.beside(&ways[1], 1).unwrap();
        // source: by hand: (80 / 30) / (40 / 10) = 2/3, so 5 tokens per iteration become 10/3
        assert!((standard.factor(&[1, 1]) - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(standard.factor(&[1, 0]), 1.0);
        assert!(!standard.factor(&[0, 1]).is_finite(), "a draw without its prompt says nothing");
    }
}
