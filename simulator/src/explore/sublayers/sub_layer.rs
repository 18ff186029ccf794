//! Half a decoder layer, and what skipping it gains and costs.

use serde::Serialize;

/// One half of a decoder layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Half {
    /// Attention with its norm and residual.
    Attention,
    /// MLP with its norm and residual.
    Mlp,
}

/// A sub-layer that may be skipped.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SubLayer {
    /// Its layer.
    pub layer: usize,
    /// Its half.
    pub part: Half,
    /// Share of a full pass that skipping it saves.
    pub share: f64,
    /// What skipping it takes off the logarithm of every acceptance rate.
    pub damage: f64,
}
