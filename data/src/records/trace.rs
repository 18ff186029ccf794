//! What was accepted: traces and counts. Never a stored rate (`alpha` is computed by `simulator`).

use crate::error::{Error, Result};
use crate::limits::{self, within};
use crate::plan::{Draft, Drafting, LayerSet, Predictors, Skip, SkipWindow};
use crate::quote::shown;
use crate::records::bounds::Bounds;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Accepted drafts at every position of one text, for one window and drafting: one line of
/// `acceptance.jsonl`.
///
/// `accepted[c - 1]` = drafts that an iteration would have accepted if it started when `c` output
/// tokens were committed; the free token of the verify pass is not counted. The last entry is
/// never used by a walk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// How drafts were made; absent in traces that people write by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drafting: Option<Drafting>,
    /// First skipped layer; null for a free set.
    #[serde(default)]
    pub skip_start: Option<usize>,
    /// First layer after the skipped ones; null for a free set.
    #[serde(default)]
    pub skip_end: Option<usize>,
    /// The free set, when it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_set: Option<LayerSet>,
    /// Drafts tried at every position; entries of `accepted` do not exceed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gamma_max: Option<Predictors>,
    /// Where the trace was written out from counts: the drafts per iteration that were counted. A
    /// walk with as many gives the counts back; with fewer it rests on an assumption, since other
    /// positions are visited then. Absent where every position was traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_drafts: Option<Predictors>,
    /// The text's name; one per prompt.
    #[serde(default)]
    pub id: String,
    /// The workload it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Prompt tokens.
    pub prompt: usize,
    /// Accepted drafts by position; its length is the number of output tokens.
    pub accepted: Vec<u32>,
    /// `confidence[c - 1][i - 1]` = top probability of draft `i` at position `c`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Vec<Vec<f32>>>,
}

impl Trace {
    /// Output tokens of the text.
    pub fn tokens(&self) -> usize {
        self.accepted.len()
    }

    /// The window, when start and end are given.
    pub fn window(&self) -> Option<SkipWindow> {
        SkipWindow::new(self.skip_start?, self.skip_end?).ok()
    }

    /// What was skipped, where it is said.
    pub fn skip(&self) -> Option<Skip> {
        match &self.skip_set {
            Some(set) => Some(Skip::Set { layers: Arc::new(set.clone()) }),
            None => self.window().map(Skip::Window),
        }
    }

    /// How drafts were made and what was skipped, where both are said.
    pub fn draft(&self) -> Option<Draft> {
        Some(Draft { drafting: self.drafting?, skip: self.skip()? })
    }

    /// Whether such a line of `acceptance.jsonl` can be.
    ///
    /// # Errors
    /// As [`Self::validate`]; a skip that the model does not have.
    pub fn check(&self, bounds: &Bounds) -> Result<()> {
        self.validate()?;
        self.skip().map_or(Ok(()), |skip| bounds.skip(&skip))
    }

    /// Whether the fields fit together.
    ///
    /// # Errors
    /// An empty trace, an entry above `gamma_max`, half a window, a set that does not rise, a
    /// confidence of another shape, a number beyond [`crate::limits`].
    pub fn validate(&self) -> Result<()> {
        let fail = |message: String| {
            Err(Error::invalid(format!("trace '{}': {message}", shown(&self.id))))
        };
        if self.accepted.is_empty() {
            return fail("'accepted' is empty; expected one count per output token".into());
        }
        within("prompt", self.prompt, &(0..=limits::TOKENS))?;
        let most = self.accepted.iter().max().map_or(0, |most| *most as usize);
        within("accepted", most, &(0..=limits::TOKENS))?;
        self.skip_set.as_ref().map_or(Ok(()), LayerSet::check)?;
        if let Some(max) = self.gamma_max
            && let Some(position) = self.accepted.iter().position(|&a| a as usize > max.get())
        {
            return fail(format!(
                "accepted[{position}] = {} exceeds gamma_max = {max}",
                self.accepted[position]
            ));
        }
        if self.skip_start.is_some() != self.skip_end.is_some() {
            return fail("skip_start and skip_end must be given together".into());
        }
        if let (Some(start), Some(end)) = (self.skip_start, self.skip_end) {
            SkipWindow::new(start, end)?;
        }
        if let Some(confidence) = &self.confidence {
            if confidence.len() != self.accepted.len() {
                return fail(format!(
                    "confidence has {} positions, accepted has {}",
                    confidence.len(),
                    self.accepted.len()
                ));
            }
            let outside = confidence.iter().flatten().find(|p| !(0.0..=1.0).contains(*p));
            if let Some(p) = outside {
                return fail(format!("a confidence lies in [0, 1]; found {p}"));
            }
        }
        Ok(())
    }
}

/// Attempted and accepted drafts per predictor: draft `i` is attempted when drafts `1..i` were
/// accepted. Integers only.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptanceCounts {
    /// Times draft `i + 1` was judged.
    pub attempted: Vec<u64>,
    /// Times it was right.
    pub accepted: Vec<u64>,
}

impl AcceptanceCounts {
    /// No observation yet, for `predictors` drafts.
    pub fn new(predictors: usize) -> Self {
        Self { attempted: vec![0; predictors], accepted: vec![0; predictors] }
    }

    /// Counts one iteration that accepted `accepted` of the drafts.
    pub fn record(&mut self, accepted: usize) {
        let predictors = self.attempted.len();
        for i in 0..predictors.min(accepted + 1) {
            self.attempted[i] += 1;
            self.accepted[i] += u64::from(i < accepted);
        }
    }

    /// Adds the counts of `other` (same number of predictors).
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.attempted.iter_mut().zip(&other.attempted) {
            *mine += theirs;
        }
        for (mine, theirs) in self.accepted.iter_mut().zip(&other.accepted) {
            *mine += theirs;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_stop_at_the_first_rejection() {
        let mut counts = AcceptanceCounts::new(3);
        counts.record(0);
        counts.record(2);
        counts.record(3);
        assert_eq!(counts.attempted, [3, 2, 2]);
        assert_eq!(counts.accepted, [2, 2, 1]);
    }

    #[test]
    fn a_trace_that_contradicts_itself_is_refused() {
        let line = r#"{"id":"r1","prompt":3,"gamma_max":2,"accepted":[2,0,3]}"#;
        let trace: Trace = serde_json::from_str(line).unwrap();
        assert!(trace.validate().unwrap_err().to_string().contains("accepted[2] = 3"));
        for bad in [
            r#"{"prompt":3,"accepted":[1.5]}"#,
            r#"{"prompt":3,"accepted":[-1]}"#,
            r#"{"prompt":3,"accepted":[1],"unknown":2}"#,
        ] {
            assert!(serde_json::from_str::<Trace>(bad).is_err(), "{bad}");
        }
    }
}
