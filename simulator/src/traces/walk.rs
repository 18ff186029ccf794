//! Which positions decoding visits: iterations and counts, without times.
//!
//! Of a drawn text it is a matter of chance which drafts are accepted. What is found then is what
//! to expect, given the text: the probability that an iteration starts at a position is passed on
//! from position to position, and every sum over iterations is one over positions, each with its
//! probability. With probabilities of 0 and 1 that is the walk of a greedy text.

use s3d_data::{AcceptanceCounts, Trace};

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

/// The walk over a text, and over its beginning; of a drawn text, what to expect.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TextWalk {
    /// Iterations until the text is complete.
    pub iterations: f64,
    /// Sum over the iterations of the output tokens committed when they start.
    pub positions: f64,
}

/// Walks the first `tokens` output tokens of a text, or all, with `drafts` drafted per iteration.
pub(crate) fn walk_text(text: &Trace, tokens: usize, drafts: usize) -> TextWalk {
    let tokens = tokens.min(text.tokens());
    if text.accept_probability.is_none() {
        let Walk { iterations, positions } = walk(&text.accepted[..tokens], drafts);
        return TextWalk { iterations: iterations as f64, positions: positions as f64 };
    }
    let mut found = TextWalk::default();
    visit_first(text, tokens, |committed, _, probability| {
        found.iterations += probability;
        found.positions += probability * committed as f64;
        drafts
    });
    found
}

/// Attempted and accepted drafts of a text; of a drawn one, what to expect.
#[derive(Debug, Clone, PartialEq)]
pub struct TextCounts {
    /// Times draft `i + 1` was judged.
    pub attempted: Vec<f64>,
    /// Times it was accepted.
    pub accepted: Vec<f64>,
}

impl TextCounts {
    /// Nothing counted yet, of `drafts` drafts.
    pub fn new(drafts: usize) -> Self {
        Self { attempted: vec![0.0; drafts], accepted: vec![0.0; drafts] }
    }

    /// Adds what iterations with `drafts` drafts attempt and have accepted on the first `tokens`
    /// output tokens of `text`.
    pub fn add(&mut self, text: &Trace, tokens: usize) {
        let drafts = self.attempted.len();
        visit_first(text, tokens.min(text.tokens()), |_, accepted, probability| {
            let accepted = (accepted as usize).min(drafts);
            let judged = self.attempted.iter_mut().take(accepted + 1);
            judged.for_each(|count| *count += probability);
            self.accepted.iter_mut().take(accepted).for_each(|count| *count += probability);
            drafts
        });
    }

    /// The counts of a whole text.
    pub fn of(text: &Trace, drafts: usize) -> Self {
        let mut counts = Self::new(drafts);
        counts.add(text, text.tokens());
        counts
    }
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
pub(crate) fn favourable(accepted: &[u32], counted: usize) -> Vec<u32> {
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

/// Calls `step(committed, accepted, probability)` for everything that can happen on the way through
/// a text, with its probability: an iteration starts at `committed` output tokens, and of as many
/// drafts as one likes `accepted` would be accepted. It returns how many are drafted.
pub(crate) fn visit_text(text: &Trace, step: impl FnMut(usize, u32, f64) -> usize) {
    visit_first(text, text.tokens(), step);
}

/// As [`visit_text`], for a text that ends after `tokens` tokens.
fn visit_first(text: &Trace, tokens: usize, mut step: impl FnMut(usize, u32, f64) -> usize) {
    let Some(rows) = &text.accept_probability else {
        return visit(&text.accepted[..tokens], |committed, accepted| {
            step(committed, accepted, 1.0).min(accepted as usize)
        });
    };
    // `starts[c]`: the probability that an iteration starts at `c` committed tokens.
    let mut starts = vec![0.0; tokens.max(2)];
    starts[1] = 1.0;
    for committed in 1..tokens {
        let mut left = starts[committed];
        let row = rows.get(committed - 1).map_or(&[][..], Vec::as_slice);
        let drafts = row.iter().map(|&p| f64::from(p)).chain([0.0]);
        for (accepted, next) in drafts.enumerate() {
            let probability = left * (1.0 - next);
            if probability > 0.0 {
                let kept = step(committed, accepted as u32, probability).min(accepted);
                let next = starts.get_mut(committed + kept + 1);
                next.into_iter().for_each(|start| *start += probability);
            }
            left *= next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(accepted: &[u32], accept: Option<Vec<Vec<f32>>>) -> Trace {
        let line = format!(r#"{{"prompt":3,"accepted":{accepted:?}}}"#);
        Trace { accept_probability: accept, ..serde_json::from_str(&line).unwrap() }
    }

    /// Probabilities of 0 and 1 that say what `accepted` says, of `most` drafts.
    fn certain(accepted: &[u32], most: usize) -> Vec<Vec<f32>> {
        let row = |&accepted: &u32| (0..most).map(|i| f32::from(i < accepted as usize)).collect();
        accepted.iter().map(row).collect()
    }

    /// Iterations to expect, by going through everything that can happen: the definition.
    fn naive(accept: &[Vec<f32>], committed: usize, drafts: usize) -> f64 {
        if committed >= accept.len() {
            return 0.0;
        }
        let p = |draft: usize| accept[committed - 1].get(draft).map_or(0.0, |&p| f64::from(p));
        let on = |accepted: usize| naive(accept, committed + accepted + 1, drafts);
        // The last draft, and backwards: refused, or accepted and on.
        let tail = (0..drafts)
            .rev()
            .fold(on(drafts), |after, draft| (1.0 - p(draft)) * on(draft) + p(draft) * after);
        1.0 + tail
    }

    #[test]
    fn expected_iterations_by_hand() {
        // source: by hand. From 1 token of 4 on: half of the time to 2, else (a quarter each) to 3
        // or to the end. From 2: always to the end but for 1/4. From 3: one iteration.
        let accept = vec![vec![0.5, 0.5], vec![0.75], vec![1.0], vec![]];
        let found = walk_text(&text(&[2, 1, 0, 0], Some(accept.clone())), 4, 2);
        let second = 0.5 * 1.0 + (0.25 + 0.5 * 0.25) * 1.0;
        assert_eq!(found.iterations, 1.0 + second);
        assert_eq!(found.positions, 1.0 + 0.5 * 2.0 + (0.25 + 0.5 * 0.25) * 3.0);
        let counts = TextCounts::of(&text(&[2, 1, 0, 0], Some(accept)), 2);
        // Position 3 comes last: its draft is the token that ends the text.
        assert_eq!(counts.attempted, [1.0 + 0.5 + 0.375, 0.5 + 0.5 * 0.75 + 0.375]);
        assert_eq!(counts.accepted, [0.5 + 0.5 * 0.75 + 0.375, 0.25]);
    }

    proptest! {
        #[test]
        fn certain_drafts_are_walked_as_a_greedy_text(
            accepted in prop::collection::vec(0u32..5, 1..50), drafts in 1usize..6, tokens in 0usize..60,
        ) {
            let greedy = text(&accepted, None);
            let drawn = text(&accepted, Some(certain(&accepted, 5)));
            prop_assert_eq!(walk_text(&drawn, tokens, drafts), walk_text(&greedy, tokens, drafts));
            prop_assert_eq!(TextCounts::of(&drawn, drafts), TextCounts::of(&greedy, drafts));
            let counts = count(&accepted, drafts);
            let found = TextCounts::of(&greedy, drafts);
            prop_assert!(counts.attempted.iter().zip(&found.attempted).all(|(a, b)| *a as f64 == *b));
            prop_assert!(counts.accepted.iter().zip(&found.accepted).all(|(a, b)| *a as f64 == *b));
        }

        #[test]
        fn expected_iterations_are_those_of_all_that_can_happen(
            accept in prop::collection::vec(prop::collection::vec(0.0f32..1.0, 3), 1..12), drafts in 1usize..4,
        ) {
            let drawn = text(&vec![0; accept.len()], Some(accept.clone()));
            let found = walk_text(&drawn, accept.len(), drafts).iterations;
            prop_assert!((found - naive(&accept, 1, drafts)).abs() < 1e-9);
        }
    }
}
