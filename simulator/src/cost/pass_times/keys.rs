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

/// Samples of the machine that time a pass, with what they time. Parts of passes are left out: one
/// may be too short for the clock, and the rest, a difference of times, below 0.
pub(super) fn keyed<'s>(
    latency: impl IntoIterator<Item = &'s LatencySample>,
    machine: usize,
) -> Result<Vec<(Key, &'s LatencySample)>> {
    let mut samples = Vec::new();
    for sample in latency.into_iter().filter(|sample| sample.machine == machine) {
        let Some(key) = key(sample) else { continue };
        let seconds = sample.seconds.0;
        if !(seconds.is_finite() && seconds > 0.0) {
            let what = format!("seconds of block {}, order {}", sample.block, sample.order);
            return Err(Error::domain(what, "a finite number > 0", seconds));
        }
        samples.push((key, sample));
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

#[cfg(test)]
mod tests {
    use super::*;
    use s3d_data::Seconds;

    fn sample(component: Component, seconds: f64) -> LatencySample {
        LatencySample {
            machine: 0,
            component,
            layer: None,
            plan: Some(Plan::Plain),
            width: 1,
            context: 9,
            block: 0,
            order: 0,
            copy: 0,
            seconds: Seconds(seconds),
            cpu_seconds: None,
            batch: 1,
        }
    }

    /// A clock that moves in steps gives parts of 0 seconds, and then a rest below 0.
    #[test]
    fn a_part_of_a_pass_may_take_no_time_and_a_pass_may_not() {
        let mut all = vec![
            sample(Component::Embed, 0.0),
            sample(Component::Rest, -1e-7),
            sample(Component::FullPass, 0.1),
        ];
        assert_eq!(keyed(&all, 0).unwrap(), [(Key::Full(1), &all[2])]);
        all[2].seconds = Seconds::ZERO;
        assert!(keyed(&all, 0).unwrap_err().to_string().contains("block 0, order 0"));
    }
}
