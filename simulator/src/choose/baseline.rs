//! Plain decoding, the measure of every speedup.

use crate::predict::evaluated::Evaluated;
use crate::predict::request::Request;
use crate::statistics::Z95;
use s3d_data::memory::streamed_bytes;
use s3d_data::{Baseline, Dtype, Estimate, Plan, Run};

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
