//! Generations that set drafts which adapt beside drafts of a fixed number: the rows of
//! `policy.json`.

use crate::units::Seconds;
use serde::{Deserialize, Serialize};

/// How many tokens each iteration of a generation drafted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DraftCount {
    /// None: plain decoding, the control.
    Plain,
    /// As many as the run's choice says.
    Fixed,
    /// As many as a policy said.
    Adaptive,
}

/// One generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySample {
    /// The block: one prompt, decoded in all ways.
    pub block: usize,
    /// Place in the block.
    pub order: usize,
    /// 1 for the second copy of the control, else 0.
    pub copy: usize,
    /// How many tokens its iterations drafted.
    pub drafts: DraftCount,
    /// The prompt's name.
    pub id: String,
    /// The workload it belongs to.
    pub task: Option<String>,
    /// Output tokens.
    pub tokens: usize,
    /// Iterations (plain: steps) after the prompt pass.
    pub iterations: usize,
    /// The time after the prompt pass.
    pub seconds: Seconds,
}
