//! What a latency sample timed, as far as pass times care.

use crate::error::{Error, Result};
use s3d_data::{Component, Draft, LatencySample, Plan};

/// What a sample timed, as far as pass times care.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Full(usize),
    Verify(usize),
    Draft(Draft, usize),
}

fn key(sample: &LatencySample) -> Option<Key> {
    match (sample.component, &sample.plan) {
        (Component::FullPass, Some(Plan::Stock)) => None,
        (Component::FullPass, _) => Some(Key::Full(sample.width)),
        (Component::VerifyPass, _) => Some(Key::Verify(sample.width)),
        (Component::DraftPass, Some(Plan::Speculate(plan))) => {
            Some(Key::Draft(plan.draft(), sample.width))
        }
        _ => None,
    }
}

/// Samples of the machine that time a pass, with what they time.
pub(super) fn keyed(
    latency: &[LatencySample],
    machine: usize,
) -> Result<Vec<(Key, &LatencySample)>> {
    let mut samples = Vec::with_capacity(latency.len());
    for sample in latency.iter().filter(|sample| sample.machine == machine) {
        let seconds = sample.seconds.0;
        if !(seconds.is_finite() && seconds > 0.0) {
            let what = format!("seconds of block {}, order {}", sample.block, sample.order);
            return Err(Error::domain(what, "a finite number > 0", seconds));
        }
        samples.extend(key(sample).map(|key| (key, sample)));
    }
    Ok(samples)
}

/// Share of the layers that a pass runs.
pub(super) fn kept_share(key: &Key, layers: usize) -> f64 {
    match key {
        Key::Draft(Draft { skip, .. }, _) => {
            let kept = (0..layers).filter(|layer| !skip.skips_attention(*layer)).count();
            kept as f64 / layers.max(1) as f64
        }
        _ => 1.0,
    }
}
