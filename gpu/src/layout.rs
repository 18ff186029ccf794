//! Rows of weights on their way from a file's layout into the device's: the same bits in another
//! order.

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
    pub(crate) fn is_coded(self) -> bool {
        self.dtype.is_quantized()
    }

    /// Bytes of a row of numbers, or of codes.
    pub fn row_bytes(self) -> usize {
        self.units() * 16 * self.bits() / 8
    }

    /// Bytes of a row of scales: whole words, two scales each.
    pub(crate) fn scale_bytes(self) -> usize {
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

/// 32 codes of 4 bits: in the file byte `i` holds `i` and `i + 16`, here four bytes hold eight that
/// follow each other, the first four in the lower halves.
fn regroup(file: &[u8], codes: &mut [u8]) {
    let code = |i: usize| file[i % 16] >> (i / 16 * 4) & 15;
    for (i, byte) in codes.iter_mut().enumerate() {
        let first = i / 4 * 8 + i % 4;
        *byte = code(first) | code(first + 4) << 4;
    }
}
