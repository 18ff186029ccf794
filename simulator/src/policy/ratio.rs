//! Ratios of total times over texts, with their intervals.

use crate::predict::request::Request;
use crate::statistics::{Resamples, interval};

/// The sum of `above` over that of `below`, both by text, with its interval over texts, which are
/// drawn within their `strata`.
pub(crate) fn ratio(
    above: &[f64],
    below: &[f64],
    strata: &[usize],
    request: &Request,
) -> s3d_data::Estimate {
    let dot = |weights: &[u32], times: &[f64]| {
        weights.iter().zip(times).map(|(weight, time)| f64::from(*weight) * time).sum::<f64>()
    };
    let of = |weights: &[u32]| dot(weights, above) / dot(weights, below);
    let draws = Resamples::within(strata, request.draws, request.seed);
    let mut kinds = strata.to_vec();
    kinds.sort_unstable();
    kinds.dedup();
    // Shares of strata are fixed: each beyond the first takes a degree of freedom.
    let clusters = (above.len() + 1).saturating_sub(kinds.len());
    interval(of(&vec![1; above.len()]), draws.draws().map(of).collect(), clusters)
}
