//! Weights as files hold them: rows of numbers, or of blocks of codes, to and from `f32`.
//!
//! The rounding is that of ggml (`quantize_row_*_ref`), so that a checkpoint quantized here equals
//! one quantized by its tools, block by block.

use crate::error::{Error, Result};
use candle_core::quantized::k_quants::{BlockQ4K, GgmlType};
use half::{bf16, f16};
use s3d_data::Dtype;
use s3d_kernels::codes::decode::decode;
use s3d_kernels::codes::number_type::NumberType;
use s3d_kernels::packed::row_bytes;
use s3d_kernels::panels::LANES;

/// A matrix as a file holds it: row by row, each row a whole number of blocks, little-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawTensor {
    /// The number type.
    pub dtype: Dtype,
    /// Rows and columns.
    pub shape: [usize; 2],
    /// The rows, one after the other.
    pub bytes: Vec<u8>,
}

impl RawTensor {
    /// A matrix from the bytes of a file.
    ///
    /// # Errors
    /// A type that no kernel knows, columns that are no whole number of blocks, or another number
    /// of bytes than type and shape call for.
    pub fn new(dtype: Dtype, shape: [usize; 2], bytes: Vec<u8>) -> Result<Self> {
        let [rows, columns] = shape;
        if !Dtype::ENGINE.contains(&dtype) || !columns.is_multiple_of(dtype.block_weights()) {
            return Err(Error::invalid(format!(
                "a matrix of {rows} x {columns} cannot be {dtype}: expected {}, in rows of whole \
                 blocks",
                Dtype::ENGINE.map(Dtype::name).join(", ")
            )));
        }
        let expected = rows * row_bytes(dtype, columns);
        if bytes.len() != expected {
            return Err(Error::invalid(format!(
                "{rows} x {columns} weights of {dtype} take {expected} bytes, found {}",
                bytes.len()
            )));
        }
        Ok(Self { dtype, shape, bytes })
    }

    /// Row `row` as it is held; nothing where there is no such row.
    pub fn row(&self, row: usize) -> &[u8] {
        let size = row_bytes(self.dtype, self.shape[1]);
        self.bytes.get(row * size..(row + 1) * size).unwrap_or_default()
    }

    /// All weights as `f32`, row by row.
    pub fn to_f32(&self) -> Vec<f32> {
        let [rows, columns] = self.shape;
        let mut numbers = vec![0.0; rows * columns];
        for (row, numbers) in numbers.chunks_exact_mut(columns.max(1)).enumerate() {
            decode_row(self.dtype, self.row(row), numbers);
        }
        numbers
    }
}

/// Rows of a band: whole panels, few beside a matrix.
pub(crate) const BAND: usize = 16 * LANES;

/// A matrix on its way into a layer.
#[derive(Debug, Clone, PartialEq)]
pub enum Matrix {
    /// Numbers, row by row.
    F32(Vec<f32>),
    /// As the file holds it.
    Raw(RawTensor),
}

impl Matrix {
    /// Writes row `row`, of `inputs` weights, into `raw` as `dtype` holds it: bit by bit where it
    /// is held so already, else through `f32`. A row that does not exist is left alone.
    pub fn encode_row(&self, row: usize, inputs: usize, dtype: Dtype, raw: &mut [u8]) {
        match self {
            Self::Raw(tensor) if tensor.dtype == dtype => {
                let row = tensor.row(row);
                raw[..row.len()].copy_from_slice(row);
            }
            Self::Raw(tensor) => {
                let mut numbers = vec![0.0; inputs];
                decode_row(tensor.dtype, tensor.row(row), &mut numbers);
                encode_row(dtype, &numbers, raw);
            }
            Self::F32(numbers) => {
                if let Some(numbers) = numbers.get(row * inputs..(row + 1) * inputs) {
                    encode_row(dtype, numbers, raw);
                }
            }
        }
    }

    /// Rows of `inputs` weights.
    pub fn rows(&self, inputs: usize) -> usize {
        match self {
            Self::F32(numbers) => numbers.len() / inputs.max(1),
            Self::Raw(tensor) => tensor.shape[0],
        }
    }

    /// Cuts it into matrices of so many rows each, of `inputs` weights; what is left over is
    /// dropped.
    pub(crate) fn split_rows(self, inputs: usize, rows: &[usize]) -> Vec<Self> {
        let mut parts = Vec::with_capacity(rows.len());
        match self {
            Self::F32(mut rest) => {
                for rows in rows {
                    let later = rest.split_off((rows * inputs).min(rest.len()));
                    parts.push(Self::F32(std::mem::replace(&mut rest, later)));
                }
            }
            Self::Raw(RawTensor { dtype, shape: [_, columns], bytes: mut rest }) => {
                let size = row_bytes(dtype, columns);
                for &rows in rows {
                    let later = rest.split_off((rows * size).min(rest.len()));
                    let bytes = std::mem::replace(&mut rest, later);
                    let shape = [bytes.len() / size.max(1), columns];
                    parts.push(Self::Raw(RawTensor { dtype, shape, bytes }));
                }
            }
        }
        parts
    }

    /// All weights as `f32`, row by row.
    pub fn into_f32(self) -> Vec<f32> {
        match self {
            Self::F32(numbers) => numbers,
            Self::Raw(tensor) => tensor.to_f32(),
        }
    }
}

/// Writes a row into `raw`, of [`row_bytes`] bytes; the last block is filled up with zeros.
pub fn encode_row(dtype: Dtype, row: &[f32], raw: &mut [u8]) {
    let block = dtype.block_weights();
    let Some(size) = dtype.block_bytes() else { return };
    let mut filled = Vec::new();
    for (numbers, raw) in row.chunks(block).zip(raw.chunks_exact_mut(size)) {
        let numbers = if numbers.len() < block {
            filled.extend_from_slice(numbers);
            filled.resize(block, 0.0);
            &filled
        } else {
            numbers
        };
        encode_block(dtype, numbers, raw);
    }
}

fn encode_block(dtype: Dtype, x: &[f32], raw: &mut [u8]) {
    match dtype {
        Dtype::F16 => raw.copy_from_slice(&f16::from_f32(x[0]).to_le_bytes()),
        Dtype::Bf16 => raw.copy_from_slice(&bf16::from_f32(x[0]).to_le_bytes()),
        Dtype::Q8_0 => encode_q8_0(x, raw),
        Dtype::Q4_0 => encode_q4_0(x, raw),
        Dtype::Q4K => encode_q4k(x, raw),
        _ => raw.copy_from_slice(&x[0].to_le_bytes()),
    }
}

/// 32 codes of -127 to 127, ties away from zero; the scale is the largest number over 127.
fn encode_q8_0(x: &[f32], raw: &mut [u8]) {
    let most = x.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let scale = most / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    raw[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
    for (code, x) in raw[2..].iter_mut().zip(x) {
        *code = ((x * inverse).round() as i8).cast_unsigned();
    }
}

/// 32 codes of 0 to 15 that stand for -8 to 7; the scale sends the number of largest size to -8.
fn encode_q4_0(x: &[f32], raw: &mut [u8]) {
    let most = x.iter().fold(0.0f32, |most, &x| if x.abs() > most.abs() { x } else { most });
    let scale = most / -8.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    raw[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
    let code = |x: f32| ((x * inverse + 8.5) as u8).min(15);
    for (i, pair) in raw[2..].iter_mut().enumerate() {
        *pair = code(x[i]) | code(x[i + 16]) << 4;
    }
}

/// 8 sub-blocks of 32 codes, their scales and minima searched for the least squared error: candle's
/// search, which is ggml's.
fn encode_q4k(x: &[f32], raw: &mut [u8]) {
    let mut block = [BlockQ4K::zeros()];
    BlockQ4K::from_float(x, &mut block);
    // SAFETY: the block is laid out as in a file (`repr(C)`, 144 bytes without padding).
    let bytes =
        unsafe { std::slice::from_raw_parts(block.as_ptr().cast::<u8>(), size_of_val(&block)) };
    raw.copy_from_slice(bytes);
}

/// Reads a row of `numbers.len()` weights, whose last block may be filled up; nothing where `raw`
/// is empty.
pub(crate) fn decode_row(dtype: Dtype, raw: &[u8], numbers: &mut [f32]) {
    let Some(kind) = NumberType::of(dtype) else { return };
    let block = kind.block_weights();
    let whole = numbers.len() / block * block;
    let (whole, rest) = numbers.split_at_mut(whole);
    decode(kind, raw, whole);
    let read = whole.len() / block * kind.block_bytes();
    if let Some(raw) = raw.get(read..).filter(|_| !rest.is_empty()) {
        let mut last = vec![0.0; block];
        decode(kind, raw, &mut last);
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_numbers::numbers;
    use candle_core::quantized::{GgmlDType, QTensor};
    use candle_core::{Device, Tensor};

    #[test]
    fn blocks_are_those_of_candle_to_the_bit() {
        // source: candle's quantizer and its inverse, written independently after ggml's
        let columns = 512;
        let mut x = numbers(1, 3 * columns);
        x[..32].fill(0.0);
        x[32..64].fill(-0.25);
        let tensor = Tensor::from_slice(&x, (3, columns), &Device::Cpu).unwrap();
        for (dtype, theirs) in [
            (Dtype::Q8_0, GgmlDType::Q8_0),
            (Dtype::Q4_0, GgmlDType::Q4_0),
            (Dtype::Q4K, GgmlDType::Q4K),
        ] {
            let expected = QTensor::quantize(&tensor, theirs).unwrap();
            let mut bytes = vec![0; 3 * row_bytes(dtype, columns)];
            let size = bytes.len() / 3;
            for (row, raw) in x.chunks(columns).zip(bytes.chunks_mut(size)) {
                encode_row(dtype, row, raw);
            }
            assert_eq!(bytes, expected.data().unwrap().as_ref(), "{dtype}");
            let raw = RawTensor::new(dtype, [3, columns], bytes).unwrap();
            let meant = expected.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap();
            assert_eq!(raw.to_f32(), meant.to_vec1::<f32>().unwrap(), "{dtype}");
        }
    }

    #[test]
    fn halves_round_to_the_nearest() {
        for dtype in [Dtype::F16, Dtype::Bf16, Dtype::F32] {
            // source: IEEE 754: 1 + 2^-12 rounds to 1 in both halves, and is exact in f32
            let x = [1.0 + 2.0f32.powi(-12), -2.0];
            let mut raw = vec![0; row_bytes(dtype, 2)];
            encode_row(dtype, &x, &mut raw);
            let mut back = [0.0; 2];
            decode_row(dtype, &raw, &mut back);
            assert_eq!(back[0] == 1.0, dtype != Dtype::F32);
            assert_eq!(back[1], -2.0);
        }
    }

    #[test]
    fn rows_are_split_bit_by_bit() {
        let x = numbers(1, 5 * 64);
        let mut bytes = vec![0; 5 * 68];
        for (row, raw) in x.chunks(64).zip(bytes.chunks_mut(68)) {
            encode_row(Dtype::Q8_0, row, raw);
        }
        let raw = Matrix::Raw(RawTensor::new(Dtype::Q8_0, [5, 64], bytes.clone()).unwrap());
        let of = |rows: std::ops::Range<usize>| {
            let bytes = bytes[68 * rows.start..68 * rows.end].to_vec();
            Matrix::Raw(RawTensor::new(Dtype::Q8_0, [rows.len(), 64], bytes).unwrap())
        };
        assert_eq!(raw.split_rows(64, &[2, 1, 2]), [of(0..2), of(2..3), of(3..5)]);
        let parts = Matrix::F32(x.clone()).split_rows(64, &[1, 4]);
        assert_eq!(parts, [Matrix::F32(x[..64].to_vec()), Matrix::F32(x[64..].to_vec())]);
    }

    #[test]
    fn bytes_that_do_not_fit_are_refused() {
        let refuse = |dtype, shape, bytes| {
            RawTensor::new(dtype, shape, vec![0; bytes]).unwrap_err().to_string()
        };
        assert!(refuse(Dtype::Q8_0, [2, 64], 135).contains("take 136 bytes, found 135"));
        assert!(refuse(Dtype::Q4K, [2, 64], 144).contains("whole blocks"));
        assert!(refuse(Dtype::Nf4, [1, 64], 32).contains("q8_0"));
    }
}
