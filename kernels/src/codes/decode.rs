//! The values of stored weights as `f32`: the types that the engine runs, and those that no other
//! library here reads.
//!
//! Quantized types come in blocks of 32 or 256 numbers of one row, laid out as ggml lays them out
//! (github.com/ggml-org/ggml, `ggml-common.h`). Values are those of ggml to the bit.

use super::number_type::NumberType;
use half::{bf16, f16};

/// The values that codes of 4 bits stand for in `iq4_nl` and `iq4_xs`.
const IQ4_VALUES: [f32; 16] = [
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0,
    89.0, 113.0,
];

/// Writes the values of whole blocks; as many as both arguments have room for. Returns whether the
/// type is one of those that are read here; another writes nothing.
pub fn decode(kind: NumberType, bytes: &[u8], into: &mut [f32]) -> bool {
    let blocks = bytes.chunks_exact(kind.block_bytes());
    let pairs = blocks.zip(into.chunks_exact_mut(kind.block_weights()));
    match kind {
        NumberType::F32 => {
            pairs.for_each(|(b, y)| y[0] = f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        }
        NumberType::F16 => pairs.for_each(|(b, y)| y[0] = half_at(b, 0)),
        NumberType::Bf16 => {
            pairs.for_each(|(b, y)| y[0] = bf16::from_le_bytes([b[0], b[1]]).to_f32())
        }
        NumberType::Q8_0 => pairs.for_each(|(b, y)| decode_q8_0(b, y)),
        NumberType::Q4_0 => pairs.for_each(|(b, y)| decode_q4_0(b, y)),
        NumberType::Q4K => pairs.for_each(|(b, y)| decode_q4_k(b, y)),
        NumberType::Q6K => pairs.for_each(|(b, y)| decode_q6_k(b, y)),
        NumberType::Iq4Nl => pairs.for_each(|(b, y)| decode_iq4(half_at(b, 0), &b[2..], y)),
        NumberType::Iq4Xs => pairs.for_each(|(b, y)| decode_iq4_xs(b, y)),
        _ => return false,
    }
    true
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

/// 32 weights from 16 bytes: a table's values, times a scale.
fn decode_iq4(scale: f32, codes: &[u8], y: &mut [f32]) {
    let (low, high) = y.split_at_mut(16);
    for ((low, high), q) in low.iter_mut().zip(high).zip(codes) {
        *low = scale * IQ4_VALUES[usize::from(q & 15)];
        *high = scale * IQ4_VALUES[usize::from(q >> 4)];
    }
}

fn decode_iq4_xs(block: &[u8], y: &mut [f32]) {
    let (scale, high) = (half_at(block, 0), u16::from_le_bytes([block[2], block[3]]));
    let (low, codes) = block[4..].split_at(4);
    for ((i, y), codes) in y.chunks_exact_mut(32).enumerate().zip(codes.chunks_exact(16)) {
        let sub = low[i / 2] >> (4 * (i % 2)) & 15 | ((high >> (2 * i) & 3) as u8) << 4;
        decode_iq4(scale * (f32::from(sub) - 32.0), codes, y);
    }
}

fn decode_q4_k(block: &[u8], y: &mut [f32]) {
    let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
    let (packed, quants) = block[4..].split_at(12);
    let group = |i: usize| {
        let (s, m) = q4k_scales(i, packed);
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

/// Scale and minimum of sub-block `sub`, of 6 bits each, from the 12 bytes that hold all eight
/// (`get_scale_min_k4` of ggml).
pub(crate) fn q4k_scales(sub: usize, packed: &[u8]) -> (u8, u8) {
    if sub < 4 {
        (packed[sub] & 63, packed[sub + 4] & 63)
    } else {
        (
            packed[sub + 4] & 15 | packed[sub - 4] >> 6 << 4,
            packed[sub + 4] >> 4 | packed[sub] >> 6 << 4,
        )
    }
}
