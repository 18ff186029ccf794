//! Which starts of a process there were, and how much they differ.

use crate::robust::mean;
use s3d_data::{Plan, Starts, ThroughputSample};
use std::collections::{BTreeMap, BTreeSet};

/// The number of the next start on `machine`.
pub(crate) fn next(samples: &[ThroughputSample], machine: usize) -> usize {
    let own = samples.iter().filter(|sample| sample.machine == machine);
    own.map(|sample| sample.start + 1).max().unwrap_or(0)
}

/// What `run.json` says of the starts behind `samples`; nothing where there are no samples.
pub(crate) fn of(samples: &[ThroughputSample]) -> Option<Starts> {
    let starts: BTreeSet<Start> = samples.iter().map(start_of).collect();
    let count = starts.len();
    let spread = spread(&log_costs(samples));
    let degrees_of_freedom = if spread.is_some() { count.saturating_sub(1) } else { 0 };
    let starts = Starts { count, spread, degrees_of_freedom, fewer_because: None };
    (count > 0).then_some(starts)
}

/// A machine and the number of a start on it.
type Start = (usize, usize);

fn start_of(sample: &ThroughputSample) -> Start {
    (sample.machine, sample.start)
}

/// By plan and start: for each block, the logarithm of an iteration's cost in plain steps.
fn log_costs(samples: &[ThroughputSample]) -> BTreeMap<String, BTreeMap<Start, Vec<f64>>> {
    let mut plain: BTreeMap<(usize, usize), Vec<f64>> = BTreeMap::new();
    let cost = |sample: &ThroughputSample| {
        Some((sample.decode_seconds().0 / sample.iterations as f64).ln())
            .filter(|cost| cost.is_finite())
    };
    for sample in samples.iter().filter(|sample| sample.plan == Plan::Plain) {
        plain.entry((sample.machine, sample.block)).or_default().extend(cost(sample));
    }
    let mut costs: BTreeMap<String, BTreeMap<Start, Vec<f64>>> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.plan.draft().is_some()) {
        let beside = plain.get(&(sample.machine, sample.block)).filter(|costs| !costs.is_empty());
        if let (Some(beside), Some(cost)) = (beside, cost(sample)) {
            let of_plan = costs.entry(sample.plan.to_string()).or_default();
            of_plan.entry(start_of(sample)).or_default().push(cost - mean(beside));
        }
    }
    costs
}

/// The standard deviation between starts, all plans together: the analysis of variance of one
/// factor, the starts, inside each plan (Searle, Casella, McCulloch, Variance Components, 1992,
/// section 3.6), 0 where blocks of different starts differ no more than those of one. None without
/// two starts and a start of two blocks.
fn spread(costs: &BTreeMap<String, BTreeMap<Start, Vec<f64>>>) -> Option<f64> {
    let (mut between, mut within) = ((0.0, 0.0), (0.0, 0.0));
    let mut effective = 0.0;
    for starts in costs.values().filter(|starts| starts.len() > 1) {
        let all: Vec<f64> = starts.values().flatten().copied().collect();
        let (total, middle) = (all.len() as f64, mean(&all));
        for blocks in starts.values() {
            let (count, own) = (blocks.len() as f64, mean(blocks));
            between.0 += count * (own - middle).powi(2);
            within.0 += blocks.iter().map(|cost| (cost - own).powi(2)).sum::<f64>();
            within.1 += count - 1.0;
        }
        between.1 += starts.len() as f64 - 1.0;
        let squares: f64 = starts.values().map(|blocks| (blocks.len() as f64).powi(2)).sum();
        effective += total - squares / total;
    }
    if between.1 == 0.0 || within.1 == 0.0 {
        return None;
    }
    let noise = within.0 / within.1;
    Some(((between.0 - between.1 * noise) / effective).max(0.0).sqrt())
}

#[cfg(test)]
mod tests;
