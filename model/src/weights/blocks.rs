//! The values of stored weights as `f32`, for every number type that files are read in.
//!
//! Types that only files have are read by candle, whose values are those of ggml to the bit.

use candle_core::quantized::k_quants::{
    BlockQ2K, BlockQ3K, BlockQ4_1, BlockQ5_0, BlockQ5_1, BlockQ5K, BlockQ8K, GgmlType,
};
use s3d_kernels::codes::decode;
use s3d_kernels::codes::number_type::NumberType;

/// Writes the values of whole blocks; as many as both arguments have room for.
pub fn decode(kind: NumberType, bytes: &[u8], into: &mut [f32]) {
    if decode::decode(kind, bytes, into) {
        return;
    }
    match kind {
        NumberType::Q4_1 => by_candle::<BlockQ4_1>(bytes, into),
        NumberType::Q5_0 => by_candle::<BlockQ5_0>(bytes, into),
        NumberType::Q5_1 => by_candle::<BlockQ5_1>(bytes, into),
        NumberType::Q2K => by_candle::<BlockQ2K>(bytes, into),
        NumberType::Q3K => by_candle::<BlockQ3K>(bytes, into),
        NumberType::Q5K => by_candle::<BlockQ5K>(bytes, into),
        NumberType::Q8K => by_candle::<BlockQ8K>(bytes, into),
        _ => {}
    }
}

/// The values of whole blocks as candle reads them.
fn by_candle<B: GgmlType>(bytes: &[u8], into: &mut [f32]) {
    let count = (bytes.len() / size_of::<B>()).min(into.len() / B::BLCK_SIZE);
    // A file may place blocks where their fields are not aligned, so they are copied.
    let mut blocks = vec![B::zeros(); count];
    let Some(bytes) = bytes.get(..count * size_of::<B>()) else { return };
    // SAFETY: candle's blocks are `repr(C)`, of halves, floats and whole numbers, for which all
    // bits are values; they are laid out as in a file, and `blocks` has room for `bytes`, which lie
    // elsewhere.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), blocks.as_mut_ptr().cast(), bytes.len());
    }
    B::to_float(&blocks, &mut into[..count * B::BLCK_SIZE]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_candle_are_as_long_as_those_of_files() {
        fn fits<B: GgmlType>(kind: NumberType) {
            let found = (B::BLCK_SIZE, size_of::<B>());
            assert_eq!(found, (kind.block_weights(), kind.block_bytes()), "{kind}");
        }
        fits::<BlockQ4_1>(NumberType::Q4_1);
        fits::<BlockQ5_0>(NumberType::Q5_0);
        fits::<BlockQ5_1>(NumberType::Q5_1);
        fits::<BlockQ2K>(NumberType::Q2K);
        fits::<BlockQ3K>(NumberType::Q3K);
        fits::<BlockQ5K>(NumberType::Q5K);
        fits::<BlockQ8K>(NumberType::Q8K);
    }

    #[test]
    fn every_type_that_is_read_writes_values_wherever_its_blocks_begin() {
        for kind in NumberType::READ {
            // Bytes of 0x3c: every scale is a positive number.
            let bytes = vec![0x3c; 2 * kind.block_bytes() + 1];
            let mut values = vec![f32::NAN; 2 * kind.block_weights()];
            decode(kind, &bytes[1..], &mut values);
            assert!(values.iter().all(|x| x.is_finite()), "{kind}");
        }
    }
}
