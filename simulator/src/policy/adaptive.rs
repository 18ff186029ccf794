//! The policy: a posterior of each draft's acceptance, and the number of drafts that pays most.
//!
//! One text is one state. Nothing here draws or reads a clock; a decision and what it learns
//! take some twenty additions, multiplications and divisions for each possible number of drafts.

use crate::policy::law::CostByDrafts;
use s3d_data::AcceptanceCounts;

/// How much the run counts against the text itself, and how often plain decoding is left again.
/// The defaults were set by replay, with all runs of docs/PERFORMANCE.md in view.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Weight of the run's acceptance rates, in observations of each draft.
    pub weight: f64,
    /// Share of what a text has shown that is kept for each token of it.
    pub keep: f64,
    /// Drafting rests where the first drafts of iterations were refused in a row, and what was
    /// known before gave that less than this probability: the text goes on as one of another kind.
    pub unlikely: f64,
    /// Plain steps before drafting is tried again.
    pub first_wait: usize,
    /// The same at most: each try that does not pay doubles them.
    pub longest_wait: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { weight: 5.0, keep: 0.99, unlikely: 0.003, first_wait: 8, longest_wait: 128 }
    }
}

/// What is known of one draft: accepted and refused, as far as they are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Seen {
    accepted: f64,
    refused: f64,
}

/// Drafts of one text that adapt.
#[derive(Debug, Clone, PartialEq)]
pub struct Adaptive {
    costs: CostByDrafts,
    settings: Settings,
    /// Mean of the prior, by draft.
    prior: Vec<f64>,
    /// What this text showed, by draft.
    seen: Vec<Seen>,
    /// Drafts of the first iteration, until it is over.
    start: Option<usize>,
    /// Refusals in a row: their probability, by the rate of refusals before the first of them, and
    /// that rate.
    in_a_row: Option<(f64, f64)>,
    /// Plain steps since drafting rests; none where it does not.
    resting: Option<usize>,
    /// Plain steps to wait before a try.
    wait: usize,
}

impl Adaptive {
    /// A policy for a text: `counts` are the run's, `start` the drafts of the first iteration
    /// (where drafting pays by the run at all).
    pub fn new(
        costs: CostByDrafts,
        counts: &AcceptanceCounts,
        start: usize,
        settings: Settings,
    ) -> Self {
        let most = costs.most();
        let mut policy = Self {
            settings,
            prior: (0..most).map(|draft| rate(counts, draft)).collect(),
            seen: vec![Seen::default(); most],
            start: None,
            in_a_row: None,
            resting: None,
            wait: settings.first_wait,
            costs,
        };
        policy.start = (policy.best(0) > 0).then_some(start.clamp(1, most));
        policy
    }

    /// Drafts of the next iteration; 0: a plain step.
    pub fn drafts(&mut self) -> usize {
        if let Some(start) = self.start {
            return start;
        }
        let best = self.best(0);
        let unlikely = self.in_a_row.is_some_and(|(p, _)| p < self.settings.unlikely);
        let rests = best == 0 || unlikely;
        if rests && self.resting.is_none() {
            self.resting = Some(0);
        }
        match self.resting {
            None => best,
            Some(steps) if steps >= self.wait => self.best(1),
            Some(_) => 0,
        }
    }

    /// Learns that of `drafted` drafts `accepted` were right.
    pub fn told(&mut self, drafted: usize, accepted: usize) {
        let drafted = drafted.min(self.costs.most());
        let accepted = accepted.min(drafted);
        if drafted > 0 {
            let (so_far, refused) = self.in_a_row.unwrap_or((1.0, 1.0 - self.rate(0)));
            self.in_a_row = (accepted == 0).then_some((so_far * refused, refused));
        }
        self.forget(accepted + 1);
        for (draft, seen) in self.seen[..drafted].iter_mut().enumerate().take(accepted + 1) {
            match draft < accepted {
                true => seen.accepted += 1.0,
                false => seen.refused += 1.0,
            }
        }
        if drafted == 0 {
            self.resting = self.resting.map(|steps| steps + 1);
            return;
        }
        self.start = None;
        if self.resting.is_some() {
            self.tried((accepted + 1) as f64 > self.costs.at(drafted));
        }
    }

    /// After an iteration with drafts while drafting rests: one that `paid` is followed by another,
    /// or by drafting where the posterior agrees.
    fn tried(&mut self, paid: bool) {
        if !paid {
            self.wait = (2 * self.wait).min(self.settings.longest_wait);
            self.resting = Some(0);
            return;
        }
        self.wait = self.settings.first_wait;
        self.resting = (self.best(0) == 0).then_some(self.wait);
    }

    /// The number of drafts, `least` or more, with the most expected tokens for its cost; of equal
    /// ones the least.
    fn best(&self, least: usize) -> usize {
        let (mut tokens, mut reached, mut best) = (1.0, 1.0, (0, 0.0));
        if least == 0 {
            best.1 = 1.0;
        }
        for drafts in 1..=self.costs.most() {
            reached *= self.rate(drafts - 1);
            tokens += reached;
            let speed = tokens / self.costs.at(drafts);
            if speed > best.1 {
                best = (drafts, speed);
            }
        }
        best.0
    }

    /// The posterior mean of a draft's acceptance rate: of a Beta law.
    fn rate(&self, draft: usize) -> f64 {
        let (weight, seen) = (self.settings.weight, self.seen[draft]);
        (weight * self.prior[draft] + seen.accepted) / (weight + seen.accepted + seen.refused)
    }

    /// What was seen fades with each of `tokens` tokens, in plain steps as well: a text that could
    /// not be drafted may go on as one that can.
    fn forget(&mut self, tokens: usize) {
        let keep = self.settings.keep.powi(tokens as i32);
        for seen in &mut self.seen {
            seen.accepted *= keep;
            seen.refused *= keep;
        }
    }
}

/// The acceptance rate of a draft over a run: half a draft of each kind is added, so that what
/// never happened there is not impossible here. A draft that was never reached has the rate of the
/// one before it.
fn rate(counts: &AcceptanceCounts, draft: usize) -> f64 {
    let seen = |draft: usize| counts.attempted.get(draft).copied().unwrap_or(0) > 0;
    let known = (0..=draft).rev().find(|draft| seen(*draft)).unwrap_or(draft);
    let at = |counts: &[u64]| counts.get(known).copied().unwrap_or(0) as f64;
    (at(&counts.accepted) + 0.5) / (at(&counts.attempted) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(attempted: &[u64], accepted: &[u64]) -> AcceptanceCounts {
        AcceptanceCounts { attempted: attempted.to_vec(), accepted: accepted.to_vec() }
    }

    fn policy(costs: &[f64], start: usize) -> Adaptive {
        let costs = CostByDrafts::new(costs).unwrap();
        let counts = counts(&[1000, 800, 600], &[800, 600, 420]);
        Adaptive::new(costs, &counts, start, Settings::default())
    }

    #[test]
    fn the_rate_of_a_draft_is_that_of_the_run_and_then_that_of_the_text() {
        // source: by hand: a Beta law of weight 5 with mean 800.5 / 1001; then 3 of 4 accepted
        // drafts, each faded by 0.99 for every token after it.
        let mut one = policy(&[1.1, 1.2, 1.3], 1);
        let prior = 800.5 / 1001.0;
        assert!((one.rate(0) - prior).abs() < 1e-12);
        for accepted in [1, 0, 1, 1] {
            one.told(1, accepted);
        }
        let keep = 0.99f64;
        let accepted = keep.powi(5) + keep.powi(2) + 1.0;
        let expected = (5.0 * prior + accepted) / (5.0 + accepted + keep.powi(4));
        assert!((one.rate(0) - expected).abs() < 1e-12);
        assert!((one.rate(1) - 600.5 / 801.0).abs() < 1e-12, "the second was never tried");
    }

    #[test]
    fn the_best_number_has_the_most_tokens_for_its_time() {
        // source: by hand. Rates 0.8, 0.75, 0.7: 1.8, 2.4 and 2.82 tokens.
        for (costs, best) in [
            ([1.1, 1.2, 1.3], 3), // 1.64, 2.00, 2.17
            ([1.1, 1.2, 2.0], 2), // 1.64, 2.00, 1.41
            ([1.1, 1.7, 2.6], 1), // 1.64, 1.41, 1.08
            ([1.9, 2.5, 2.9], 0), // 0.95, 0.96, 0.97
        ] {
            assert_eq!(policy(&costs, 1).best(0), best, "{costs:?}");
        }
        assert_eq!(policy(&[1.9, 2.5, 2.9], 1).best(1), 3, "the least loss");
    }

    #[test]
    fn a_text_starts_with_the_choice_where_drafting_pays() {
        assert_eq!(policy(&[1.1, 1.2, 1.3], 2).drafts(), 2);
        assert_eq!(policy(&[1.1, 1.2, 1.3], 9).drafts(), 3, "no more than a cost is known of");
        assert_eq!(policy(&[1.9, 2.5, 2.9], 2).drafts(), 0);
    }

    #[test]
    fn refusals_in_a_row_end_drafting_and_tries_become_rare() {
        let mut one = policy(&[1.1, 1.2, 1.3], 3);
        let mut tries = Vec::new();
        for step in 0..600 {
            let drafts = one.drafts();
            if drafts > 0 {
                tries.push(step);
            }
            one.told(drafts, 0);
        }
        // source: by hand. 0.2^4 = 0.0016 is unlikely; then after 8, 16, 32, 64, 128, 128, ...
        // steps.
        assert_eq!(tries, [0, 1, 2, 3, 12, 29, 62, 127, 256, 385, 514]);
    }

    #[test]
    fn a_try_that_pays_is_followed_by_drafting() {
        let mut one = policy(&[1.1, 1.2, 1.3], 3);
        for _ in 0..12 {
            let drafts = one.drafts();
            one.told(drafts, 0);
        }
        let drafts = one.drafts();
        assert!(drafts > 0, "a try");
        one.told(drafts, drafts);
        assert!(one.drafts() > 0 && one.resting.is_none());
    }

    #[test]
    fn drafts_that_no_text_reached_have_the_rate_of_the_one_before() {
        let found = [0, 1, 2].map(|draft| rate(&counts(&[3, 0, 0], &[2, 0, 0]), draft));
        assert_eq!(found, [2.5 / 4.0; 3]);
        assert_eq!(rate(&counts(&[], &[]), 0), 0.5, "nothing is known");
    }
}
