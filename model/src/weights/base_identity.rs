//! Which model adapters belong to: its sizes, a hash over the values of its tensors as they are
//! read, and some of these values.
//!
//! The hash tells whether two files hold the same numbers, whatever their format. An export of the
//! same model to another number type holds others, which are near: then the values say how far away
//! they are. Up to [`NEAR`] adapters are laid over it, since every draft is verified and a small
//! change of the base costs acceptance alone; beyond it is taken for another model.

use crate::config::ModelConfig;
use crate::config::tensors::own_tensors;
use crate::error::{Error, Result};
use crate::weights::source::WeightSource;
use s3d_data::ModelShape;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Relative distance up to which a base is another number type of the same model: `bf16` is 0.002
/// away, `q8_0` about 0.006; 4-bit forms are 0.05 and more, as fine-tuned models are.
pub const NEAR: f64 = 0.02;
/// Values kept, spread over all matrices.
const VALUES: usize = 512;

/// What tells a base from other models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaseIdentity {
    /// The last part of its path; for people.
    pub name: String,
    /// Its sizes, without masks and adapters.
    pub shape: ModelShape,
    /// SHA-256 over names, shapes and values (`f32`, as read) of its tensors, as hexadecimal
    /// digits.
    pub hash: String,
    /// Some of the values, in the order of the tensors.
    pub values: Vec<f32>,
}

impl BaseIdentity {
    /// Of the weights in `source`; reads all of them.
    ///
    /// # Errors
    /// A tensor that is missing or damaged.
    pub fn of(name: &str, config: &ModelConfig, source: &dyn WeightSource) -> Result<Self> {
        let config = ModelConfig { s3d: None, ..config.clone() };
        let tensors = own_tensors(&config).map_err(Error::invalid)?;
        let matrices = tensors.iter().filter(|(_, shape)| shape.len() > 1).count().max(1);
        let each = VALUES.div_ceil(matrices);
        let (mut hash, mut values, mut bytes) = (Sha256::new(), Vec::new(), Vec::new());
        for (name, shape) in &tensors {
            let numbers = source.tensor(name, shape)?;
            hash.update(format!("{name} {shape:?} "));
            for part in numbers.chunks(1 << 14) {
                bytes.clear();
                bytes.extend(part.iter().flat_map(|number| number.to_le_bytes()));
                hash.update(&bytes);
            }
            if shape.len() > 1 {
                values.extend((0..each).map(|i| numbers[(2 * i + 1) * numbers.len() / (2 * each)]));
            }
        }
        let hash = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { name: name.into(), shape: config.shape(), hash, values })
    }

    /// How far another base is away: 0 where it holds the same values, nothing where it has other
    /// sizes.
    pub fn distance(&self, other: &Self) -> Option<f64> {
        if self.shape != other.shape || self.values.len() != other.values.len() {
            return None;
        }
        if self.hash == other.hash {
            return Some(0.0);
        }
        let square = |x: f32| f64::from(x).powi(2);
        let pairs = self.values.iter().zip(&other.values);
        let apart: f64 = pairs.map(|(a, b)| square(a - b)).sum();
        let size: f64 = self.values.iter().map(|a| square(*a)).sum();
        // Other values that happen not to be among those kept are still others.
        Some((apart / size).sqrt().max(f64::MIN_POSITIVE)).filter(|distance| distance.is_finite())
    }

    /// In words.
    pub fn words(&self) -> String {
        let ModelShape { layers, hidden, vocab, .. } = self.shape;
        let (name, hash) = (&self.name, self.hash.get(..12).unwrap_or(&self.hash));
        format!("'{name}' ({layers} layers of {hidden}, {vocab} tokens, values {hash})")
    }
}
