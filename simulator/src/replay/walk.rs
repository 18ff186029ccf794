//! Which positions decoding visits: iterations and counts, without times.

use s3d_data::AcceptanceCounts;

/// A walk at a fixed number of drafts, without times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Walk {
    /// Iterations until the text is complete.
    pub iterations: u64,
    /// Sum over the iterations of the output tokens committed when they start.
    pub positions: u64,
}

/// Walks a text with `drafts` tokens drafted per iteration.
pub fn walk(accepted: &[u32], drafts: usize) -> Walk {
    let used = &accepted[..accepted.len().saturating_sub(1)]; // the last entry is never used
    let mut result = Walk::default();
    let mut index = 0; // committed tokens - 1
    while let Some(&count) = used.get(index) {
        result.iterations += 1;
        result.positions += index as u64 + 1;
        index += (count as usize).min(drafts) + 1;
    }
    result
}

/// Attempted and accepted drafts at the positions that decoding visits at this many `drafts`.
pub fn count(accepted: &[u32], drafts: usize) -> AcceptanceCounts {
    let mut counts = AcceptanceCounts::new(drafts);
    visit(accepted, |_, count| {
        let count = (count as usize).min(drafts);
        counts.record(count);
        count
    });
    counts
}

/// Calls `step(committed, accepted)` at every visited position; it returns the drafts kept.
pub(super) fn visit(accepted: &[u32], mut step: impl FnMut(usize, u32) -> usize) {
    let mut committed = 1;
    while committed < accepted.len() {
        committed += step(committed, accepted[committed - 1]) + 1;
    }
}
