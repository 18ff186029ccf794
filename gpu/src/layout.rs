//! Rows of weights on their way from a file's layout into the device's: the same bits in another order.

use s3d_data::Dtype;

/// Weights of a block.
const BLOCK: usize = 32;

/// How a number type lies on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The number type.
    pub dtype: Dtype,
    /// Columns.
    pub inputs: usize,
}

impl Layout {
    /// The number types that there is WGSL for.
    pub const DTYPES: [Dtype; 5] = [Dtype::F32, Dtype::Bf16, Dtype::F16, Dtype::Q8_0, Dtype::Q4_0];

    /// Units of 16 inputs in a row, which is filled up with zeros to whole blocks.
    pub fn units(self) -> usize {
        2 * self.inputs.div_ceil(BLOCK)
    }

    /// Whether scales stand apart from codes.
    pub fn is_coded(self) -> bool {
        self.dtype.is_quantized()
    }

    /// Bytes of a row of numbers, or of codes.
    pub fn row_bytes(self) -> usize {
        self.units() * 16 * self.bits() / 8
    }

    /// Bytes of a row of scales: whole words, two scales each.
    pub fn scale_bytes(self) -> usize {
        if self.is_coded() { 4 * self.units().div_ceil(4) } else { 0 }
    }

    /// Bytes of a row in a file, its last block filled up.
    pub fn file_bytes(self) -> usize {
        self.inputs.div_ceil(self.dtype.block_weights()) * self.dtype.block_bytes().unwrap_or(0)
    }

    fn bits(self) -> usize {
        match self.dtype {
            Dtype::Q4_0 => 4,
            Dtype::Q8_0 => 8,
            Dtype::F16 | Dtype::Bf16 => 16,
            _ => 32,
        }
    }

    /// Rows as a file holds them, as the device does: numbers or codes, and scales.
    pub fn arrange(self, file: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let rows = file.len() / self.file_bytes().max(1);
        let mut codes = vec![0; rows * self.row_bytes()];
        let mut scales = vec![0; rows * self.scale_bytes()];
        for (r, row) in file.chunks_exact(self.file_bytes().max(1)).enumerate() {
            let codes = &mut codes[r * self.row_bytes()..][..self.row_bytes()];
            if !self.is_coded() {
                codes[..row.len()].copy_from_slice(row);
                continue;
            }
            let scales = &mut scales[r * self.scale_bytes()..][..self.scale_bytes()];
            let size = BLOCK * self.bits() / 8;
            for (b, block) in row.chunks_exact(2 + size).enumerate() {
                scales[2 * b..][..2].copy_from_slice(&block[..2]);
                let codes = &mut codes[b * size..][..size];
                match self.dtype {
                    Dtype::Q4_0 => regroup(&block[2..], codes),
                    _ => codes.copy_from_slice(&block[2..]),
                }
            }
        }
        (codes, scales)
    }
}

/// 32 codes of 4 bits: in the file byte `i` holds `i` and `i + 16`, here four bytes hold eight that follow each other, the
/// first four in the lower halves.
fn regroup(file: &[u8], codes: &mut [u8]) {
    let code = |i: usize| file[i % 16] >> (i / 16 * 4) & 15;
    for (i, byte) in codes.iter_mut().enumerate() {
        let first = i / 4 * 8 + i % 4;
        *byte = code(first) | code(first + 4) << 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_four_bits_follow_each_other() {
        // source: ggml's q4_0: byte i holds weight i in its lower half and weight i + 16 in its upper half
        let code = |i: usize| (i * 7 % 16) as u8;
        let mut file = vec![0x34, 0x12];
        file.extend((0..16).map(|i| code(i) | code(i + 16) << 4));
        let layout = Layout { dtype: Dtype::Q4_0, inputs: 32 };
        let (codes, scales) = layout.arrange(&file);
        let word = |i: usize| u32::from_le_bytes(codes[4 * i..][..4].try_into().unwrap());
        for i in 0..32 {
            let (byte, half) = (i % 4, i % 8 / 4);
            let found = word(i / 8) >> (8 * byte + 4 * half) & 15;
            assert_eq!(found, u32::from(code(i)), "weight {i}");
        }
        assert_eq!(scales, [0x34, 0x12, 0, 0]);
        assert_eq!((codes.len(), layout.units(), layout.file_bytes()), (16, 2, 18));
    }

    #[test]
    fn rows_are_filled_up_to_whole_blocks() {
        let layout = Layout { dtype: Dtype::F16, inputs: 40 };
        let (codes, scales) = layout.arrange(&[7; 160]);
        assert_eq!((codes.len(), scales.len()), (2 * 128, 0));
        assert!(codes[..80] == [7; 80] && codes[80..128] == [0; 48] && codes[128..208] == [7; 80]);
    }
}
