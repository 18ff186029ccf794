//! What figures and tables show of a run beside the choice: pass times by width, components, and how
//! many drafts iterations accepted.

use crate::error::Result;
use crate::memory::streamed_bytes;
use crate::observed::{TraceTable, Way};
use crate::passes::PassTimes;
use crate::replay::count;
use crate::statistics::{Resamples, interval, robust_mean};
use s3d_data::{
    AcceptanceCounts, Component, DraftPlan, Dtype, Estimate, LatencySample, Run, RunHeader,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Half the width of a 95 % interval of a normal variate, in standard errors.
const Z95: f64 = 1.96;
/// Draws behind the interval of an accepted share.
const DRAWS: usize = 400;

fn around(value: f64, error: f64) -> Estimate {
    Estimate::new(value, value - Z95 * error, value + Z95 * error)
}

/// Seconds of a full pass by width at `context`, and the ratio to width 1.
///
/// # Errors
/// No timed plain pass, or a time that is not above 0.
pub fn full_passes(
    run: &Run,
    machine: usize,
    context: usize,
) -> Result<Vec<(usize, Estimate, Estimate)>> {
    let times = PassTimes::new(run, machine, context)?;
    let (plain, error) = times.plain;
    let first = (1, around(plain, error), Estimate::exact(1.0));
    let wider = times.full.iter().filter(|(width, _)| **width > 1).map(|(width, cell)| {
        let ratio = around(cell.value, cell.error);
        (*width, ratio.map(|r| r * plain), ratio)
    });
    Ok(std::iter::once(first).chain(wider).collect())
}

/// The least time that the measured machine allows a full pass of `width`, in seconds: the larger of
/// weight bytes over read bandwidth and operations over multiply-add rate (the roofline of Williams,
/// Waterman, Patterson, CACM 52, 2009). `None` where a rate was not measured.
pub fn limit_seconds(header: &RunHeader, machine: usize, width: usize) -> Option<f64> {
    let machine = header.machines.get(machine)?;
    let format: Dtype = header.dtype.parse().ok()?;
    let shape = &header.model.shape;
    // Every pass multiplies by all layers and by the head; the embedding is looked up.
    let head = (shape.vocab * shape.hidden) as u64;
    let weights = shape.layers as u64 * shape.layer_parameters() + head;
    let reading = streamed_bytes(shape, format) / machine.read_bytes_per_s?;
    let computing = 2.0 * weights as f64 * width as f64 / machine.flops_per_s?;
    Some(reading.max(computing))
}

/// Time of one component over all layers at one width.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComponentSeconds {
    /// What was timed.
    pub component: Component,
    /// Tokens fed.
    pub width: usize,
    /// Seconds over all layers.
    pub seconds: Estimate,
}

/// Seconds of each component over all layers, by width: medians by layer, added up.
pub fn components(run: &Run, machine: usize) -> Vec<ComponentSeconds> {
    type Layers<'a> = BTreeMap<Option<usize>, Vec<f64>>;
    let mut cells: BTreeMap<(Component, usize), Layers> = BTreeMap::new();
    let parts = |sample: &&LatencySample| {
        sample.machine == machine
            && matches!(
                sample.component,
                Component::Embed
                    | Component::Attention
                    | Component::Mlp
                    | Component::Head
                    | Component::Rest
            )
    };
    for sample in run.observations.latency.iter().filter(parts) {
        let layers = cells.entry((sample.component, sample.width)).or_default();
        layers.entry(sample.layer).or_default().push(sample.seconds);
    }
    let sum = |layers: &Layers| {
        let medians = layers.values().filter_map(|seconds| robust_mean(seconds));
        medians.fold((0.0, 0.0f64), |sum, (value, error)| (sum.0 + value, sum.1.hypot(error)))
    };
    cells
        .iter()
        .map(|((component, width), layers)| {
            let (value, error) = sum(layers);
            let seconds = around(value, error);
            ComponentSeconds { component: *component, width: *width, seconds }
        })
        .collect()
}

/// Share of the iterations of `plan` by number of accepted drafts (from 0), with intervals that
/// resample prompts; empty where the plan was not traced.
///
/// # Errors
/// A trace that contradicts itself.
pub fn accepted_shares(run: &Run, plan: &DraftPlan, seed: u64) -> Result<Vec<Estimate>> {
    let table = TraceTable::of(run)?;
    let way: Way = (plan.drafting, plan.skip.clone());
    let Some(row) = table.ways.get(&way) else { return Ok(Vec::new()) };
    let gamma = plan.predictors.get();
    let counts: Vec<AcceptanceCounts> =
        row.iter().flatten().map(|trace| count(&trace.accepted, gamma)).collect();
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

/// Iterations with exactly `accepted` drafts over all iterations: those that reached this draft less
/// those that reached the next.
fn share(counts: &[AcceptanceCounts], weights: &[u32], accepted: usize) -> Option<f64> {
    let (mut exactly, mut all) = (0.0, 0.0);
    for (count, &weight) in counts.iter().zip(weights) {
        let reached = match accepted {
            0 => count.attempted[0],
            _ => count.accepted[accepted - 1],
        };
        let beyond = count.accepted.get(accepted).copied().unwrap_or(0);
        exactly += f64::from(weight) * (reached - beyond) as f64;
        all += f64::from(weight) * count.attempted[0] as f64;
    }
    (all > 0.0).then(|| exactly / all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_accepted_drafts_add_up() {
        // source: by hand. Iterations that accepted 0, 2, 2 and 1 of 2 drafts.
        let mut counts = AcceptanceCounts::new(2);
        [0, 2, 2, 1].into_iter().for_each(|accepted| counts.record(accepted));
        let of = |accepted| share(std::slice::from_ref(&counts), &[1], accepted).unwrap();
        assert_eq!([of(0), of(1), of(2)], [0.25, 0.25, 0.5]);
    }
}
