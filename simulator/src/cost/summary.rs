//! What figures and tables show of a run beside the choice: pass times by width, components, and
//! how many drafts iterations accepted.

use crate::cost::pass_times::PassTimes;
use crate::error::Result;
use crate::statistics::{Resamples, Z95, interval, quantile_of_sorted};
use crate::traces::table::TraceTable;
use crate::traces::walk::TextCounts;
use s3d_data::memory::streamed_bytes;
use s3d_data::{Component, DraftPlan, Dtype, Estimate, LatencySample, Plan, Run, RunHeader};
use serde::Serialize;
use std::collections::BTreeMap;

/// Draws behind the interval of an accepted share.
const DRAWS: usize = 400;

/// The interval of a time or of a quotient of times, normal on the logarithm (the error of a
/// logarithm is the relative error), so that it never reaches 0.
fn around(value: f64, error: f64) -> Estimate {
    let factor = (Z95 * error / value).exp();
    Estimate::new(value, value / factor, value * factor)
}

/// The median with its interval from order statistics, which assumes no law of the values: the
/// ranks `n / 2 -+ 1.96 sqrt(n) / 2` (Conover, Practical Nonparametric Statistics, section 3.2).
fn median_of(mut values: Vec<f64>) -> Option<Estimate> {
    values.sort_unstable_by(f64::total_cmp);
    let half = Z95 / (values.len() as f64).sqrt() / 2.0;
    let at = |q: f64| quantile_of_sorted(&values, q);
    Some(Estimate::new(at(0.5)?, at(0.5 - half)?, at(0.5 + half)?))
}

/// A full pass of one width.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FullPass {
    /// Tokens fed.
    pub width: usize,
    /// Its time, in seconds.
    pub seconds: Estimate,
    /// Over that of a pass over one token.
    pub ratio: Estimate,
    /// The least time that the machine's bandwidth and multiply-add rate allow, in seconds.
    #[serde(skip)]
    pub limit_seconds: Option<f64>,
}

/// The full passes by width at `context`.
///
/// # Errors
/// No timed plain pass, or a time that is not above 0.
pub fn full_passes(run: &Run, machine: usize, context: usize) -> Result<Vec<FullPass>> {
    of_texts(run, machine, (context, 1))
}

/// Full passes that several texts share.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SharedPasses {
    /// The texts.
    pub batch: usize,
    /// The passes, by the tokens that each text feeds.
    pub passes: Vec<FullPass>,
}

/// The full passes at `context` for each number of texts above 1 that was timed.
pub fn shared_passes(run: &Run, machine: usize, context: usize) -> Vec<SharedPasses> {
    let of = |batch| {
        Some(SharedPasses { batch, passes: of_texts(run, machine, (context, batch)).ok()? })
    };
    run.observations.together.batches().into_iter().filter_map(of).collect()
}

fn of_texts(run: &Run, machine: usize, at: (usize, usize)) -> Result<Vec<FullPass>> {
    let times = PassTimes::of_texts(run, machine, at)?;
    let (plain, error) = times.plain;
    // One block shows no spread.
    let around = |value: f64, error: f64| match times.blocks {
        0 | 1 => Estimate::alone(value),
        _ => around(value, error),
    };
    let pass = |width: usize, seconds: Estimate, ratio: Estimate| {
        let limit_seconds = limit_seconds(&run.header, machine, width * at.1);
        FullPass { width, seconds, ratio, limit_seconds }
    };
    let first = pass(1, around(plain, error), Estimate::exact(1.0));
    let wider = times.full.iter().filter(|(width, _)| **width > 1).map(|(width, time)| {
        let ratio = around(time.value, time.error);
        pass(*width, ratio.map(|r| r * plain), ratio)
    });
    Ok(std::iter::once(first).chain(wider).collect())
}

/// The least time that the measured machine allows a full pass of `width`, in seconds: the larger
/// of weight bytes over read bandwidth and operations over multiply-add rate (the roofline of
/// Williams, Waterman, Patterson, CACM 52, 2009). `None` where a rate was not measured.
pub fn limit_seconds(header: &RunHeader, machine: usize, width: usize) -> Option<f64> {
    let machine = header.machines.get(machine)?;
    let format: Dtype = header.dtype.parse().ok()?;
    let shape = Some(&header.model.shape).filter(|shape| shape.is_known())?;
    // Every pass multiplies by all layers and by the head; the embedding is looked up.
    let head = (shape.vocab * shape.hidden) as u64;
    let weights = shape.layers as u64 * shape.layer_parameters() + head;
    let reading = streamed_bytes(shape, format) / machine.read_bytes_per_s?.0;
    let computing = 2.0 * weights as f64 * width as f64 / machine.flops_per_s?.0;
    Some(reading.max(computing))
}

/// The kind of pass that a component was timed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PassKind {
    /// Outside of speculation, or verifying: at full depth.
    Full,
    /// A draft pass of the choice: the layers it keeps.
    Draft,
}

/// Time of one component over all layers of one kind of pass.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComponentSeconds {
    /// What was timed.
    pub component: Component,
    /// In which kind of pass.
    pub pass: PassKind,
    /// Tokens fed.
    pub width: usize,
    /// Seconds in one pass, over all its layers.
    pub seconds: Estimate,
}

/// Seconds of each component in one pass, by kind and width of the pass: medians over passes. Draft
/// passes are those of the window and drafting of `chosen` alone, since each window keeps other
/// layers.
pub fn components(run: &Run, machine: usize, chosen: Option<&DraftPlan>) -> Vec<ComponentSeconds> {
    // One pass, or several of one kind that follow each other in one place of the schedule.
    type Passes = BTreeMap<(usize, usize, usize), BTreeMap<Option<usize>, (f64, usize)>>;
    let mut cells: BTreeMap<(PassKind, Component, usize), Passes> = BTreeMap::new();
    let mine = |sample: &&LatencySample| sample.machine == machine && is_part(sample.component);
    for sample in run.observations.latency.iter().filter(mine) {
        let Some(kind) = pass_kind(sample, chosen) else { continue };
        let passes = cells.entry((kind, sample.component, sample.width)).or_default();
        let pass = passes.entry((sample.block, sample.order, sample.copy)).or_default();
        let layer = pass.entry(sample.layer).or_default();
        *layer = (layer.0 + sample.seconds.0, layer.1 + 1);
    }
    let one = |layers: &BTreeMap<_, (f64, usize)>| {
        layers.values().map(|(seconds, times)| seconds / *times as f64).sum()
    };
    let cell = |(&(pass, component, width), passes): (&_, &Passes)| {
        let seconds = median_of(passes.values().map(one).collect())?;
        Some(ComponentSeconds { component, pass, width, seconds })
    };
    cells.iter().filter_map(cell).collect()
}

fn is_part(component: Component) -> bool {
    use Component::{Attention, Embed, Head, Mlp, Rest};
    matches!(component, Embed | Attention | Mlp | Head | Rest)
}

/// Which pass a component belongs to. A plan's draft and verify passes differ in width: `gamma`
/// (one, where drafting is sequential) against `gamma + 1`.
fn pass_kind(sample: &LatencySample, chosen: Option<&DraftPlan>) -> Option<PassKind> {
    let Some(Plan::Speculate(plan)) = &sample.plan else {
        return (sample.plan != Some(Plan::Stock)).then_some(PassKind::Full);
    };
    if sample.width == plan.predictors.get() + 1 {
        return Some(PassKind::Full);
    }
    let same = |chosen: &DraftPlan| chosen.drafting == plan.drafting && chosen.skip == plan.skip;
    chosen.is_some_and(same).then_some(PassKind::Draft)
}

/// Share of the iterations of `plan` by number of accepted drafts (from 0), with intervals that
/// resample prompts; empty where the plan was not traced.
///
/// # Errors
/// A trace that contradicts itself.
pub fn accepted_shares(run: &Run, plan: &DraftPlan, seed: u64) -> Result<Vec<Estimate>> {
    let table = TraceTable::of(run)?;
    let way = plan.draft();
    let Some(row) = table.ways.get(&way) else { return Ok(Vec::new()) };
    let gamma = plan.predictors.get();
    let counts: Vec<TextCounts> =
        row.iter().flatten().map(|trace| TextCounts::of(trace, gamma)).collect();
    let resamples = Resamples::new(counts.len(), DRAWS, seed);
    let ones = vec![1; counts.len()];
    Ok((0..=gamma)
        .filter_map(|accepted| {
            let value = share(&counts, &ones, accepted)?;
            let draws = resamples.draws().filter_map(|w| share(&counts, w, accepted)).collect();
            Some(interval(value, draws, counts.len()))
        })
        .collect())
}

/// Iterations with exactly `accepted` drafts over all iterations: those that reached this draft
/// less those that reached the next.
fn share(counts: &[TextCounts], weights: &[u32], accepted: usize) -> Option<f64> {
    let (mut exactly, mut all) = (0.0, 0.0);
    for (count, &weight) in counts.iter().zip(weights) {
        let reached = match accepted {
            0 => count.attempted[0],
            _ => count.accepted[accepted - 1],
        };
        let beyond = count.accepted.get(accepted).copied().unwrap_or(0.0);
        exactly += f64::from(weight) * (reached - beyond);
        all += f64::from(weight) * count.attempted[0];
    }
    (all > 0.0).then(|| exactly / all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_times_stay_above_nothing() {
        // source: by hand: exp(1.96) = 7.099
        let wide = around(1.0, 1.0);
        let (low, high) = wide.ends();
        assert!((high - 7.099).abs() < 1e-3 && (low * high - 1.0).abs() < 1e-12);
        // source: numpy.quantile(range(1, 101), [0.5, 0.402, 0.598]) = 50.5, 40.798, 60.202
        let found = median_of((1..=100).map(f64::from).collect()).unwrap();
        let (low, high) = found.ends();
        assert!((found.value - 50.5).abs() < 1e-9 && (low - 40.798).abs() < 1e-9);
        assert!((high - 60.202).abs() < 1e-9);
        assert_eq!(median_of(vec![]), None);
    }

    #[test]
    fn shares_of_accepted_drafts_add_up() {
        // source: by hand. Iterations that accepted 0, 2, 2 and 1 of 2 drafts.
        let counts = TextCounts { attempted: vec![4.0, 3.0], accepted: vec![3.0, 2.0] };
        let of = |accepted| share(std::slice::from_ref(&counts), &[1], accepted).unwrap();
        assert_eq!([of(0), of(1), of(2)], [0.25, 0.25, 0.5]);
    }
}
