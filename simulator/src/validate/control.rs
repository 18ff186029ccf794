//! The control: plain decoding stands twice in every block, and the two copies must agree.

use crate::optimize::measured::estimate;
use s3d_data::{Estimate, Plan, Run, ThroughputSample};
use std::collections::BTreeMap;

/// The ratio of the two copies' decode rates, second over first: median over blocks with its interval.
/// `None` where fewer than two blocks hold both.
pub fn control(run: &Run, machine: usize, seed: u64) -> Option<(Estimate, usize)> {
    let mut blocks: BTreeMap<usize, [Option<f64>; 2]> = BTreeMap::new();
    let plain = |s: &&ThroughputSample| s.machine == machine && s.plan == Plan::Plain;
    for sample in run.observations.throughput.iter().filter(plain) {
        let seconds = sample.seconds - sample.prompt_seconds;
        let rate = sample.tokens.saturating_sub(1) as f64 / seconds;
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
