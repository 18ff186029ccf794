//! The shape of a decoder: enough to count its parameters.

use crate::error::{Error, Result};
use crate::limits::{self, within};
use serde::{Deserialize, Serialize};

/// The shape of a Llama-style decoder; enough to count its bytes and operations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelShape {
    /// Decoder layers (`L` in the paper).
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the gated MLP.
    pub intermediate: usize,
    /// Query heads.
    pub heads: usize,
    /// Key-value heads.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Vocabulary, masks not counted.
    pub vocab: usize,
    /// Whether the head shares the embedding's weights.
    pub tied: bool,
    /// Mask embeddings (0 where the checkpoint has none).
    pub masks: usize,
    /// Rank of the adapters that act on draft rows (0 where the checkpoint has none).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub adapter_rank: usize,
    /// Tokens that drafts are chosen from (0: all, by the head of verification).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub draft_vocab: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl ModelShape {
    /// Whether more than the number of layers is known: of measurements from outside it is often
    /// not, and then neither is the memory.
    pub fn is_known(&self) -> bool {
        self.hidden > 0
    }

    /// A shape of which only the number of layers is known.
    pub fn of_layers(layers: usize) -> Self {
        Self {
            layers,
            hidden: 0,
            intermediate: 0,
            heads: 0,
            kv_heads: 0,
            head_dim: 0,
            vocab: 0,
            tied: false,
            masks: 0,
            adapter_rank: 0,
            draft_vocab: 0,
        }
    }

    /// Rows of the head that a draft pass multiplies by.
    pub fn draft_head_rows(&self) -> usize {
        if self.draft_vocab > 0 { self.draft_vocab } else { self.vocab }
    }

    /// Parameters of one decoder layer: projections, MLP and its two norms.
    pub fn layer_parameters(&self) -> u64 {
        let q = self.hidden * self.heads * self.head_dim;
        let kv = self.hidden * self.kv_heads * self.head_dim;
        let mlp = self.hidden * self.intermediate;
        (2 * q + 2 * kv + 3 * mlp + 2 * self.hidden) as u64
    }

    /// Parameters of the adapters of one decoder layer: two factors for each of its four matrices
    /// (queries, keys and values count as one, gate and up projection as another).
    pub(crate) fn adapter_parameters(&self) -> u64 {
        let (queries, keys) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let attention = (self.hidden + queries + 2 * keys) + (queries + self.hidden);
        let mlp = (self.hidden + 2 * self.intermediate) + (self.intermediate + self.hidden);
        (self.adapter_rank * (attention + mlp)) as u64
    }

    /// All parameters: embedding, layers, last norm, head (if untied), masks, adapters.
    pub fn parameters(&self) -> u64 {
        let table = (self.vocab * self.hidden) as u64;
        let tables = if self.tied { table } else { 2 * table };
        let rest = (self.hidden + self.masks * self.hidden) as u64;
        let layer = self.layer_parameters() + self.adapter_parameters();
        tables + self.layers as u64 * layer + rest
    }

    /// Key-value elements that one token of context holds, over all layers.
    pub fn kv_elements_per_token(&self) -> u64 {
        (2 * self.layers * self.kv_heads * self.head_dim) as u64
    }
}

impl ModelShape {
    /// Whether its numbers are within bounds; what is not known of an imported one is 0.
    ///
    /// # Errors
    /// Begins with the key.
    pub fn check(&self) -> Result<()> {
        let width = 0..=limits::WIDTH;
        within("layers", self.layers, &(1..=limits::LAYERS))?;
        within("hidden", self.hidden, &width)?;
        within("intermediate", self.intermediate, &width)?;
        within("heads", self.heads, &width)?;
        within("kv_heads", self.kv_heads, &width)?;
        within("head_dim", self.head_dim, &width)?;
        // No overflow: each is at most 2^20.
        within("heads", self.heads * self.head_dim, &width)
            .and_then(|_| within("kv_heads", self.kv_heads * self.head_dim, &width))
            .map_err(|e| Error::invalid(format!("{e} (times head_dim)")))?;
        within("vocab", self.vocab, &(0..=limits::VOCAB))?;
        within("masks", self.masks, &(0..=limits::LAYERS))?;
        within("adapter_rank", self.adapter_rank, &(0..=1 << 16))?;
        within("draft_vocab", self.draft_vocab, &(0..=self.vocab))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn llama_2_7b_has_its_published_parameter_count() {
        // source: Touvron et al., arXiv 2307.09288: 6.74e9 parameters (6,738,415,616 in the
        // checkpoint)
        let shape = crate::published::preset("llama-2-7b").unwrap().shape();
        assert_eq!(shape.parameters(), 6_738_415_616);
        assert_eq!(shape.kv_elements_per_token() * 2, 524_288); // 512 KiB a token at f16
    }
}
