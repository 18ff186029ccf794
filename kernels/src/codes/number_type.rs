//! The number types of GGUF files by code and name: which of them are read, and the size of their
//! blocks.
//!
//! Codes, names and sizes are those of github.com/ggml-org/ggml (`ggml.h`, `ggml-common.h`).

use s3d_data::Dtype;
use std::fmt;

/// A number type that weights are read in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NumberType {
    /// 4-byte floating point.
    F32,
    /// 2-byte IEEE floating point.
    F16,
    /// 2-byte floating point with the exponent of `F32`.
    Bf16,
    /// Codes of 4 bits and a scale for 32 weights.
    Q4_0,
    /// As `Q4_0`, with a minimum.
    Q4_1,
    /// Codes of 5 bits and a scale for 32 weights.
    Q5_0,
    /// As `Q5_0`, with a minimum.
    Q5_1,
    /// Codes of 8 bits and a scale for 32 weights.
    Q8_0,
    /// Codes of 2 bits, scales and minima of 4 bits for 16 weights each.
    Q2K,
    /// Codes of 3 bits, scales of 6 bits for 16 weights each.
    Q3K,
    /// Codes of 4 bits, scales and minima of 6 bits for 32 weights each.
    Q4K,
    /// Codes of 5 bits, scales and minima of 6 bits for 32 weights each.
    Q5K,
    /// Codes of 6 bits, scales of 8 bits for 16 weights each.
    Q6K,
    /// Codes of 8 bits and a 4-byte scale for 256 weights.
    Q8K,
    /// Places in a table of 16 unevenly spaced values, and a scale for 32 weights.
    Iq4Nl,
    /// As `Iq4Nl`, with scales of 6 bits for 32 weights each.
    Iq4Xs,
}

/// Each type that is read: its code, its name, the weights of a block and their bytes.
const KNOWN: [(NumberType, u32, &str, usize, usize); 16] = [
    (NumberType::F32, 0, "f32", 1, 4),
    (NumberType::F16, 1, "f16", 1, 2),
    (NumberType::Bf16, 30, "bf16", 1, 2),
    (NumberType::Q4_0, 2, "q4_0", 32, 18),
    (NumberType::Q4_1, 3, "q4_1", 32, 20),
    (NumberType::Q5_0, 6, "q5_0", 32, 22),
    (NumberType::Q5_1, 7, "q5_1", 32, 24),
    (NumberType::Q8_0, 8, "q8_0", 32, 34),
    (NumberType::Q2K, 10, "q2_k", 256, 84),
    (NumberType::Q3K, 11, "q3_k", 256, 110),
    (NumberType::Q4K, 12, "q4_k", 256, 144),
    (NumberType::Q5K, 13, "q5_k", 256, 176),
    (NumberType::Q6K, 14, "q6_k", 256, 210),
    (NumberType::Q8K, 15, "q8_k", 256, 292),
    (NumberType::Iq4Nl, 20, "iq4_nl", 32, 18),
    (NumberType::Iq4Xs, 23, "iq4_xs", 256, 136),
];

/// Types that are not read, by code: weights of other formats, whole numbers, and what ggml no
/// longer has.
const REFUSED: [(u32, &str); 27] = [
    (4, "q4_2"),
    (5, "q4_3"),
    (9, "q8_1"),
    (16, "iq2_xxs"),
    (17, "iq2_xs"),
    (18, "iq3_xxs"),
    (19, "iq1_s"),
    (21, "iq3_s"),
    (22, "iq2_s"),
    (24, "i8"),
    (25, "i16"),
    (26, "i32"),
    (27, "i64"),
    (28, "f64"),
    (29, "iq1_m"),
    (31, "q4_0_4_4"),
    (32, "q4_0_4_8"),
    (33, "q4_0_8_8"),
    (34, "tq1_0"),
    (35, "tq2_0"),
    (36, "iq4_nl_4_4"),
    (37, "iq4_nl_4_8"),
    (38, "iq4_nl_8_8"),
    (39, "mxfp4"),
    (40, "nvfp4"),
    (41, "q1_0"),
    (42, "q2_0"),
];

impl NumberType {
    /// Every type that is read.
    pub const READ: [Self; KNOWN.len()] = {
        let (mut all, mut i) = ([Self::F32; KNOWN.len()], 0);
        while i < KNOWN.len() {
            all[i] = KNOWN[i].0;
            i += 1;
        }
        all
    };

    /// The type of a code in a file.
    ///
    /// # Errors
    /// A type that is not read; says which it is and what is read.
    pub fn of_code(code: u32) -> Result<Self, String> {
        if let Some((kind, ..)) = KNOWN.iter().find(|known| known.1 == code) {
            return Ok(*kind);
        }
        let name = REFUSED.iter().find(|refused| refused.0 == code);
        let name = name.map_or(
            format!("of code {code}, which ggml did not have when this program was written"),
            |(_, name)| (*name).into(),
        );
        let known = Self::READ.map(Self::name).join(", ");
        Err(format!(
            "number type {name} is not supported; expected one of {known}: fetch or make another \
             quantization of the model"
        ))
    }

    /// The type that stores a number type of the engine; none for one that no file holds.
    pub fn of(dtype: Dtype) -> Option<Self> {
        Some(match dtype {
            Dtype::F32 => Self::F32,
            Dtype::Bf16 => Self::Bf16,
            Dtype::F16 => Self::F16,
            Dtype::Q8_0 => Self::Q8_0,
            Dtype::Q6K => Self::Q6K,
            Dtype::Q5K => Self::Q5K,
            Dtype::Q4K => Self::Q4K,
            Dtype::Q4_0 => Self::Q4_0,
            Dtype::Nf4 => return None,
        })
    }

    /// Whether weights of this type are as the engine holds those of `dtype`, bit by bit.
    pub fn is(self, dtype: Dtype) -> bool {
        Self::of(dtype) == Some(self)
    }

    fn row(self) -> (&'static str, usize, usize) {
        let row = KNOWN.iter().find(|known| known.0 == self);
        row.map_or(("", 1, 1), |(_, _, name, weights, bytes)| (*name, *weights, *bytes))
    }

    /// Its name in ggml, in small letters.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Weights that share a block; 1 where each stands alone.
    pub fn block_weights(self) -> usize {
        self.row().1
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        self.row().2
    }

    /// Bytes of a row of so many weights; nothing where it is no whole number of blocks, or takes
    /// too many bytes.
    pub fn row_bytes(self, weights: u64) -> Option<u64> {
        let block = self.block_weights() as u64;
        let blocks = weights.is_multiple_of(block).then_some(weights / block)?;
        blocks.checked_mul(self.block_bytes() as u64)
    }
}

impl fmt::Display for NumberType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_own_code_and_name_and_sizes_are_those_of_the_engine() {
        for (i, (kind, code, name, ..)) in KNOWN.iter().enumerate() {
            assert_eq!(NumberType::READ[i], *kind);
            assert_eq!(NumberType::of_code(*code), Ok(*kind));
            assert_eq!(kind.name(), *name);
            assert!(REFUSED.iter().all(|(other, word)| other != code && word != name));
        }
        for dtype in Dtype::ENGINE {
            let kind = NumberType::of(dtype).unwrap();
            assert!(kind.is(dtype));
            // source: the engine's own table of block sizes
            assert_eq!(Some(kind.block_bytes()), dtype.block_bytes(), "{dtype}");
            assert_eq!(kind.block_weights(), dtype.block_weights(), "{dtype}");
        }
        assert_eq!(NumberType::of(Dtype::Nf4), None);
    }

    #[test]
    fn a_type_that_is_not_read_is_named() {
        let error = NumberType::of_code(16).unwrap_err();
        assert!(error.contains("iq2_xxs") && error.contains("q5_k"), "{error}");
        assert!(NumberType::of_code(4_000).unwrap_err().contains("4000"));
    }
}
