//! Where weights come from: safetensors files (one or sharded), a GGUF file, or a seed.
//!
//! Every source answers to the names of a Hugging Face checkpoint. Tensors are read one by one, each
//! converted to `f32` piece by piece as it comes; [`WeightSource::raw`] gives them as they are stored.

mod gguf;
pub mod gguf_header;
pub mod numbers;
mod safetensors;
mod stored;

pub use gguf::{GgufFile, Vocabulary, is_gguf};
pub use numbers::NumberType;
pub use safetensors::Checkpoint;
pub use stored::RawTensor;

use crate::Result;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// Gives the weights of a model by their names in a Hugging Face checkpoint.
pub trait WeightSource {
    /// The tensor `name` of `shape`, row by row.
    ///
    /// # Errors
    /// When there is no such tensor, it has another shape, it cannot be read, or it holds a number that
    /// is not finite.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>>;

    /// The same tensor as it is stored, for layers that keep it so; nothing where a source stores
    /// nothing.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    fn raw(&self, name: &str, shape: &[usize]) -> Result<Option<RawTensor>>;

    /// All names that there are; none where a source makes up whatever it is asked for.
    fn names(&self) -> Vec<String>;

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

impl WeightSource for Seeded {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let count = shape.iter().product();
        if name.ends_with("norm.weight") {
            return Ok(vec![1.0; count]);
        }
        let mut seed = [0; 32];
        seed.copy_from_slice(&Sha256::digest(format!("{} {name}", self.seed)));
        let mut rng = ChaCha8Rng::from_seed(seed);
        // Uniform numbers of variance 1 / inputs keep every layer's output at the scale of its input.
        let inputs = shape.last().copied().unwrap_or(1);
        let bound = if name.contains("embed") { 1.7 } else { (3.0 / inputs as f32).sqrt() };
        Ok((0..count).map(|_| rng.random_range(-bound..bound)).collect())
    }

    fn raw(&self, _: &str, _: &[usize]) -> Result<Option<RawTensor>> {
        Ok(None)
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn content_hash(&self) -> Result<String> {
        Ok(stored::hexadecimal(&Sha256::digest(format!("seeded weights {}", self.seed))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_weights_again() {
        let draw = |seed, name| Seeded::new(seed).tensor(name, &[3, 4]).unwrap();
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
    }
}
