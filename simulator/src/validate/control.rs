//! The control: plain decoding stands twice in every block, and the two copies must agree.

use crate::predict::blocks::estimate;
use s3d_data::{Estimate, Plan, Run, ThroughputSample};
use std::collections::BTreeMap;

/// The ratio of the two copies' decode rates, second over first: median over blocks with its
/// interval. `None` where fewer than two blocks hold both.
pub fn control(run: &Run, machine: usize, seed: u64) -> Option<(Estimate, usize)> {
    ratio_of(&run.observations.throughput, machine, seed)
}

fn ratio_of(samples: &[ThroughputSample], machine: usize, seed: u64) -> Option<(Estimate, usize)> {
    let mut blocks: BTreeMap<usize, [Option<f64>; 2]> = BTreeMap::new();
    let plain = |s: &&ThroughputSample| s.machine == machine && s.plan == Plan::Plain;
    for sample in samples.iter().filter(plain) {
        let rate = sample.tokens.saturating_sub(1) as f64 / sample.decode_seconds().0;
        if let (Some(place), true) =
            (blocks.entry(sample.block).or_default().get_mut(sample.copy), rate.is_finite())
        {
            *place = Some(rate).filter(|rate| *rate > 0.0);
        }
    }
    let ratio = |copies: [Option<f64>; 2]| Some(copies[1]? / copies[0]?);
    let ratios: Vec<f64> = blocks.into_values().filter_map(ratio).collect();
    Some((estimate(&ratios, seed)?, ratios.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3d_data::Seconds;

    #[test]
    fn two_copies_are_compared_inside_their_block() {
        let copy = |block: usize, copy: usize, seconds: f64| ThroughputSample {
            machine: 0,
            block,
            order: copy,
            copy,
            plan: Plan::Plain,
            id: "a".into(),
            tokens: 11,
            iterations: 10,
            prompt_seconds: Seconds(1.0),
            draft_seconds: Seconds::ZERO,
            verify_seconds: Seconds(seconds),
            seconds: Seconds(1.0 + seconds),
            cpu_seconds: None,
            start: 0,
            batch: 1,
        };
        // Drift: each block takes longer than the one before; the second copy is always 2 % faster.
        let samples: Vec<ThroughputSample> = (0..8)
            .flat_map(|block| {
                let seconds = 1.0 + block as f64;
                [copy(block, 0, 1.02 * seconds), copy(block, 1, seconds)]
            })
            .collect();
        let (ratio, blocks) = ratio_of(&samples, 0, 1).unwrap();
        assert!((ratio.value - 1.02).abs() < 1e-12 && blocks == 8 && !ratio.covers(1.0), "{ratio}");
    }
}
