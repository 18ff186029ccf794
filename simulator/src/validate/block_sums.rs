//! Do the times of components add up to the times of passes? Passes whose components were timed,
//! beside passes of the same cell that were timed whole in the same block: the median over blocks
//! of the ratio, so that drift of the machine cancels (cost model, sections 3 and 6).
//!
//! A draft pass is summed a second time, from the components of the full-depth pass of its width in
//! the same block. By what that sum is too long is the cache: the layers that a draft pass keeps
//! may still be in it, where those of a full pass push each other out.

use crate::statistics::{median, quantile};
use s3d_data::{Component, Drafting, LatencySample, Plan, Run, Skip};
use serde::Serialize;
use std::collections::BTreeMap;

/// Pairs of passes below which a cell is not judged.
const ENOUGH: usize = 3;

/// One kind of pass at one width and context, over all windows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SummedPass {
    /// `full_pass`, `draft_pass` or `verify_pass`.
    pub pass: Component,
    /// How a draft pass drafts.
    pub drafting: Option<Drafting>,
    /// Tokens fed.
    pub width: usize,
    /// Tokens committed.
    pub context: usize,
    /// Blocks that hold a pass timed by component and one timed whole.
    pub pairs: usize,
    /// Median of `sum / whole - 1`.
    pub error: f64,
    /// Share of the pass that is paid whatever its depth: embedding, head and rest.
    pub fixed: f64,
    /// Of a draft pass: its sum from the components of a full-depth pass, over its own, less 1.
    pub cache: Option<f64>,
}

/// All cells of a run, and what they say together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sums {
    /// Each cell.
    pub cells: Vec<SummedPass>,
    /// Median over cells of the absolute error.
    pub median: f64,
    /// The largest absolute error.
    pub worst: f64,
    /// Median over draft cells of what the cache saves.
    pub cache: Option<f64>,
    /// Median over cells of the share that is paid whatever the depth.
    pub fixed: Option<f64>,
}

/// A kind of pass, its drafting (of draft passes), width and context.
type Key = (Component, Option<Drafting>, usize, usize);

/// One pass: the whole, and its components where they were timed.
#[derive(Debug, Clone, Default)]
struct Pass {
    skip: Option<Skip>,
    whole: f64,
    parts: Vec<(Component, Option<usize>, f64)>,
}

impl Pass {
    /// Sum of the components, those of layers only where `keep` says so.
    fn sum(&self, keep: impl Fn(Component, usize) -> bool) -> f64 {
        let kept = |(component, layer, _): &&(Component, Option<usize>, f64)| {
            layer.is_none_or(|layer| keep(*component, layer))
        };
        self.parts.iter().filter(kept).map(|part| part.2).sum()
    }
}

/// Passes by cell and block.
type Blocks = BTreeMap<Key, BTreeMap<usize, Vec<Pass>>>;

/// Compares sums and whole passes of machine number `machine`; `None` where no cell was timed both
/// ways in enough blocks.
pub fn sums(run: &Run, machine: usize) -> Option<Sums> {
    let samples = run.observations.latency.iter().filter(|s| s.machine == machine);
    let blocks = sorted(samples);
    let cells: Vec<SummedPass> =
        blocks.iter().filter_map(|(key, passes)| cell_of(key, passes, &blocks)).collect();
    let errors: Vec<f64> = cells.iter().map(|cell| cell.error.abs()).collect();
    let (middle, worst) = (median(&errors)?, quantile(&errors, 1.0)?);
    let cache: Vec<f64> = cells.iter().filter_map(|cell| cell.cache).collect();
    let fixed: Vec<f64> = cells.iter().map(|cell| cell.fixed).collect();
    let (cache, fixed) = (median(&cache), median(&fixed));
    Some(Sums { cells, median: middle, worst, cache, fixed })
}

/// All passes, put together from their samples.
fn sorted<'a>(samples: impl Iterator<Item = &'a LatencySample>) -> Blocks {
    let mut places: BTreeMap<_, (Option<Key>, Pass)> = BTreeMap::new();
    for s in samples {
        // A turn holds at most one pass of each width and context.
        let place = (s.block, s.order, s.width, s.context);
        let (key, pass) = places.entry(place).or_default();
        if s.component < Component::FullPass {
            pass.parts.push((s.component, s.layer, s.seconds.0));
            continue;
        }
        let draft = s.plan.as_ref().and_then(Plan::draft);
        let draft = draft.filter(|_| s.component == Component::DraftPass);
        *key = Some((s.component, draft.map(|plan| plan.drafting), s.width, s.context));
        pass.skip = draft.map(|plan| plan.skip.clone());
        pass.whole = s.seconds.0;
    }
    let mut blocks = Blocks::new();
    for ((block, ..), (key, pass)) in places {
        if let Some(key) = key {
            blocks.entry(key).or_default().entry(block).or_default().push(pass);
        }
    }
    blocks
}

fn cell_of(key: &Key, passes: &BTreeMap<usize, Vec<Pass>>, all: &Blocks) -> Option<SummedPass> {
    let (pass, drafting, width, context) = *key;
    let ratios: Vec<f64> = passes.values().filter_map(|block| sum_over_whole(block)).collect();
    if ratios.len() < ENOUGH {
        return None;
    }
    let timed = || passes.values().flatten().filter(|pass| !pass.parts.is_empty());
    let fixed: Vec<f64> = timed().map(|pass| pass.sum(|_, _| false) / pass.whole).collect();
    let full = full_depth(key, all);
    let saved = |(block, passes): (&usize, &Vec<Pass>)| {
        let full = full?.get(block)?.iter().find(|pass| !pass.parts.is_empty())?;
        let own = passes.iter().find(|pass| !pass.parts.is_empty())?;
        let skip = own.skip.as_ref()?;
        let sum = full.sum(|component, layer| keeps(skip, component, layer));
        Some(sum / own.sum(|_, _| true) - 1.0)
    };
    let cache: Vec<f64> = passes.iter().filter_map(saved).collect();
    Some(SummedPass {
        pass,
        drafting,
        width,
        context,
        pairs: ratios.len(),
        error: median(&ratios)? - 1.0,
        fixed: median(&fixed)?,
        cache: median(&cache).filter(|_| cache.len() >= ENOUGH),
    })
}

/// Sum of components over whole pass, medians over the passes of one cell in one block.
fn sum_over_whole(passes: &[Pass]) -> Option<f64> {
    let (timed, whole): (Vec<&Pass>, Vec<&Pass>) =
        passes.iter().partition(|pass| !pass.parts.is_empty());
    let sums: Vec<f64> = timed.iter().map(|pass| pass.sum(|_, _| true)).collect();
    let wholes: Vec<f64> = whole.iter().map(|pass| pass.whole).collect();
    Some(median(&sums)? / median(&wholes)?)
}

/// The full-depth passes of a draft cell's width and context.
fn full_depth<'a>(key: &Key, all: &'a Blocks) -> Option<&'a BTreeMap<usize, Vec<Pass>>> {
    let of = |pass| all.get(&(pass, None, key.2, key.3));
    of(Component::VerifyPass).or_else(|| of(Component::FullPass))
}

fn keeps(skip: &Skip, component: Component, layer: usize) -> bool {
    match component {
        Component::Attention => !skip.skips_attention(layer),
        _ => !skip.skips_mlp(layer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3d_data::Seconds;

    /// Samples of one pass: embedding, one layer's two parts, rest, and the whole.
    fn pass(block: usize, order: usize, plan: &str, layer: f64) -> Vec<LatencySample> {
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
            width: 1,
            context: 9,
            block,
            order,
            copy: 0,
            seconds: Seconds(seconds * (1.0 + block as f64)),
            cpu_seconds: None,
            batch: 1,
        };
        parts.into_iter().map(sample).collect()
    }

    #[test]
    fn the_cache_is_named_and_sums_are_set_beside_whole_passes() {
        let mut samples = Vec::new();
        for block in 0..4 {
            samples.extend(pass(block, 0, "plain", 4.0));
            // The same layer in a draft pass, found in the cache.
            samples.extend(pass(block, 1, "1..2:1", 2.0));
            samples.push(pass(block, 2, "plain", 4.5).pop().unwrap());
            samples.push(pass(block, 3, "1..2:1", 2.0).pop().unwrap());
        }
        let blocks = sorted(samples.iter());
        let cells: Vec<SummedPass> =
            blocks.iter().filter_map(|(key, passes)| cell_of(key, passes, &blocks)).collect();
        let [full, draft] = &cells[..] else { panic!("{cells:?}") };
        // source: by hand: sums of 10 and 6 beside whole passes of 11 and 6, whatever the drift;
        // from the full pass's layer the draft would take 10
        assert!((full.error - (10.0 / 11.0 - 1.0)).abs() < 1e-12 && full.pairs == 4);
        assert!(draft.error.abs() < 1e-12 && (draft.cache.unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert!((draft.fixed - 2.0 / 6.0).abs() < 1e-12 && full.cache.is_none());
    }
}
