//! Low-rank adapters of draft rows (LoRA: Hu et al., arXiv 2106.09685): how a model whose own
//! weights must not change learns to draft several tokens at once.
//!
//! Every layer has four, one for each of its matrices (queries, keys and values count as one, gate
//! and up projection as another). Where the layer computes `x W^T`, a draft row gets
//! `x W^T + alpha / rank (x A^T) B^T`, with `A[rank, inputs]` and `B[outputs, rank]`.
//!
//! They act on the rows of the draft pass in simultaneous drafting, the last token's row and the
//! masks': that is what they are trained on. Prompt, plain and verify passes never meet them, so
//! the model's own text is what it was, to the bit. Sequential drafting does not use them either:
//! it feeds one token after the other, which they were not trained on, and drafts as it does
//! without them.

use super::Backend;
use super::convert::Rows;
use super::linear::Linear;
use crate::error::Result;

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
    pub(crate) fn forward(&self, backend: &Backend, x: &Rows) -> Result<Rows> {
        self.b.forward(backend, &self.a.forward(backend, x)?)
    }

    /// The same added to `residual[rows, outputs]`.
    pub(crate) fn forward_add(&self, backend: &Backend, x: &Rows, residual: &Rows) -> Result<Rows> {
        self.b.forward_add(backend, &self.a.forward(backend, x)?, residual)
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
    pub(crate) fn bytes(&self) -> u64 {
        [&self.qkv, &self.attention_out, &self.gate_up, &self.down].map(Adapter::bytes).iter().sum()
    }
}
