//! Number types of weights: their names, the bytes of a weight, and which of them the engine runs.

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// How the weights of matrices are stored. Norms and other small vectors are always 4-byte floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dtype {
    /// 4-byte floating point.
    #[default]
    F32,
    /// 2-byte floating point with the exponent of `F32`.
    Bf16,
    /// 2-byte IEEE floating point.
    F16,
    /// GGUF q8_0: 32 codes of 8 bits and a scale, 34 bytes.
    Q8_0,
    /// GGUF q6_k: 210 bytes for 256 weights.
    Q6K,
    /// GGUF q5_k: 176 bytes for 256 weights.
    Q5K,
    /// GGUF q4_k: 256 codes of 4 bits, 8 scales and 8 minima of 6 bits, two factors: 144 bytes.
    Q4K,
    /// GGUF q4_0: 32 codes of 4 bits and a scale, 18 bytes.
    Q4_0,
    /// NF4 with blocks of 64 and double quantization (QLoRA, arXiv 2305.14314): 4.127 bits.
    Nf4,
}

impl Dtype {
    /// The types that the engine runs, from the widest on.
    pub const ENGINE: [Self; 6] =
        [Self::F32, Self::Bf16, Self::F16, Self::Q8_0, Self::Q4K, Self::Q4_0];

    /// Its word in flags and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
            Self::Q6K => "q6_k",
            Self::Q5K => "q5_k",
            Self::Q4K => "q4_k",
            Self::Q4_0 => "q4_0",
            Self::Nf4 => "nf4",
        }
    }

    /// Weights that share a block; 1 where each stands alone.
    pub fn block_weights(self) -> usize {
        match self {
            Self::F32 | Self::Bf16 | Self::F16 | Self::Nf4 => 1,
            Self::Q8_0 | Self::Q4_0 => 32,
            Self::Q6K | Self::Q5K | Self::Q4K => 256,
        }
    }

    /// Bytes of a block in a file; none for a type that no file of ours holds.
    pub fn block_bytes(self) -> Option<usize> {
        match self {
            Self::F32 => Some(4),
            Self::Bf16 | Self::F16 => Some(2),
            Self::Q8_0 => Some(34),
            Self::Q6K => Some(210),
            Self::Q5K => Some(176),
            Self::Q4K => Some(144),
            Self::Q4_0 => Some(18),
            Self::Nf4 => None,
        }
    }

    /// Bytes of `weights` weights in matrices, the shares of scales and minima counted in.
    pub fn bytes(self, weights: u64) -> f64 {
        let per_weight = match self.block_bytes() {
            Some(bytes) => bytes as f64 / self.block_weights() as f64,
            // Half a byte, a byte of scale for 64 weights, a float for 256 scales.
            None => 0.5 + 1.0 / 64.0 + 4.0 / (64.0 * 256.0),
        };
        weights as f64 * per_weight
    }

    /// Whether weights are codes with a scale.
    pub fn is_quantized(self) -> bool {
        !matches!(self, Self::F32 | Self::Bf16 | Self::F16)
    }

    /// The type of embedding and head where all other matrices have this one. Below 8 bits both are
    /// kept in q8_0: every logit depends on the head (llama.cpp keeps its head in q6_k then).
    pub fn of_tables(self) -> Self {
        if self.is_quantized() { Self::Q8_0 } else { self }
    }

    /// The type of the adapters of draft rows where the matrices have this one: their rows are too
    /// short for blocks, and they weigh little.
    pub fn of_adapters(self) -> Self {
        if self == Self::F32 { self } else { Self::F16 }
    }

    /// The type of `name`, if the engine runs it.
    ///
    /// # Errors
    /// Any other name; the error lists what there is.
    pub fn of_engine(name: &str) -> Result<Self> {
        let found = Self::ENGINE.into_iter().find(|dtype| dtype.name() == name);
        found.ok_or_else(|| {
            let names = Self::ENGINE.map(Self::name).join(", ");
            Error::invalid(format!("expected a number type of {names}; found '{name}'"))
        })
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dtype {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "f32" => Self::F32,
            "bf16" => Self::Bf16,
            "f16" | "half" => Self::F16,
            "q8_0" | "int8" => Self::Q8_0,
            "q6_k" | "q6k" => Self::Q6K,
            "q5_k" | "q5k" => Self::Q5K,
            "q4_k" | "q4k" | "q4_k_m" => Self::Q4K,
            "q4_0" => Self::Q4_0,
            "nf4" | "int4" => Self::Nf4,
            _ => {
                let known = "f32, bf16, f16, q8_0, q6_k, q5_k, q4_k, q4_0, nf4";
                let message = format!("dtype: expected one of {known}; found '{text}'");
                return Err(Error::invalid(message));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_blocks_are_those_of_the_format() {
        for dtype in Dtype::ENGINE {
            assert_eq!(dtype.name().parse::<Dtype>().unwrap(), dtype);
            assert_eq!(Dtype::of_engine(dtype.name()).unwrap(), dtype);
        }
        // source: ggml block layouts: q4_k 144 bytes, q8_0 34 bytes, for 256 and 32 weights
        assert_eq!("Q4_K".parse::<Dtype>().unwrap().bytes(256), 144.0);
        assert_eq!("q8_0".parse::<Dtype>().unwrap().bytes(64), 68.0);
        assert!("f64".parse::<Dtype>().is_err());
        let error = Dtype::of_engine("nf4").unwrap_err().to_string();
        assert!(error.contains("q8_0") && error.contains("'nf4'"), "{error}");
    }
}
