//! The number types that weights are stored in, and their values as `f32`.
//!
//! Quantized types come in blocks of 32 or 256 numbers of one row, laid out as ggml lays them out
//! (github.com/ggml-org/ggml, `ggml-common.h`). Values are those of ggml to the bit.

use half::{bf16, f16};
use std::fmt;

/// How the numbers of a tensor are stored. All of it is little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NumberType {
    /// 32-bit floating point.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of an `F32`.
    Bf16,
    /// 32 bytes that share a scale: `[f16 scale][i8; 32]`.
    Q8_0,
    /// 32 half bytes that share a scale: `[f16 scale][u8; 16]`, low halves first.
    Q4_0,
    /// 256 half bytes; eight groups of 32 with a scale and a minimum each:
    /// `[f16 scale][f16 minimum][u8; 12 scales and minima][u8; 128]`.
    Q4K,
    /// 256 numbers of six bits; sixteen groups of 16 with a scale each:
    /// `[u8; 128 low bits][u8; 64 high bits][i8; 16 scales][f16 scale]`.
    Q6K,
}

impl NumberType {
    /// All types.
    pub const ALL: [Self; 7] =
        [Self::F32, Self::F16, Self::Bf16, Self::Q8_0, Self::Q4_0, Self::Q4K, Self::Q6K];

    /// The name in files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q8_0 => "Q8_0",
            Self::Q4_0 => "Q4_0",
            Self::Q4K => "Q4_K",
            Self::Q6K => "Q6_K",
        }
    }

    /// Numbers of one block.
    pub fn block_numbers(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q8_0 | Self::Q4_0 => 32,
            Self::Q4K | Self::Q6K => 256,
        }
    }

    /// Bytes of one block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Q8_0 => 34,
            Self::Q4_0 => 18,
            Self::Q4K => 144,
            Self::Q6K => 210,
        }
    }

    /// Bytes of `count` numbers; nothing where they fill no whole blocks, or too many bytes.
    pub fn bytes(self, count: u64) -> Option<u64> {
        let block = self.block_numbers() as u64;
        if !count.is_multiple_of(block) {
            return None;
        }
        (count / block).checked_mul(self.block_bytes() as u64)
    }

    /// Writes the values of whole blocks; as many as both arguments have room for.
    pub fn decode(self, bytes: &[u8], into: &mut [f32]) {
        let blocks = bytes.chunks_exact(self.block_bytes());
        let pairs = blocks.zip(into.chunks_exact_mut(self.block_numbers()));
        match self {
            Self::F32 => {
                pairs.for_each(|(b, y)| y[0] = f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            }
            Self::F16 => pairs.for_each(|(b, y)| y[0] = half_at(b, 0)),
            Self::Bf16 => {
                pairs.for_each(|(b, y)| y[0] = bf16::from_le_bytes([b[0], b[1]]).to_f32())
            }
            Self::Q8_0 => pairs.for_each(|(b, y)| decode_q8_0(b, y)),
            Self::Q4_0 => pairs.for_each(|(b, y)| decode_q4_0(b, y)),
            Self::Q4K => pairs.for_each(|(b, y)| decode_q4_k(b, y)),
            Self::Q6K => pairs.for_each(|(b, y)| decode_q6_k(b, y)),
        }
    }
}

impl fmt::Display for NumberType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

fn decode_q8_0(block: &[u8], y: &mut [f32]) {
    let scale = half_at(block, 0);
    for (y, q) in y.iter_mut().zip(&block[2..]) {
        *y = f32::from(*q as i8) * scale;
    }
}

fn decode_q4_0(block: &[u8], y: &mut [f32]) {
    let scale = half_at(block, 0);
    let (low, high) = y.split_at_mut(16);
    for ((low, high), q) in low.iter_mut().zip(high).zip(&block[2..]) {
        *low = (f32::from(q & 15) - 8.0) * scale;
        *high = (f32::from(q >> 4) - 8.0) * scale;
    }
}

fn decode_q4_k(block: &[u8], y: &mut [f32]) {
    let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
    let (packed, quants) = block[4..].split_at(12);
    // Six bits each of scale and minimum for group `i`.
    let group = |i: usize| {
        let (s, m) = match i {
            0..4 => (packed[i] & 63, packed[i + 4] & 63),
            _ => (
                packed[i + 4] & 15 | packed[i - 4] >> 6 << 4,
                packed[i + 4] >> 4 | packed[i] >> 6 << 4,
            ),
        };
        (scale * f32::from(s), minimum * f32::from(m))
    };
    for ((pair, y), quants) in y.chunks_exact_mut(64).enumerate().zip(quants.chunks_exact(32)) {
        let ((low_scale, low_min), (high_scale, high_min)) = (group(2 * pair), group(2 * pair + 1));
        let (low, high) = y.split_at_mut(32);
        for ((low, high), q) in low.iter_mut().zip(high).zip(quants) {
            *low = low_scale * f32::from(q & 15) - low_min;
            *high = high_scale * f32::from(q >> 4) - high_min;
        }
    }
}

fn decode_q6_k(block: &[u8], y: &mut [f32]) {
    let (low, rest) = block.split_at(128);
    let (high, rest) = rest.split_at(64);
    let (scales, scale) = (&rest[..16], half_at(rest, 16));
    for (half, y) in y.chunks_exact_mut(128).enumerate() {
        let (low, high) = (&low[64 * half..][..64], &high[32 * half..][..32]);
        let scales = &scales[8 * half..][..8];
        for (i, y) in y.iter_mut().enumerate() {
            let (quarter, l) = (i / 32, i % 32);
            let nibble = low[l + 32 * (quarter % 2)] >> (4 * (quarter / 2)) & 15;
            let q = nibble | (high[l] >> (2 * quarter) & 3) << 4;
            *y = scale * f32::from(scales[2 * quarter + l / 16] as i8) * (f32::from(q) - 32.0);
        }
    }
}
