//! Low-rank adapters of draft rows (LoRA: Hu et al., arXiv 2106.09685): how a model whose own weights must
//! not change learns to draft several tokens at once.
//!
//! Every layer has four, one for each of its matrices (queries, keys and values count as one, gate
//! and up projection as another). Where the layer computes `x W^T`, a draft row gets
//! `x W^T + alpha / rank (x A^T) B^T`, with `A[rank, inputs]` and `B[outputs, rank]`.
//!
//! They act on the rows of the draft pass in simultaneous drafting, the last token's row and the masks':
//! that is what they are trained on. Prompt, plain and verify passes never meet them, so
//! the model's own text is what it was, to the bit. Sequential drafting does not use them either: it
//! feeds one token after the other, which they were not trained on, and drafts as it does without them.

mod added;
mod base;

pub(crate) use added::Added;
pub use added::{ADDED_CONFIG, AddedConfig, config_with};
pub use base::{BaseIdentity, NEAR};

use crate::linear::Linear;
use crate::ops::Ops;
use crate::{ModelConfig, Result};
use candle_core::Tensor;
use s3d_data::Drafting;

/// How the names of all adapters begin.
pub const PREFIX: &str = "s3d.adapters.";

/// Whether adapters act on the rows of a draft pass.
pub fn adapts(drafting: Drafting) -> bool {
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

/// One adapter.
#[derive(Debug, Clone)]
pub(crate) struct Adapter {
    /// `[inputs]` to `[rank]`.
    pub a: Linear,
    /// `[rank]` to `[outputs]`, times `alpha / rank`.
    pub b: Linear,
}

impl Adapter {
    /// What it adds to the products of `x[rows, inputs]`: `[rows, outputs]`.
    pub fn forward(&self, ops: &Ops, x: &Tensor) -> Result<Tensor> {
        self.b.forward(ops, &self.a.forward(ops, x)?)
    }

    /// The same added to `residual[rows, outputs]`.
    pub fn forward_add(&self, ops: &Ops, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        self.b.forward_add(ops, &self.a.forward(ops, x)?, residual)
    }

    fn bytes(&self) -> u64 {
        self.a.bytes() + self.b.bytes()
    }
}

/// The adapters of one layer.
#[derive(Debug, Clone)]
pub(crate) struct Adapters {
    pub qkv: Adapter,
    pub attention_out: Adapter,
    /// Its outputs alternate as those of the layer's own matrix do.
    pub gate_up: Adapter,
    pub down: Adapter,
}

impl Adapters {
    /// Weight bytes of all four.
    pub fn bytes(&self) -> u64 {
        [&self.qkv, &self.attention_out, &self.gate_up, &self.down].map(Adapter::bytes).iter().sum()
    }
}
