//! Plain decoding, the measure of every speedup.

use crate::predict::evaluated::Evaluated;
use crate::predict::request::Request;
use crate::statistics::Z95;
use s3d_data::memory::streamed_bytes;
use s3d_data::{Baseline, Bytes, Dtype, Estimate, Plan, Run};

/// A speedup over plain decoding below which a plan is not worth running.
pub(super) const WORTH: f64 = 1.03;

/// Plain decoding: measured in blocks (at another context moved by what plain passes grow to it),
/// else from the timed plain pass.
pub(super) fn plain_rate(all: &Evaluated) -> Option<Estimate> {
    let measured = all.blocks.rate(&Plan::Plain, &all.blocks.holding(&Plan::Plain));
    let (seconds, error) = all.costs.plain;
    let value = (seconds * (1.0 + all.costs.step().value)).recip();
    let half = Z95 * error / seconds * value;
    // One block shows no spread, and a law or a data sheet has none.
    let timed = match half > 0.0 && all.costs.blocks > 1 {
        true => Estimate::new(value, value - half, value + half),
        false => Estimate::alone(value),
    };
    let measured = measured.map(|rate| rate.map(|r| r / all.plain_growth));
    measured.or(Some(timed).filter(|_| value.is_finite()))
}

pub(super) fn baseline(run: &Run, request: &Request, all: &Evaluated) -> Baseline {
    let share = streamed_share(run, request.machine);
    let stock = all.blocks.holding(&Plan::Stock);
    Baseline {
        tokens_per_s: plain_rate(all),
        stock_tokens_per_s: all.blocks.rate(&Plan::Stock, &stock),
        bandwidth_share: plain_rate(all).zip(share).map(|(rate, share)| rate.map(|r| r * share)),
    }
}

/// Seconds that streaming the weights of one pass takes at the machine's measured bandwidth.
fn streamed_share(run: &Run, machine: usize) -> Option<f64> {
    let shape = Some(&run.header.model.shape).filter(|shape| shape.is_known())?;
    let format: Dtype = run.header.dtype.parse().ok()?;
    Some(streamed_bytes(shape, format) / run.header.machines.get(machine)?.read_bytes_per_s?.0)
}

/// Weights this many times the last-level cache are streamed from memory, and the share of the
/// bandwidth can be judged.
const JUDGED_ABOVE_CACHES: u64 = 4;

/// A share of the bandwidth that no honest measurement exceeds.
const IMPOSSIBLE: f64 = 1.05;

/// Below this share, plain decoding leaves speed on the table.
const SLOW: f64 = 0.70;

/// What plain decoding's share of the measured read bandwidth says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Nothing: the weights are partly in the last-level cache.
    Cached,
    /// The bandwidth was measured too low.
    Impossible,
    /// A faster plain path exists, or other programs took a part of the machine.
    Slow,
    /// Plain decoding is a fair opponent.
    Fair,
}

impl Judgement {
    /// Of `share`, on a machine with this last-level cache.
    pub fn new(share: f64, weights: Option<Bytes>, cache: Bytes) -> Self {
        match weights {
            Some(weights) if weights.0 < JUDGED_ABOVE_CACHES * cache.0 => Self::Cached,
            _ if share > IMPOSSIBLE => Self::Impossible,
            _ if share < SLOW => Self::Slow,
            _ => Self::Fair,
        }
    }
}
