//! What is concluded of one task: a class of texts that are named alike.

use super::{Answer, Basis};
use crate::error::{Error, Result};
use crate::limits::{self, within};
use crate::plan::Plan;
use crate::records::bounds::Bounds;
use crate::units::Estimate;
use serde::{Deserialize, Serialize};

/// One task in `recommendation.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskResult {
    /// The task, as the traces name it.
    pub task: String,
    /// Texts of it that were traced under the choice: the clusters of its intervals.
    pub texts: usize,
    /// The plan for it: the choice, unless another plan is faster here with 95 % confidence.
    pub plan: Plan,
    /// Whether that plan beats plain decoding here.
    pub verdict: Answer,
    /// Speedup of that plan over plain decoding, on texts of this task. Where it is not the choice,
    /// each text is judged under the plan that is best on the other texts.
    pub speedup: Estimate,
    /// Tokens per iteration of that plan, on texts of this task.
    pub tokens_per_iteration: Estimate,
    /// Speedup of the choice here.
    pub speedup_of_choice: Estimate,
    /// What the choice loses here against the best plan of the task, as a fraction of the latter's
    /// tokens per second, by paired draws.
    pub loss_of_choice: Estimate,
    /// Where the cost of an iteration comes from.
    pub basis: Basis,
}

impl TaskResult {
    /// Whether such a task can be.
    ///
    /// # Errors
    /// Begins with the key.
    pub(super) fn check(&self, layers: usize) -> Result<()> {
        within("by_task texts", self.texts, &(1..=limits::TOKENS))?;
        Bounds { layers, machines: 1 }
            .plan(&self.plan)
            .map_err(|error| Error::invalid(format!("by_task plan: {error}")))
    }
}
