//! Do the times of components add up to the times of passes? Each cell's sum of median components
//! beside its directly timed whole passes, in plain passes of the same block (cost model, section 3).
//!
//! A draft pass is summed twice: from its own components, and from those of the full-depth pass of
//! the same width. What the second sum says too much is the cache: the layers that a draft pass keeps
//! were in it, left there by the draft before, where those of a full pass push each other out.

use crate::observed::Way;
use crate::statistics::{median, quantile};
use s3d_data::{Component, Drafting, LatencySample, Plan, Run, Skip};
use serde::Serialize;
use std::collections::BTreeMap;

/// Whole passes of a cell below which it is not judged.
const ENOUGH: usize = 3;

/// One kind of pass at one width and context.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    /// `full_pass`, `draft_pass` or `verify_pass`.
    pub pass: Component,
    /// What a draft pass leaves out, and how it drafts.
    pub plan: Option<String>,
    /// Tokens fed.
    pub width: usize,
    /// Tokens committed.
    pub context: usize,
    /// Whole passes timed.
    pub passes: usize,
    /// Median whole pass, in plain passes.
    pub direct: f64,
    /// Sum of the median components, in plain passes.
    pub sum: f64,
    /// `sum / direct - 1`
    pub error: f64,
    /// Share of the pass that is paid whatever its depth: embedding, head and rest.
    pub fixed: f64,
    /// Of a draft pass: its sum from a full-depth pass's components, over `direct`, less 1.
    pub cache: Option<f64>,
}

/// All cells of a run, and what they say together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sums {
    /// Each cell.
    pub cells: Vec<Cell>,
    /// Median over cells of the absolute error.
    pub median: f64,
    /// The largest absolute error.
    pub worst: f64,
    /// Median over draft cells of what the cache saves.
    pub cache: Option<f64>,
    /// Median over blocks and cells of a pass whose components were timed over one beside it that
    /// was timed whole, less 1: what watching costs.
    pub watching: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    pass: Component,
    way: Option<Way>,
    width: usize,
    context: usize,
}

/// What was timed of one cell, in plain passes: whole passes by block, watched ones apart, and
/// components.
#[derive(Debug, Default)]
struct Timed {
    watched: BTreeMap<usize, Vec<f64>>,
    unwatched: BTreeMap<usize, Vec<f64>>,
    parts: BTreeMap<(Component, Option<usize>), Vec<f64>>,
}

impl Timed {
    fn direct(&self) -> Vec<f64> {
        self.watched.values().chain(self.unwatched.values()).flatten().copied().collect()
    }

    /// Sum of the median parts that `keep` says.
    fn sum(&self, keep: impl Fn(Component, usize) -> bool) -> f64 {
        let kept = self
            .parts
            .iter()
            .filter(|((component, layer), _)| layer.is_none_or(|layer| keep(*component, layer)));
        kept.filter_map(|(_, times)| median(times)).sum()
    }
}

/// Compares sums and whole passes of machine number `machine`; `None` where components were not timed.
pub fn sums(run: &Run, machine: usize) -> Option<Sums> {
    let samples: Vec<&LatencySample> =
        run.observations.latency.iter().filter(|s| s.machine == machine).collect();
    let timed = sorted(&samples);
    let cells: Vec<Cell> =
        timed.iter().filter_map(|(key, cell)| cell_of(key, cell, &timed)).collect();
    let errors: Vec<f64> = cells.iter().map(|cell| cell.error.abs()).collect();
    let (middle, worst) = (median(&errors)?, quantile(&errors, 1.0)?);
    let cache: Vec<f64> = cells.iter().filter_map(|cell| cell.cache).collect();
    let watching: Vec<f64> = timed.values().flat_map(watched_over_unwatched).collect();
    let watching = median(&watching).map(|ratio| ratio - 1.0);
    Some(Sums { cells, median: middle, worst, cache: median(&cache), watching })
}

/// All samples by cell, in plain passes of their block.
fn sorted(samples: &[&LatencySample]) -> BTreeMap<Key, Timed> {
    let units = units(samples);
    let mut passes = BTreeMap::new();
    for s in samples.iter().filter(|s| s.component >= Component::FullPass) {
        passes.insert((s.block, s.order, s.width, s.context), s.component);
    }
    let mut with_parts = std::collections::BTreeSet::new();
    for s in samples.iter().filter(|s| s.component == Component::Embed) {
        with_parts.insert((s.block, s.order, s.width, s.context));
    }
    let mut timed: BTreeMap<Key, Timed> = BTreeMap::new();
    for s in samples {
        let place = (s.block, s.order, s.width, s.context);
        let (Some(unit), Some(&pass)) = (units.get(&s.block), passes.get(&place)) else { continue };
        let way = match (pass, &s.plan) {
            (Component::DraftPass, Some(Plan::Speculate(plan))) => {
                Some((plan.drafting, plan.skip.clone()))
            }
            _ => None,
        };
        let cell = timed.entry(Key { pass, way, width: s.width, context: s.context }).or_default();
        let value = s.seconds / unit;
        if s.component < Component::FullPass {
            cell.parts.entry((s.component, s.layer)).or_default().push(value);
        } else if with_parts.contains(&place) {
            cell.watched.entry(s.block).or_default().push(value);
        } else {
            cell.unwatched.entry(s.block).or_default().push(value);
        }
    }
    timed
}

/// The plain pass of each block: the median over its contexts.
fn units(samples: &[&LatencySample]) -> BTreeMap<usize, f64> {
    let mut blocks: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    let plain = samples.iter().filter(|s| s.component == Component::FullPass && s.width == 1);
    for s in plain {
        blocks.entry(s.block).or_default().push(s.seconds);
    }
    blocks.into_iter().filter_map(|(block, times)| Some((block, median(&times)?))).collect()
}

fn cell_of(key: &Key, timed: &Timed, all: &BTreeMap<Key, Timed>) -> Option<Cell> {
    let whole = timed.direct();
    if whole.len() < ENOUGH || timed.parts.is_empty() {
        return None;
    }
    let direct = median(&whole)?;
    let sum = timed.sum(|_, _| true);
    let cache = key.way.as_ref().and_then(|(_, skip)| {
        let full = full_depth(key, all)?;
        Some(full.sum(|component, layer| keeps(skip, component, layer)) / direct - 1.0)
    });
    Some(Cell {
        pass: key.pass,
        plan: key.way.as_ref().map(words),
        width: key.width,
        context: key.context,
        passes: whole.len(),
        direct,
        sum,
        error: sum / direct - 1.0,
        fixed: timed.sum(|_, _| false) / direct,
        cache,
    })
}

/// The full-depth pass of a draft cell's width and context.
fn full_depth<'a>(key: &Key, all: &'a BTreeMap<Key, Timed>) -> Option<&'a Timed> {
    let of = |pass| all.get(&Key { pass, way: None, ..key.clone() });
    of(Component::VerifyPass).or_else(|| of(Component::FullPass)).filter(|t| !t.parts.is_empty())
}

fn keeps(skip: &Skip, component: Component, layer: usize) -> bool {
    match component {
        Component::Attention => !skip.skips_attention(layer),
        _ => !skip.skips_mlp(layer),
    }
}

fn words((drafting, skip): &Way) -> String {
    match drafting {
        Drafting::Simultaneous => skip.to_string(),
        Drafting::Sequential => format!("seq:{skip}"),
    }
}

/// Watched passes over whole ones, in the blocks that hold both.
fn watched_over_unwatched(timed: &Timed) -> Vec<f64> {
    let ratio = |(block, whole): (&usize, &Vec<f64>)| {
        Some(median(timed.watched.get(block)?)? / median(whole)?)
    };
    timed.unwatched.iter().filter_map(ratio).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples of one pass: embedding, one layer's two parts (unless skipped), rest, and the whole.
    fn pass(
        block: usize,
        order: usize,
        plan: &str,
        width: usize,
        layer: f64,
    ) -> Vec<LatencySample> {
        let plan: Plan = plan.parse().unwrap();
        let whole = match &plan {
            Plan::Speculate(_) => Component::DraftPass,
            _ => Component::FullPass,
        };
        let parts = [
            (Component::Embed, None, 1.0),
            (Component::Attention, Some(0), layer),
            (Component::Mlp, Some(0), layer),
            (Component::Rest, None, 1.0),
            (whole, None, 2.0 + 2.0 * layer),
        ];
        let sample = |(component, layer, seconds): (Component, Option<usize>, f64)| LatencySample {
            machine: 0,
            component,
            layer,
            plan: Some(plan.clone()),
            width,
            context: 9,
            block,
            order,
            copy: 0,
            seconds: seconds * (1.0 + block as f64),
            cpu_seconds: None,
        };
        parts.into_iter().map(sample).collect()
    }

    #[test]
    fn the_cache_is_named_and_sums_meet_passes() {
        let mut samples = Vec::new();
        for block in 0..4 {
            samples.extend(pass(block, 0, "plain", 1, 4.0));
            // The same layer of a draft pass, found in the cache.
            samples.extend(pass(block, 1, "1..2:1", 1, 2.0));
            let whole = pass(block, 2, "plain", 1, 4.5).pop().unwrap();
            samples.push(whole);
        }
        let refs: Vec<&LatencySample> = samples.iter().collect();
        let timed = sorted(&refs);
        let cells: Vec<Cell> =
            timed.iter().filter_map(|(key, cell)| cell_of(key, cell, &timed)).collect();
        assert_eq!(cells.len(), 2);
        // source: by hand, in units of the median plain pass (10 + 11) / 2: the watched plain pass is
        // 10, the draft pass 6, its sum from the plain pass's layer 10: 2/3 too much
        let draft = &cells[1];
        assert_eq!(draft.pass, Component::DraftPass);
        assert!(draft.error.abs() < 1e-12 && (draft.cache.unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert!((draft.fixed - 2.0 / 6.0).abs() < 1e-12);
        let ratios: Vec<f64> = timed.values().flat_map(watched_over_unwatched).collect();
        assert!(ratios.iter().all(|ratio| (ratio - 10.0 / 11.0).abs() < 1e-12));
    }
}
