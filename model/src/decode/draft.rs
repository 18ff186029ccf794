//! Drafting: tokens guessed by a part of the layers, in one pass or in several.

use crate::backend::kv_cache::KvCache;
use crate::backend::logits::{Logits, argmax_rows, for_each_row};
use crate::decode::observer::Observer;
use crate::decode::sample::{Distribution, Sampling};
use crate::decode::verify::{Verified, verify_greedy, verify_sampled};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::draft_head::Columns;
use s3d_data::{DraftPlan, Drafting, Skip};
use s3d_kernels::elementwise::{argmax, probability};

/// How sure a draft is: the top probability of its row of logits. Of the row, not of the token:
/// whether a draft is verified must not depend on which token was drawn, or what is committed would
/// no longer have the full model's distribution.
pub(crate) fn confidence(row: &[f32]) -> f32 {
    probability(row, argmax(row) as usize) as f32
}

/// The confidence below which a draft ends: that draft and those after it are not verified.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DraftThreshold(f64);

impl DraftThreshold {
    /// No draft ends early.
    pub(crate) const OFF: Self = Self(0.0);

    /// A threshold from 0 (off) to 1 (only what is certain, to the precision of f32).
    ///
    /// # Errors
    /// Any other number.
    pub fn new(threshold: f64) -> Result<Self> {
        match (0.0..=1.0).contains(&threshold) {
            true => Ok(Self(threshold)),
            false => Err(Error::Invalid(format!("expected 0 to 1, found {threshold}"))),
        }
    }

    /// The threshold.
    pub fn get(self) -> f64 {
        self.0
    }

    fn ends(self, row: &[f32]) -> bool {
        self != Self::OFF && f64::from(confidence(row)) < self.0
    }
}

/// The drafts of one iteration in the making, and the rule by which they are taken from logits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Proposal {
    /// The drafts.
    pub tokens: Vec<u32>,
    /// What each was drawn from, where tokens are drawn.
    pub drawn_from: Vec<Distribution>,
    sampling: Option<Sampling>,
    threshold: DraftThreshold,
    /// Place of the first draft in the output.
    place: usize,
}

impl Proposal {
    /// No drafts yet for the output from `place` on: the most likely tokens, or drawn ones.
    pub(crate) fn new(sampling: Option<Sampling>, threshold: DraftThreshold, place: usize) -> Self {
        let (tokens, drawn_from) = (Vec::new(), Vec::new());
        Self { tokens, drawn_from, sampling, threshold, place }
    }

    /// Takes the next draft from its `row` of logits, whose tokens `columns` says; says whether it
    /// is one, or drafting ends with it.
    fn take(&mut self, row: &[f32], columns: Columns<'_>) -> Result<bool> {
        if self.threshold.ends(row) {
            return Ok(false);
        }
        self.tokens.push(match &self.sampling {
            None => columns.token(argmax(row)),
            Some(sampling) => {
                let distribution = columns.spread(sampling.distribution(row)?);
                let numbers = sampling.numbers(self.place + self.tokens.len());
                let token = distribution.draw(numbers.draft);
                self.drawn_from.push(distribution);
                token
            }
        });
        Ok(true)
    }

    /// Whether it takes the most likely tokens, all of them.
    pub(crate) fn is_greedy(&self) -> bool {
        self.sampling.is_none() && self.threshold == DraftThreshold::OFF
    }

    /// Takes these columns, the most likely ones, as drafts.
    pub(crate) fn take_chosen(&mut self, chosen: &[u32], columns: Columns<'_>) {
        self.tokens.extend(chosen.iter().map(|&column| columns.token(column)));
    }

    /// Takes drafts from `logits[rows, columns]` until drafting ends; says whether it has not.
    pub(crate) fn take_rows(&mut self, logits: &Logits, columns: Columns<'_>) -> Result<bool> {
        if self.is_greedy() {
            // A device finds these without giving up its logits.
            self.take_chosen(&argmax_rows(logits)?, columns);
            return Ok(true);
        }
        let mut going_on = Ok(true);
        for_each_row(logits, |row| {
            if let Ok(true) = going_on {
                going_on = self.take(row, columns);
            }
        })?;
        going_on
    }

    /// Accepts drafts by the full model's most likely tokens, one more than there are drafts.
    pub(crate) fn verify_chosen(&self, choices: &[u32]) -> Verified {
        let accepted = verify_greedy(&self.tokens, choices);
        Verified { accepted, next: choices[accepted] }
    }

    /// Accepts drafts by the `logits[drafts + 1, vocab]` of the full model.
    ///
    /// # Errors
    /// Logits of another shape, or that are no numbers.
    pub(crate) fn verify(&self, logits: &Logits) -> Result<Verified> {
        let Some(sampling) = &self.sampling else {
            return Ok(self.verify_chosen(&argmax_rows(logits)?));
        };
        let rows = logits.to_rows()?;
        let targets = rows.iter().map(|row| sampling.distribution(row));
        let numbers = |draft| sampling.numbers(self.place + draft);
        verify_sampled(&self.tokens, &self.drawn_from, targets, numbers)
    }
}

/// Drafts up to `plan.predictors` tokens after `token`, which continues the text in `cache`, into
/// `proposal`. The cache is left as it was found.
///
/// # Errors
/// When a pass fails (see [`Model::draft_pass`]), or logits are no numbers that could be drawn
/// from.
pub(crate) fn draft(
    model: &Model,
    token: u32,
    plan: &DraftPlan,
    proposal: &mut Proposal,
    cache: &mut KvCache,
    observer: &mut dyn Observer,
) -> Result<()> {
    let (len, columns) = (cache.len(), model.columns());
    match plan.drafting {
        Drafting::Simultaneous => {
            let masks = plan.predictors.get() - 1;
            let logits =
                model.draft_pass(plan.drafting, token, masks, &plan.skip, cache, observer)?;
            proposal.take_rows(&logits, columns)?;
        }
        Drafting::Sequential => {
            // One pass of width 1 per draft, each fed the draft before.
            let mut last = token;
            for _ in 0..plan.predictors.get() {
                let logits =
                    model.draft_pass(plan.drafting, last, 0, &plan.skip, cache, observer)?;
                if !proposal.take_rows(&logits, columns)? {
                    break;
                }
                last = proposal.tokens.last().copied().unwrap_or(last);
            }
        }
    }
    cache.truncate(len);
    Ok(())
}

impl Model {
    /// Whether this model can draft by `plan`.
    ///
    /// # Errors
    /// Says what does not fit: layers that do not exist, nothing left to run, too few masks.
    pub fn check_plan(&self, plan: &DraftPlan) -> Result<()> {
        self.check_skip(&plan.skip)?;
        let (drafts, most) = (plan.predictors.get(), self.config.masks() + 1);
        if plan.drafting == Drafting::Simultaneous && drafts > most {
            let needs = match self.config.masks() {
                0 => "which this checkpoint was not trained for (it has no mask embeddings; add \
                      them with s3d train --model DIR --corpus FILES --out OTHER); draft one \
                      after the other with"
                    .to_string(),
                masks => format!("a model with {masks} masks at most {most}; use fewer, or"),
            };
            return Err(Error::invalid(format!(
                "plan {plan} drafts {drafts} tokens at once, {needs} seq:{plan}"
            )));
        }
        Ok(())
    }

    /// Whether this model has the sub-layers that `skip` leaves out, and others.
    pub(crate) fn check_skip(&self, skip: &Skip) -> Result<()> {
        Ok(skip.check(self.layers.len())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal(threshold: f64) -> Proposal {
        Proposal::new(None, DraftThreshold::new(threshold).unwrap(), 0)
    }

    #[test]
    fn a_draft_ends_before_the_first_row_below_the_threshold() {
        // source: by hand. Two logits that differ by ln 3 have the probabilities 3/4 and 1/4, by ln
        // 9 0.9 and 0.1.
        let (three, nine) = (3f32.ln(), 9f32.ln());
        let rows = [nine, 0.0, 0.0, three, 0.0, nine];
        let logits = Logits::of(&rows, 2);
        let taken = |threshold| {
            let mut proposal = proposal(threshold);
            let columns = Columns::new(None, 2);
            proposal
                .take_rows(&logits, columns)
                .map(|going_on| (going_on, proposal.tokens))
                .unwrap()
        };
        assert_eq!(taken(0.0), (true, vec![0, 1, 1]));
        assert_eq!(taken(0.74), (true, vec![0, 1, 1]));
        assert_eq!(taken(0.76), (false, vec![0]));
        assert_eq!(taken(0.91), (false, vec![]));
    }

    #[test]
    fn a_threshold_of_1_takes_what_is_certain() {
        // The confidence itself is as sure as the threshold: it does not lie below.
        assert!(!DraftThreshold::new(1.0).unwrap().ends(&[0.0, 200.0]));
        assert!(DraftThreshold::new(1.0).unwrap().ends(&[0.0, 9.0]));
        assert!(!DraftThreshold::new(0.5).unwrap().ends(&[1.0, 1.0]));
        assert!(!DraftThreshold::OFF.ends(&[f32::NAN, 1.0]));
        for bad in [-0.1, 1.1, f64::NAN] {
            assert!(DraftThreshold::new(bad).is_err(), "{bad}");
        }
    }
}
