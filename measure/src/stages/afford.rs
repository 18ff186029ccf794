//! How many plans the time that is left suffices for: what is begun must end in time.

use crate::robust::median;
use s3d_data::{Component, Plan, Run, Seconds};

/// Output tokens below which a generation is mostly its start and its end.
pub(crate) const SHORTEST_TEXT: usize = 16;
/// Tokens of a warm-up generation.
pub(crate) const WARM_UP_TOKENS: usize = 12;
/// Blocks that a stage has at least.
pub(crate) const LEAST_BLOCKS: usize = 2;
/// Plain decoding twice, and a plan to compare with it.
pub(crate) const LEAST_PLANS: usize = 3;
/// So much of the time budget may be spent in all.
const IN_TIME: f64 = 1.1;
/// Plain steps that take as long as a prompt, about.
const PROMPT: usize = 8;

/// Generations of a block that can be warmed up and measured in the least number of blocks before
/// the time is over; none where no pass was timed.
pub(crate) fn plans(run: &Run, budget: Seconds, spent: Seconds) -> Option<usize> {
    let passes = run.observations.latency.iter();
    let plain = passes.filter(|sample| {
        sample.component == Component::FullPass && sample.plan == Some(Plan::Plain)
    });
    let seconds: Vec<f64> = plain.map(|sample| sample.seconds.0).collect();
    let step = Seconds(median(&seconds)); // NaN of nothing
    let each = step * (WARM_UP_TOKENS + LEAST_BLOCKS * SHORTEST_TEXT + 3 * PROMPT) as f64;
    let left = budget * IN_TIME - spent;
    (each > Seconds::ZERO).then(|| (left / each).clamp(0.0, 1e6) as usize)
}
