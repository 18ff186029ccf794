//! Widening: the same function with more channels, heads and neurons (Net2WiderNet, Chen,
//! Goodfellow, Shlens, arXiv 1511.05641, section 2.2).
//!
//! A small model lives in the cache, where a wide pass costs more than a narrow one and nothing can
//! be gained by speculation. Repeating every channel, head and neuron `factor` times makes each
//! matrix `factor^2` times as large: the memory traffic of a larger model, the text of this one. A
//! unit that was fed by one copy is now fed by `factor` equal copies, so incoming weights are
//! divided by `factor`; a power of two, hence exact in floating point. Sums run over more terms, so
//! logits differ in their last bits from those of the model before widening.

use crate::config::ModelConfig;
use crate::error::{Error, Result};

/// How often each channel, head and neuron is repeated: 1, 2 or 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Widening(usize);

impl Widening {
    /// A widening.
    ///
    /// # Errors
    /// When `factor` is not 1, 2 or 4.
    pub fn new(factor: usize) -> Result<Self> {
        if matches!(factor, 1 | 2 | 4) {
            Ok(Self(factor))
        } else {
            Err(Error::invalid(format!("a model is widened by 1, 2 or 4; found {factor}")))
        }
    }

    /// The number of copies.
    pub fn factor(self) -> usize {
        self.0
    }

    /// The configuration of the widened model.
    pub fn config(self, config: &ModelConfig) -> ModelConfig {
        ModelConfig {
            hidden_size: config.hidden_size * self.0,
            intermediate_size: config.intermediate_size * self.0,
            num_attention_heads: config.num_attention_heads * self.0,
            num_key_value_heads: Some(config.kv_heads() * self.0),
            head_dim: Some(config.head_dim()),
            ..config.clone()
        }
    }

    /// A matrix between two widened layers: `[rows, columns]` to `[factor rows, factor columns]`,
    /// divided by `factor`.
    pub fn matrix(self, matrix: Vec<f32>, columns: usize) -> Vec<f32> {
        let divided: Vec<f32> = matrix.iter().map(|w| w / self.0 as f32).collect();
        self.outputs(self.columns(divided, columns))
    }

    /// Repeats every row's channels: an embedding `[rows, columns]` to `[rows, factor columns]`.
    pub fn columns(self, matrix: Vec<f32>, columns: usize) -> Vec<f32> {
        if self.0 == 1 {
            return matrix;
        }
        matrix.chunks_exact(columns).flat_map(|row| row.repeat(self.0)).collect()
    }

    /// Repeats all outputs one after another; also a vector of one weight per channel.
    pub fn outputs(self, vector: Vec<f32>) -> Vec<f32> {
        if self.0 == 1 { vector } else { vector.repeat(self.0) }
    }

    /// The norm before the head: it takes the division that the head's incoming weights would, so
    /// that a tied head remains the embedding matrix.
    pub fn final_norm(self, weight: Vec<f32>) -> Vec<f32> {
        self.outputs(weight.iter().map(|w| w / self.0 as f32).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_widened_matrix_maps_copies_to_copies() {
        // source: W = [[1, 2], [3, 4]], x = [5, 6]: W x = [17, 39]
        let wide = Widening::new(2).unwrap().matrix(vec![1.0, 2.0, 3.0, 4.0], 2);
        let y: Vec<f32> = wide
            .chunks(4)
            .map(|row| row.iter().zip([5.0, 6.0, 5.0, 6.0]).map(|(w, x)| w * x).sum())
            .collect();
        assert_eq!(y, [17.0, 39.0, 17.0, 39.0]);
        assert!(Widening::new(3).is_err());
    }
}
