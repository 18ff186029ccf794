//! Free sets: which attention and MLP sub-layers to skip, not only whole layers in a row.
//!
//! Peer: KnapSpec (arXiv 2602.20217), which fills a knapsack by latency. Here the latency of every
//! sub-layer is measured, and what skipping it costs in acceptance is a *damage* that adds up in
//! the logarithm: `alpha_i(S) = alpha_i(nothing skipped) exp(-sum of damage over S)`. For every
//! amount of time saved a dynamic programme finds the set of least damage; of all amounts and
//! numbers of predictors the fastest is best. The damages are a surrogate: a judge that measures
//! the acceptance of a proposed set has the last word ([`search`]).

mod estimate;
mod sub_layer;

pub use estimate::of_run;
pub use sub_layer::{Half, SubLayer};

use crate::cost::pass_times::PassTimes;
use crate::error::{Error, Result, non_negative};
use crate::fit::points::count_ways;
use crate::predict::request::Request;
use crate::tokens::curves::AcceptanceRate;
use crate::tokens::expected::expected_tokens;
use crate::traces::table::TraceTable;
use estimate::{least_skipping, traced_damages};
use s3d_data::{Drafting, LayerSet, Run, SkipWindow};
use serde::Serialize;

/// What every set shares.
#[derive(Debug, Clone, PartialEq)]
pub struct Surroundings {
    /// How drafts are made.
    pub drafting: Drafting,
    /// Acceptance of each predictor when nothing is skipped.
    pub rates: Vec<AcceptanceRate>,
    /// Full pass of width `w` in plain passes: `full[w - 1]`, up to `gamma + 1`.
    pub full: Vec<f64>,
    /// Bookkeeping per step, in plain passes.
    pub step: f64,
}

/// A proposed set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proposal {
    /// What it skips.
    pub set: LayerSet,
    /// Tokens drafted.
    pub predictors: usize,
    /// Share of a full pass saved.
    pub saved: f64,
    /// Sum of the damages; of a judged set, what the judge found.
    pub damage: f64,
    /// Predicted speedup.
    pub speedup: f64,
    /// Whether a judge measured its acceptance.
    pub judged: bool,
}

/// Steps into which the time saved is divided.
const LEVELS: usize = 400;

impl Surroundings {
    /// Speedup of a draft that saves `saved` of a full pass at this `damage`, and its best number
    /// of predictors.
    pub fn best(&self, saved: f64, damage: f64) -> (usize, f64) {
        let keep = (-damage).exp();
        let rates: Vec<AcceptanceRate> =
            self.rates.iter().map(|rate| AcceptanceRate::clamped(rate.get() * keep)).collect();
        let most = self.rates.len().min(self.full.len().saturating_sub(1));
        let speedup = |gamma: usize| {
            let draft = match self.drafting {
                Drafting::Simultaneous => self.full[gamma - 1],
                Drafting::Sequential => gamma as f64 * self.full[0],
            };
            let iteration = draft * (1.0 - saved) + self.full[gamma] + self.step;
            expected_tokens(&rates[..gamma]) * (1.0 + self.step) / iteration
        };
        let all = (1..=most).map(|gamma| (gamma, speedup(gamma)));
        all.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0))
    }

    fn propose(&self, parts: &[SubLayer], members: &[usize]) -> Proposal {
        let chosen = members.iter().map(|&index| &parts[index]);
        let (saved, damage) =
            chosen.clone().fold((0.0, 0.0), |sum, part| (sum.0 + part.share, sum.1 + part.damage));
        let layers = |part: Half| {
            let mut all: Vec<usize> =
                chosen.clone().filter(|p| p.part == part).map(|p| p.layer).collect();
            all.sort_unstable();
            all
        };
        let set = LayerSet { attention: layers(Half::Attention), mlp: layers(Half::Mlp) };
        let (predictors, speedup) = self.best(saved, damage);
        Proposal { set, predictors, saved, damage, speedup, judged: false }
    }
}

/// The best sets, the fastest first; at most `most` of them. `judge` measures the damage of a set
/// (`None`: cannot say); judging goes on until a judged set leads.
///
/// # Errors
/// Shares or damages that are negative or not finite, shares that add up to a whole pass or more,
/// no rates, or what the judge refuses.
pub fn search(
    parts: &[SubLayer],
    around: &Surroundings,
    most: usize,
    mut judge: impl FnMut(&LayerSet) -> Result<Option<f64>>,
) -> Result<Vec<Proposal>> {
    check(parts, around)?;
    let mut proposals: Vec<Proposal> =
        knapsack(parts).iter().map(|members| around.propose(parts, members)).collect();
    proposals.sort_by(|a, b| b.speedup.total_cmp(&a.speedup));
    proposals.dedup_by(|a, b| a.set == b.set);
    proposals.truncate(most);
    while let Some(first) = proposals.first_mut().filter(|first| !first.judged) {
        let Some(damage) = judge(&first.set)? else { break };
        first.damage = non_negative("judged damage", damage)?;
        (first.predictors, first.speedup) = around.best(first.saved, first.damage);
        first.judged = true;
        proposals.sort_by(|a, b| b.speedup.total_cmp(&a.speedup));
    }
    Ok(proposals)
}

/// The best window of whole layers under the same damages, for comparison. `parts` in the order of
/// their layers.
pub(crate) fn best_window(
    parts: &[SubLayer],
    around: &Surroundings,
    layers: usize,
) -> Option<(SkipWindow, Proposal)> {
    let mut best: Option<(f64, SkipWindow)> = None;
    for start in 0..layers {
        let mut rest = &parts[parts.partition_point(|part| part.layer < start)..];
        let (mut saved, mut damage) = (0.0, 0.0);
        for end in start..=layers {
            let inside = rest.iter().take_while(|part| part.layer < end).count();
            for part in &rest[..inside] {
                saved += part.share;
                damage += part.damage;
            }
            rest = &rest[inside..];
            let (_, speedup) = around.best(saved, damage);
            let better = best.as_ref().is_none_or(|(known, _)| speedup.total_cmp(known).is_ge());
            if end - start < layers && better {
                best = SkipWindow::new(start, end).ok().map(|window| (speedup, window)).or(best);
            }
        }
    }
    let (_, window) = best?;
    let inside = |index: &usize| window.contains(parts[*index].layer);
    let members: Vec<usize> = (0..parts.len()).filter(inside).collect();
    Some((window, around.propose(parts, &members)))
}

fn check(parts: &[SubLayer], around: &Surroundings) -> Result<()> {
    for part in parts {
        let what = format!("layer {} {:?}", part.layer, part.part);
        non_negative(&format!("share of {what}"), part.share)?;
        non_negative(&format!("damage of {what}"), part.damage)?;
    }
    let total: f64 = parts.iter().map(|part| part.share).sum();
    if total >= 1.0 {
        return Err(Error::domain("shares of all sub-layers", "a sum below a whole pass", total));
    }
    if around.rates.is_empty() || around.full.len() < 2 {
        return Err(Error::missing("rates and pass times", "give one rate and two widths or more"));
    }
    Ok(())
}

/// For each level of time saved the set of least damage, as indices: a 0/1 knapsack over rounded
/// shares (Bellman, "Dynamic Programming", 1957).
fn knapsack(parts: &[SubLayer]) -> Vec<Vec<usize>> {
    let total: f64 = parts.iter().map(|part| part.share).sum();
    let unit = (total / LEVELS as f64).max(f64::MIN_POSITIVE);
    let weight = |part: &SubLayer| (part.share / unit).round() as usize;
    let levels = parts.iter().map(weight).sum::<usize>() + 1;
    let mut least = vec![f64::INFINITY; levels];
    least[0] = 0.0;
    // taken[item][level]: whether the best set of this level takes the item
    let mut taken = vec![vec![false; levels]; parts.len()];
    for (item, part) in parts.iter().enumerate() {
        let weight = weight(part);
        for level in (weight..levels).rev() {
            let with = least[level - weight] + part.damage;
            if with < least[level] {
                least[level] = with;
                taken[item][level] = true;
            }
        }
    }
    let members = |mut level: usize| {
        let mut members = Vec::new();
        for item in (0..parts.len()).rev() {
            if taken[item][level] {
                members.push(item);
                level -= weight(&parts[item]);
            }
        }
        members
    };
    (0..levels).filter(|&level| least[level].is_finite()).map(members).collect()
}

/// The best free sets of a run, with the best window under the same damages beside them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FreeSets {
    /// Sets, the fastest first.
    pub sets: Vec<Proposal>,
    /// The best window of whole layers, and its prediction by the same damages.
    pub window: Option<(String, Proposal)>,
}

/// Searches the sub-layers of `run` for sets to skip. Sets that the run traced are judged by their
/// traces: measure what is proposed, ask again, until a judged set leads.
///
/// # Errors
/// No timed passes, or fewer than three traced windows.
pub fn free_sets(
    run: &Run,
    request: &Request,
    drafting: Drafting,
    most: usize,
) -> Result<FreeSets> {
    let table = TraceTable::of(run)?;
    let ways = count_ways(&table, request.gamma_max);
    let passes = PassTimes::new(run, request.machine, request.context())?;
    let parts = of_run(run, request.machine, &passes, &ways, drafting)?;
    let gammas = 1..=request.gamma_max + 1;
    let full: Vec<f64> =
        gammas.map(|width| Ok(passes.full(width)?.value)).collect::<Result<_>>()?;
    let rates = least_skipping(&ways, drafting);
    let around = Surroundings { drafting, rates, full, step: passes.step.value };
    let window = best_window(&parts, &around, run.header.model.shape.layers);
    let traced = traced_damages(&ways, drafting);
    let judge = |set: &LayerSet| {
        Ok(traced.iter().find(|(known, _)| known == set).map(|(_, damage)| *damage))
    };
    let sets = search(&parts, &around, most, judge)?;
    Ok(FreeSets { sets, window: window.map(|(window, proposal)| (window.to_string(), proposal)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn parts(seed: u64, layers: usize) -> Vec<SubLayer> {
        let mut source = ChaCha8Rng::seed_from_u64(seed);
        let mut part = |layer, part| SubLayer {
            layer,
            part,
            share: source.random_range(0.05..0.07) * 6.0 / layers as f64,
            damage: source.random_range(0.0..0.3),
        };
        (0..layers).flat_map(|l| [part(l, Half::Attention), part(l, Half::Mlp)]).collect()
    }

    fn around(drafting: Drafting) -> Surroundings {
        let rates = AcceptanceRate::all(&[0.95, 0.9, 0.85, 0.8]).unwrap();
        Surroundings { drafting, rates, full: vec![1.0, 1.05, 1.1, 1.15, 1.2], step: 0.01 }
    }

    #[test]
    fn finds_what_trying_every_set_finds() {
        // source: all 2^12 sets of 6 layers, one by one; rounding shares to levels may cost 0.2 %
        for seed in 0..10 {
            let parts = parts(seed, 6);
            for drafting in Drafting::ALL {
                let around = around(drafting);
                let best = (0..1usize << parts.len())
                    .map(|bits| {
                        let chosen: Vec<usize> =
                            (0..parts.len()).filter(|i| bits >> i & 1 == 1).collect();
                        around.propose(&parts, &chosen).speedup
                    })
                    .fold(0.0, f64::max);
                let found = search(&parts, &around, 3, |_| Ok(None)).unwrap()[0].speedup;
                assert!(found <= best + 1e-12 && found > 0.998 * best, "{found} of {best}");
                let window = best_window(&parts, &around, 6).unwrap().1.speedup;
                assert!(window <= found * 1.002);
            }
        }
    }

    #[test]
    fn the_judge_has_the_last_word() {
        let (parts, around) = (parts(1, 6), around(Drafting::Simultaneous));
        let proposed = search(&parts, &around, 5, |_| Ok(None)).unwrap();
        let spoiled = proposed[0].set.clone();
        let judge = |set: &LayerSet| Ok(Some(if *set == spoiled { 3.0 } else { 0.1 }));
        let judged = search(&parts, &around, 5, judge).unwrap();
        assert!(judged[0].judged && judged[0].set != spoiled);
    }

    #[test]
    fn nonsense_is_refused() {
        let around = around(Drafting::Simultaneous);
        let mut bad = parts(1, 6);
        bad[0].damage = -1.0;
        assert!(search(&bad, &around, 1, |_| Ok(None)).is_err());
        bad[0].damage = 0.1;
        bad[0].share = 0.9;
        assert!(search(&bad, &around, 1, |_| Ok(None)).is_err());
    }
}
