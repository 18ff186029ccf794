//! Where weights come from: safetensors files (one or sharded), a GGUF file, or a seed.
//!
//! Every source answers to the names of a Hugging Face checkpoint. Tensors are read one by one. A
//! matrix that is stored in the wanted number type is handed on bit by bit, all else is converted
//! to `f32` piece by piece as it comes.

use crate::error::{Error, Result};
use crate::weights::draft_vocabulary::{DRAFT_VOCABULARY, DraftVocabulary};
use crate::weights::encoded::{Matrix, RawTensor};
use half::{bf16, f16};
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use s3d_data::Dtype;
use s3d_kernels::packed::row_bytes;
use sha2::{Digest, Sha256};
use std::ops::Range;

/// The embedding matrix.
pub(crate) const EMBEDDING: &str = "model.embed_tokens.weight";
/// The head's matrix, where it is not the embedding.
pub const HEAD: &str = "lm_head.weight";

/// Gives the weights of a model by their names in a Hugging Face checkpoint.
pub trait WeightSource {
    /// The tensor `name` of `shape`, row by row.
    ///
    /// # Errors
    /// When there is no such tensor, it has another shape, it cannot be read, or it holds a number
    /// that is not finite.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>>;

    /// The matrix `name` of `shape`: bit by bit where it is stored as `wanted`, else as numbers. By
    /// default, numbers.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    fn matrix(&self, name: &str, shape: [usize; 2], wanted: Dtype) -> Result<Matrix> {
        let _ = wanted;
        Ok(Matrix::F32(self.tensor(name, &shape)?))
    }

    /// The rows `rows` of such a matrix, which is wanted band by band; nothing where a source
    /// cannot give it so.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    fn rows(
        &self,
        name: &str,
        shape: [usize; 2],
        rows: Range<usize>,
        wanted: Dtype,
    ) -> Result<Option<Matrix>> {
        let _ = (name, shape, rows, wanted);
        Ok(None)
    }

    /// The list of `count` tokens of a vocabulary of `vocab` that drafts are chosen from.
    ///
    /// # Errors
    /// When there is none, as by default; it has another length, is no such list, or cannot be
    /// read.
    fn draft_vocabulary(&self, count: usize, vocab: usize) -> Result<DraftVocabulary> {
        let _ = (count, vocab);
        Err(Error::invalid(format!(
            "no tensor '{DRAFT_VOCABULARY}', which the configuration requires"
        )))
    }

    /// All names that there are; none where a source makes up whatever it is asked for.
    fn names(&self) -> Vec<String>;

    /// What was found in the files and is not followed, a line each.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// A text that tells these weights from others, as hexadecimal digits.
    ///
    /// # Errors
    /// When the files cannot be read.
    fn content_hash(&self) -> Result<String>;
}

/// Weights drawn from a seed: a model for tests and for timing, never for text.
#[derive(Debug)]
pub struct Seeded {
    seed: u64,
}

impl Seeded {
    /// The weights of `seed`; the same name and shape always give the same numbers.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }
}

impl Seeded {
    /// The generator of one tensor.
    fn generator(&self, name: &str) -> ChaCha8Rng {
        let mut seed = [0; 32];
        seed.copy_from_slice(&Sha256::digest(format!("{} {name}", self.seed)));
        ChaCha8Rng::from_seed(seed)
    }

    /// The largest weight of a tensor. Uniform numbers of variance 1 / inputs keep every layer's
    /// output at the scale of its input.
    fn bound(name: &str, inputs: usize) -> f32 {
        if name.contains("embed") { 1.7 } else { (3.0 / inputs as f32).sqrt() }
    }
}

/// Random blocks: codes of equal probability, one scale for all, so that weights lie within
/// `bound`.
fn draw_blocks(rng: &mut ChaCha8Rng, dtype: Dtype, bound: f32, bytes: &mut [u8]) {
    rng.fill_bytes(bytes);
    let half = |x: f32| f16::from_f32(x).to_le_bytes();
    match dtype {
        Dtype::Bf16 | Dtype::F16 => {
            for pair in bytes.chunks_exact_mut(2) {
                let x = f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0 * bound;
                let number = match dtype {
                    Dtype::F16 => half(x),
                    _ => bf16::from_f32(x).to_le_bytes(),
                };
                pair.copy_from_slice(&number);
            }
        }
        Dtype::Q8_0 => {
            let scale = half(bound / 127.0);
            bytes.chunks_exact_mut(34).for_each(|block| block[..2].copy_from_slice(&scale));
        }
        Dtype::Q4_0 => {
            let scale = half(bound / 8.0);
            bytes.chunks_exact_mut(18).for_each(|block| block[..2].copy_from_slice(&scale));
        }
        _ => {
            // Scale 32 and minimum 60 in all eight sub-blocks: 32 x 7.5 codes are 4 x 60, the
            // middle.
            let (scale, minimum) = (half(bound / 256.0), half(bound / 64.0));
            const PACKED: [u8; 12] = [160, 160, 160, 160, 252, 252, 252, 252, 192, 192, 192, 192];
            for block in bytes.chunks_exact_mut(144) {
                block[..2].copy_from_slice(&scale);
                block[2..4].copy_from_slice(&minimum);
                block[4..16].copy_from_slice(&PACKED);
            }
        }
    }
}

impl WeightSource for Seeded {
    /// Drawn in the wanted type, without a copy in numbers.
    fn matrix(&self, name: &str, shape: [usize; 2], wanted: Dtype) -> Result<Matrix> {
        let [rows, inputs] = shape;
        if wanted == Dtype::F32 || !inputs.is_multiple_of(wanted.block_weights()) {
            return Ok(Matrix::F32(self.tensor(name, &shape)?));
        }
        let mut bytes = vec![0; rows * row_bytes(wanted, inputs)];
        draw_blocks(&mut self.generator(name), wanted, Self::bound(name, inputs), &mut bytes);
        Ok(Matrix::Raw(RawTensor::new(wanted, shape, bytes)?))
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let count = shape.iter().product();
        if name.ends_with("norm.weight") {
            return Ok(vec![1.0; count]);
        }
        let mut rng = self.generator(name);
        let bound = Self::bound(name, shape.last().copied().unwrap_or(1));
        Ok((0..count).map(|_| rng.random_range(-bound..bound)).collect())
    }

    /// Tokens drawn without repetition.
    fn draft_vocabulary(&self, count: usize, vocab: usize) -> Result<DraftVocabulary> {
        let mut rng = self.generator(DRAFT_VOCABULARY);
        let drawn = rand::seq::index::sample(&mut rng, vocab, count.min(vocab));
        let ids: Vec<i64> = drawn.into_iter().map(|id| id as i64).collect();
        DraftVocabulary::new(&ids, vocab).map_err(Error::invalid)
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn content_hash(&self) -> Result<String> {
        Ok(super::stored::hexadecimal(&Sha256::digest(format!("seeded weights {}", self.seed))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_drawn_in_a_number_type_keep_the_scale_of_their_layer() {
        for wanted in Dtype::ENGINE {
            let matrix = Seeded::new(1).matrix("a", [64, 512], wanted).unwrap();
            assert_eq!(matches!(matrix, Matrix::Raw(_)), wanted != Dtype::F32);
            let weights = matrix.into_f32();
            // source: uniform numbers of variance 1 / 512; 4-bit codes add their spacing
            let mean = weights.iter().sum::<f32>() / weights.len() as f32;
            let square = weights.iter().map(|w| w * w).sum::<f32>() / weights.len() as f32;
            assert!((square * 512.0 - 1.0).abs() < 0.05, "{wanted}: {}", square * 512.0);
            assert!(mean.abs() < 0.006, "{wanted}: {mean}");
        }
    }

    #[test]
    fn a_seed_gives_the_same_weights_again() {
        let draw = |seed, name| Seeded::new(seed).tensor(name, &[3, 4]).unwrap();
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
    }
}
