//! What makes the headline's interval narrower once the choice is made: more texts where texts
//! dominate its half-width, more blocks where costs do.

use crate::bench::Bench;
use crate::error::{Error, Result};
use crate::stages::acceptance;
use s3d_data::Plan;

/// Blocks between two questions to the judge, where an answer may end the run.
const BLOCKS_PER_QUESTION: usize = 4;
/// The same where it only tells what to measure next: an answer takes time.
const BLOCKS_PER_LOOK: usize = 8;

/// Asked after each block that confirms `plan`: whether the headline is known as closely as was
/// asked for. Where it is not and texts dominate, more of them are traced.
pub(crate) fn narrow_enough(bench: &mut Bench<'_>, plan: &Plan, block: usize) -> Result<bool> {
    let blocks = match bench.request.precision {
        Some(_) => BLOCKS_PER_QUESTION,
        None => BLOCKS_PER_LOOK,
    };
    if !(block + 1).is_multiple_of(blocks) {
        return Ok(false);
    }
    let standing = bench.judge.standing(&bench.recorder.run).map_err(Error::Judge)?;
    let (half_width, from_texts) = (standing.half_width, standing.from_texts);
    bench.standing = Some(standing);
    let (Some(half_width), Some(from_texts)) = (half_width, from_texts) else { return Ok(false) };
    if bench.request.precision.is_some_and(|precision| half_width <= precision) {
        return Ok(true);
    }
    if texts_dominate(half_width, from_texts)
        && let Some(plan) = plan.draft()
    {
        acceptance::trace_more(bench, &[plan.draft()])?;
    }
    Ok(false)
}

/// Whether texts make more than half of the variance behind a half-width.
fn texts_dominate(half_width: f64, from_texts: f64) -> bool {
    2.0 * from_texts * from_texts > half_width * half_width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_part_of_the_variance_dominates() {
        // source: parts of a half-width add up in squares: 3 and 4 make 5
        assert!(texts_dominate(5.0, 4.0) && !texts_dominate(5.0, 3.0));
    }
}
