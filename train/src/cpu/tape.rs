//! What a forward pass leaves for its backward pass.

use super::halves::Rows;

/// What the norms of heads read, kept for their backward pass; nothing where the model has none.
#[derive(Default)]
pub(crate) struct HeadTape {
    /// Rows of queries, keys and values.
    pub projected: Vec<f32>,
    /// Of each row, of its query heads, then of its key heads.
    pub inverse: Vec<f32>,
}

/// What one layer computed.
#[derive(Default)]
pub(crate) struct LayerTape {
    pub rows: usize,
    pub input: Vec<f32>,
    pub inverse_attention: Vec<f32>,
    pub normed_attention: Vec<f32>,
    pub heads: HeadTape,
    pub qkv: Vec<f32>,
    pub probabilities: Vec<f32>,
    pub attended: Vec<f32>,
    pub middle: Vec<f32>,
    pub inverse_mlp: Vec<f32>,
    pub normed_mlp: Vec<f32>,
    pub gate_up: Vec<f32>,
    pub neurons: Vec<f32>,
}

/// What a sample's forward pass computed, and room for its backward pass.
#[derive(Default)]
pub(crate) struct Tape {
    pub layers: Vec<LayerTape>,
    /// Row at which logits begin, and what is differentiated.
    pub first: usize,
    pub state: Vec<f32>,
    pub inverse: Vec<f32>,
    pub normed: Vec<f32>,
    /// [rows from `first` on, vocabulary or the part of it that is learned]; after
    /// [`super::network::Network::losses`] their gradient.
    pub logits: Vec<f32>,
    /// Tokens of a row of `logits`.
    pub width: usize,
    /// What the model says at every text row, [text, width] probabilities, where drafts learn that.
    pub teacher: Vec<f32>,
    pub rows: Rows,
    pub d_state: Vec<f32>,
    pub d_normed: Vec<f32>,
    pub d_wide: Vec<f32>,
    pub d_qkv: Vec<f32>,
    pub d_inner: Vec<f32>,
    pub scratch: Vec<f32>,
}

impl Tape {
    /// The query, key and value rows of every layer of the last forward pass.
    pub(crate) fn caches(&self) -> Vec<Vec<f32>> {
        self.layers.iter().map(|layer| layer.qkv.clone()).collect()
    }
}

/// `buffer` with `length` elements; what was in it does not matter.
pub(super) fn resize(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    buffer.resize(length, 0.0);
    buffer
}
