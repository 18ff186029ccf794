//! One decoder layer: its matrices, norms, biases and adapters.

use crate::backend::adapter::Adapters;
use crate::backend::convert::Vector;
use crate::backend::linear::Linear;

/// One decoder layer.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// `[hidden]`.
    pub attention_norm: Vector,
    /// `[hidden]` to `[(heads + 2 kv_heads) * head_dim]`.
    pub qkv: Linear,
    /// `[(heads + 2 kv_heads) * head_dim]`.
    pub qkv_bias: Option<Vector>,
    /// `[2, head_dim]`: of every query head, of every key head.
    pub head_norms: Option<Vector>,
    /// Whether queries and keys turn with their positions.
    pub turns: bool,
    /// `[heads * head_dim]` to `[hidden]`.
    pub attention_out: Linear,
    /// `[hidden]`.
    pub out_bias: Option<Vector>,
    /// `[hidden]`.
    pub mlp_norm: Vector,
    /// `[hidden]` to `[intermediate]`, SwiGLU included.
    pub gate_up: Linear,
    /// As the products of `gate_up` stand before SwiGLU.
    pub gate_up_bias: Option<Vector>,
    /// `[intermediate]` to `[hidden]`.
    pub down: Linear,
    /// `[hidden]`.
    pub down_bias: Option<Vector>,
    /// Act on draft rows alone.
    pub adapters: Option<Adapters>,
}

impl Layer {
    /// The linear layers, in the order of use.
    pub(crate) fn linears(&self) -> [&Linear; 4] {
        [&self.qkv, &self.attention_out, &self.gate_up, &self.down]
    }

    /// Numbers of biases and head norms.
    pub(crate) fn extra_numbers(&self) -> usize {
        let attention = [&self.qkv_bias, &self.head_norms, &self.out_bias];
        let parts = attention.into_iter().chain([&self.gate_up_bias, &self.down_bias]);
        parts.flatten().map(Vector::count).sum()
    }
}
