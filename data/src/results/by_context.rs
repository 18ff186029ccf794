//! What is concluded at one of several contexts.

use super::Answer;
use crate::error::{Error, Result};
use crate::limits::{self, within};
use crate::plan::Plan;
use crate::records::bounds::Bounds;
use crate::units::{Bytes, Estimate};
use serde::{Deserialize, Serialize};

/// The most contexts that one run is asked about.
pub const CONTEXTS: usize = 64;

/// How the speedup at a context is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContextBasis {
    /// By end-to-end blocks: at the run's own context.
    Measured,
    /// By passes timed at this context, or between two that were timed.
    Predicted,
    /// By the growth of passes at other contexts: this one lies outside of all.
    Extrapolated,
}

impl ContextBasis {
    /// The word used in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Predicted => "predicted",
            Self::Extrapolated => "extrapolated",
        }
    }
}

/// One context in `recommendation.json`. Acceptance is that of the traced texts at every context;
/// what moves is the cost of an iteration and of a plain step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContextResult {
    /// Tokens of context.
    pub context: usize,
    /// The plan for it: the choice, unless another plan is surely faster here; null where none fits
    /// the memory.
    pub plan: Option<Plan>,
    /// Whether that plan beats plain decoding here.
    pub verdict: Answer,
    /// How its speedup is known.
    pub basis: ContextBasis,
    /// Its speedup over plain decoding at this context.
    pub speedup: Option<Estimate>,
    /// Speedup of the run's one choice here; null where it does not fit.
    pub speedup_of_choice: Option<Estimate>,
    /// What the choice loses against the plan, as a fraction of the latter's tokens per second, by
    /// paired draws; null where it does not fit.
    pub loss_of_choice: Option<Estimate>,
    /// Tokens per second of the plan.
    pub tokens_per_s: Option<Estimate>,
    /// Tokens per second of plain decoding here.
    pub plain_tokens_per_s: Option<Estimate>,
    /// Peak memory of the plan.
    pub peak_memory_bytes: Option<Bytes>,
}

impl ContextResult {
    /// Whether such a context can be.
    ///
    /// # Errors
    /// Begins with the key.
    pub(super) fn check(&self, layers: usize) -> Result<()> {
        within("by_context context", self.context, &(1..=limits::TOKENS))?;
        self.plan.as_ref().map_or(Ok(()), |plan| {
            Bounds { layers, machines: 1 }
                .plan(plan)
                .map_err(|error| Error::invalid(format!("by_context plan: {error}")))
        })
    }

    /// The row that other programs read. Where speculation does not surely pay it says to decode
    /// plainly, unless the best plan is wanted `anyway`.
    pub fn row(&self, anyway: bool) -> ContextRow {
        if !anyway && self.verdict != Answer::Speculate {
            return ContextRow {
                context: self.context,
                plan: Some(Plan::Plain),
                window: None,
                drafts: Some(0),
                speedup: Some(1.0),
                low: None,
                high: None,
                basis: self.basis,
            };
        }
        let draft = self.plan.as_ref().and_then(Plan::draft);
        ContextRow {
            context: self.context,
            plan: self.plan.clone(),
            window: draft.map(|draft| draft.skip.to_string()),
            drafts: draft.map(|draft| draft.predictors.get()),
            speedup: self.speedup.map(|speedup| speedup.value),
            low: self.speedup.and_then(|speedup| speedup.low),
            high: self.speedup.and_then(|speedup| speedup.high),
            basis: self.basis,
        }
    }
}

/// A row of `s3d export --table context`: what an engine looks up by context.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ContextRow {
    /// Tokens of context.
    pub context: usize,
    /// The plan in text.
    pub plan: Option<Plan>,
    /// What its draft passes skip.
    pub window: Option<String>,
    /// Tokens drafted per iteration.
    pub drafts: Option<usize>,
    /// Speedup over plain decoding.
    pub speedup: Option<f64>,
    /// Lower end of its 95 % interval.
    pub low: Option<f64>,
    /// Upper end of it.
    pub high: Option<f64>,
    /// How it is known.
    pub basis: ContextBasis,
}

/// Up to which context speculation pays.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ContextLimit {
    /// The longest asked context at which the best plan is faster than plain decoding; null where
    /// it is at none.
    pub pays_up_to: Option<usize>,
    /// The next one, at which it is not; null where it pays at the longest.
    pub stops_by: Option<usize>,
    /// Where the speedup of the best plan falls to 1, interpolated between the two. An end of its
    /// interval is null where it lies beyond the contexts that were asked about.
    pub crossing: Option<Estimate>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_names_window_and_drafts_of_the_plan_or_says_to_decode_plainly() {
        let mut result = ContextResult {
            context: 512,
            plan: Some("seq:3..9:4".parse().unwrap()),
            verdict: Answer::Speculate,
            basis: ContextBasis::Extrapolated,
            speedup: Some(Estimate::new(1.5, 1.25, 1.75)),
            speedup_of_choice: None,
            loss_of_choice: None,
            tokens_per_s: None,
            plain_tokens_per_s: None,
            peak_memory_bytes: None,
        };
        let row = serde_json::to_value(result.row(false)).unwrap();
        let expected = serde_json::json!({
            "context": 512, "plan": "seq:3..9:4", "window": "3..9", "drafts": 4,
            "speedup": 1.5, "low": 1.25, "high": 1.75, "basis": "extrapolated",
        });
        assert_eq!(row, expected);
        assert!(result.check(12).is_ok());
        assert!(result.check(6).unwrap_err().to_string().contains("by_context plan"));
        result.verdict = Answer::CannotTellYet;
        let plain = result.row(false);
        assert_eq!((plain.plan, plain.drafts), (Some(Plan::Plain), Some(0)));
        assert_eq!(result.row(true).drafts, Some(4));
        result.plan = None;
        assert_eq!(result.row(true).drafts, None);
    }
}
