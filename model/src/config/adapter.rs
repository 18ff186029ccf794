//! Which matrices have adapters, what these are called, and which rows they act on.

use super::ModelConfig;
use s3d_data::Drafting;

/// How the names of all adapters begin.
pub const PREFIX: &str = "s3d.adapters.";

/// Whether adapters act on the rows of a draft pass.
pub(crate) fn adapts(drafting: Drafting) -> bool {
    drafting == Drafting::Simultaneous
}

/// A matrix of a layer that has an adapter, by its name; fused ones by that of Phi-3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Queries, keys and values, one below the other.
    Qkv,
    /// From the attention back into the residual stream.
    AttentionOut,
    /// Gate and up projection, one below the other.
    GateUp,
    /// From the MLP back into the residual stream.
    Down,
}

impl Part {
    /// All of them, in the order of use.
    pub const ALL: [Self; 4] = [Self::Qkv, Self::AttentionOut, Self::GateUp, Self::Down];

    /// The names of `A` and `B` in layer `layer`.
    pub fn names(self, layer: usize) -> [String; 2] {
        let part = match self {
            Self::Qkv => "self_attn.qkv_proj",
            Self::AttentionOut => "self_attn.o_proj",
            Self::GateUp => "mlp.gate_up_proj",
            Self::Down => "mlp.down_proj",
        };
        ["a", "b"].map(|factor| format!("{PREFIX}{layer}.{part}.{factor}.weight"))
    }

    /// Inputs and outputs of the matrix in a model of this shape.
    pub fn sizes(self, config: &ModelConfig) -> [usize; 2] {
        let (hidden, neurons) = (config.hidden_size, config.intermediate_size);
        let queries = config.num_attention_heads * config.head_dim();
        let keys = config.kv_heads() * config.head_dim();
        match self {
            Self::Qkv => [hidden, queries + 2 * keys],
            Self::AttentionOut => [queries, hidden],
            Self::GateUp => [hidden, 2 * neurons],
            Self::Down => [neurons, hidden],
        }
    }
}
