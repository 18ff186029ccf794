//! What is concluded of many texts at once: the plan for each number of texts, and from how many
//! on plain decoding wins.

use super::Answer;
use crate::error::{Error, Result};
use crate::limits::{self, within};
use crate::plan::Plan;
use crate::records::bounds::Bounds;
use crate::units::Estimate;
use serde::{Deserialize, Serialize};

/// One number of texts in `recommendation.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchResult {
    /// Texts that are decoded in lockstep.
    pub batch: usize,
    /// The best plan there, also where plain decoding is faster.
    pub plan: Plan,
    /// Whether it beats plain decoding of as many texts in lockstep.
    pub verdict: Answer,
    /// Its speedup over that, by the cost law.
    pub predicted_speedup: Estimate,
    /// The same, measured end to end; null where it was not confirmed.
    pub measured_speedup: Option<Estimate>,
    /// Tokens per iteration of each text.
    pub tokens_per_iteration: Estimate,
    /// Plain decoding: tokens per second of all texts together, by timed passes.
    pub plain_tokens_per_s: Option<Estimate>,
    /// The plan: tokens per second of all texts together.
    pub tokens_per_s: Option<Estimate>,
    /// Computed peak memory with so many texts; null where the model's shape is not known.
    pub peak_memory_bytes: Option<u64>,
}

/// The number of texts from which on plain decoding wins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BreakEvenBatch {
    /// Interpolated between the two numbers of texts beside it, on a logarithmic axis; its interval
    /// is where the ends of the speedup's interval cross 1, and is null where one does not.
    pub texts: Estimate,
    /// The largest number of texts that was timed at which the best plan is still faster.
    pub below: usize,
    /// The next one that was timed.
    pub above: usize,
}

impl BatchResult {
    /// The speedup that holds: measured where it was, else predicted.
    pub fn speedup(&self) -> Estimate {
        self.measured_speedup.unwrap_or(self.predicted_speedup)
    }

    /// Whether such an entry can be.
    ///
    /// # Errors
    /// Begins with the key.
    pub(super) fn check(&self, layers: usize) -> Result<()> {
        within("by_batch batch", self.batch, &(1..=limits::BATCH))?;
        Bounds { layers, machines: 1 }
            .plan(&self.plan)
            .map_err(|error| Error::invalid(format!("by_batch plan: {error}")))
    }
}

impl BreakEvenBatch {
    /// Whether such a pair can be.
    ///
    /// # Errors
    /// Begins with the key.
    pub(super) fn check(&self) -> Result<()> {
        within("break_even_batch above", self.above, &(2..=limits::BATCH))?;
        within("break_even_batch below", self.below, &(1..=self.above - 1)).map(drop)
    }
}
