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

/// The favourable reading of a trace that was written out from counts of `counted` drafts per
/// iteration. The trace itself says that a token on which a draft failed is failed wherever
/// drafting starts. Here it fails only as deep into a draft as it was seen to fail, or deeper, and
/// a token that no draft was judged on does not fail at all. With `counted` drafts both readings
/// walk alike; with fewer the truth lies between them.
pub fn favourable(accepted: &[u32], counted: usize) -> Vec<u32> {
    // `fails[i]`: as how many-th draft the token behind i committed ones was seen to fail.
    let mut fails: Vec<Option<usize>> = vec![None; accepted.len() + counted + 1];
    visit(accepted, |committed, count| {
        let count = (count as usize).min(counted);
        if count < counted {
            fails[committed + count] = Some(count + 1);
        }
        count
    });
    let right = |committed: usize| {
        let draft = |&draft: &usize| fails[committed + draft - 1].is_some_and(|at| at <= draft);
        (1..=counted).find(draft).map_or(counted, |failed| failed - 1) as u32
    };
    (1..=accepted.len()).map(right).collect()
}

/// Calls `step(committed, accepted)` at every visited position; it returns the drafts kept.
pub(crate) fn visit(accepted: &[u32], mut step: impl FnMut(usize, u32) -> usize) {
    let mut committed = 1;
    while committed < accepted.len() {
        committed += step(committed, accepted[committed - 1]) + 1;
    }
}
