//! What one sample teaches: its rows, what they are to predict, how much each counts, and its
//! losses.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// What draft rows learn to predict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DraftTargets {
    /// The text that is trained on.
    #[default]
    Text,
    /// The token that the model itself, at full depth, finds most likely at each place of that
    /// text: what a greedy verify pass accepts. For a model that does not change meanwhile
    /// (self-distillation: Zhou et al., arXiv 2310.08461; Cai et al., arXiv 2401.10774).
    Choices,
}

/// What the loss of a draft row is made of, as shares of its gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DraftLoss {
    /// Of the cross-entropy with all that the model says at that place, in place of its choice
    /// alone.
    pub soft: f32,
    /// Of the total variation between the draft and the choice, which is the chance that a drawn
    /// draft is refused.
    pub variation: f32,
}

/// One sequence with its draft groups.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// Text rows plus one: row i is to predict token i + 1.
    pub tokens: Vec<u32>,
    /// Positions at which drafting is trained, ascending, from 1 to text - group.
    pub anchors: Vec<usize>,
    /// Layers that draft rows leave out.
    pub skip: Range<usize>,
    /// What draft rows are to predict: number i is to follow text row i. The text itself, or what
    /// the model finds most likely there.
    pub next: Vec<u32>,
}

impl Sample {
    /// A sample whose draft rows are to predict the text.
    pub(crate) fn new(tokens: Vec<u32>, anchors: Vec<usize>, skip: Range<usize>) -> Self {
        let next = tokens[1..].to_vec();
        Self { tokens, anchors, skip, next }
    }

    /// Text rows.
    pub(crate) fn text(&self) -> usize {
        self.tokens.len() - 1
    }
}

/// Losses of one sample, sums in nats.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Losses {
    /// Over text rows.
    pub text: f64,
    /// Over draft rows, by their place in the group.
    pub draft: Vec<f64>,
    /// Draft groups.
    pub groups: usize,
}

/// How much one row's loss counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowWeights {
    pub text: f32,
    /// Of the first row of a draft group.
    pub draft: f32,
    /// Every further row of a group counts so much of the one before it.
    pub fall: f32,
    /// What the loss of a draft row is made of.
    pub loss: DraftLoss,
}

impl RowWeights {
    /// Rows that count `text` and `draft`, with cross-entropy alone.
    pub(crate) const fn even(text: f32, draft: f32) -> Self {
        Self { text, draft, fall: 1.0, loss: DraftLoss { soft: 0.0, variation: 0.0 } }
    }
}
