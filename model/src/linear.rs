//! A linear layer: packed for the small-width kernels, or as it stands for candle's own matmul.

use crate::fused::{LinearKind, PackedLinear};
use crate::kernels::{LANES, Packed, panel_count, row_bytes};
use crate::ops::Ops;
use crate::raw::{Matrix, decode_row};
use crate::{Error, Result};
use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{DType, Device, Module, Tensor};
use s3d_data::Dtype;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// Rows of a band: whole panels, few beside a matrix.
pub const BAND: usize = 16 * LANES;

/// `y = x W^T`, without bias.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Weight,
    kind: LinearKind,
}

#[derive(Debug, Clone)]
enum Weight {
    /// For the kernels.
    Packed(Arc<Packed>),
    /// `[outputs, inputs]` for candle's matmul.
    Plain(Tensor),
    /// The same in blocks of codes, for candle's quantized matmul.
    Coded(QMatMul),
}

impl Linear {
    /// A layer whose weights are the rows of `parts`, one part after the other, held as `dtype`. A
    /// part that is held so already is taken over bit by bit.
    ///
    /// # Errors
    /// When the parts are no rows of `inputs` weights.
    pub fn new(parts: &[&Matrix], inputs: usize, dtype: Dtype) -> Result<Self> {
        let starts: Vec<usize> = parts
            .iter()
            .scan(0, |start, part| Some(std::mem::replace(start, *start + part.rows(inputs))))
            .collect();
        let outputs = parts.iter().map(|part| part.rows(inputs)).sum();
        check_columns(parts, inputs)?;
        let packed = Packed::pack(dtype, outputs, inputs, |o, raw| {
            let part = starts.partition_point(|&start| start <= o) - 1;
            parts[part].encode_row(o - starts[part], inputs, dtype, raw);
        });
        Ok(Self { weight: Weight::Packed(Arc::new(packed)), kind: LinearKind::Plain })
    }

    /// A layer whose weights, `[outputs, inputs]`, come in bands of `band` rows, which fill panels:
    /// `rows` gives the rows of a range.
    ///
    /// # Errors
    /// When a band cannot be read, or has no rows of `inputs` weights.
    pub fn from_bands(
        [outputs, inputs]: [usize; 2],
        dtype: Dtype,
        band: usize,
        rows: impl Fn(Range<usize>) -> Result<Matrix>,
    ) -> Result<Self> {
        let mut packed = Packed::zeros(dtype, outputs, inputs);
        for start in (0..outputs).step_by(band.max(1)) {
            let end = outputs.min(start + band);
            let band = rows(start..end)?;
            check_columns(&[&band], inputs)?;
            packed.fill(start..end, |o, raw| band.encode_row(o - start, inputs, dtype, raw));
        }
        Ok(Self { weight: Weight::Packed(Arc::new(packed)), kind: LinearKind::Plain })
    }

    /// Gate and up projection, both `[neurons, inputs]`, as one layer that applies SwiGLU. Its
    /// outputs are the neurons, filled up with zeros to whole panels. `rows` gives the rows of a
    /// range of both; it is called as by [`Self::from_bands`].
    ///
    /// # Errors
    /// As there.
    pub fn gate_and_up(
        [neurons, inputs]: [usize; 2],
        dtype: Dtype,
        band: usize,
        rows: impl Fn(Range<usize>) -> Result<[Matrix; 2]>,
    ) -> Result<Self> {
        let outputs = 2 * panel_count(neurons) * LANES;
        let mut packed = Packed::zeros(dtype, outputs, inputs);
        for start in (0..neurons).step_by(band.max(1)) {
            let end = neurons.min(start + band);
            let [gate, up] = rows(start..end)?;
            check_columns(&[&gate, &up], inputs)?;
            packed.fill(2 * start..2 * end.next_multiple_of(LANES), |o, raw| {
                let neuron = o / (2 * LANES) * LANES + o % LANES;
                let half = if (o / LANES).is_multiple_of(2) { &gate } else { &up };
                half.encode_row(neuron - start, inputs, dtype, raw);
            });
        }
        Ok(Self { weight: Weight::Packed(Arc::new(packed)), kind: LinearKind::SwiGlu })
    }

    /// The same layer for candle's own matmul, in the same number type, on `device`.
    ///
    /// # Errors
    /// When the memory is refused.
    pub fn to_plain(&self, device: &Device) -> Result<Self> {
        let Weight::Packed(packed) = &self.weight else { return Ok(self.clone()) };
        let shape = (packed.outputs(), packed.inputs());
        let size = row_bytes(packed.dtype(), packed.inputs());
        let whole_blocks = packed.inputs().is_multiple_of(packed.dtype().block_weights());
        let weight = match ggml_type(packed.dtype()).filter(|_| whole_blocks) {
            Some(dtype) => {
                let mut raw = vec![0; packed.outputs() * size];
                for (o, raw) in raw.chunks_exact_mut(size).enumerate() {
                    packed.unpack(o, raw);
                }
                let storage = QStorage::from_data(Cow::Owned(raw), device, dtype)?;
                Weight::Coded(QMatMul::from_qtensor(QTensor::new(storage, shape)?)?)
            }
            None => {
                let mut numbers = vec![0.0; packed.outputs() * packed.inputs()];
                for (o, row) in numbers.chunks_exact_mut(packed.inputs()).enumerate() {
                    read_row(packed, o, row);
                }
                let matrix = Tensor::from_vec(numbers, shape, device)?;
                Weight::Plain(match packed.dtype() {
                    Dtype::F16 => matrix.to_dtype(DType::F16)?,
                    Dtype::Bf16 => matrix.to_dtype(DType::BF16)?,
                    _ => matrix,
                })
            }
        };
        Ok(Self { weight, kind: self.kind })
    }

    /// Copies rows of the matrix into `into[rows, inputs]`, as `f32`.
    ///
    /// # Errors
    /// When a row does not exist.
    pub fn read_rows(&self, rows: &[u32], into: &mut [f32]) -> Result<()> {
        let size = into.len() / rows.len().max(1);
        for (&row, into) in rows.iter().zip(into.chunks_exact_mut(size.max(1))) {
            match &self.weight {
                Weight::Packed(packed) if (row as usize) < packed.outputs() => {
                    read_row(packed, row as usize, into);
                }
                Weight::Packed(packed) => {
                    let outputs = packed.outputs();
                    return Err(Error::invalid(format!("row {row} of {outputs} rows")));
                }
                Weight::Plain(matrix) => {
                    let row = matrix.get(row as usize)?.to_dtype(DType::F32)?;
                    into.copy_from_slice(&row.to_vec1::<f32>()?);
                }
                Weight::Coded(matrix) => {
                    let row = Tensor::new(&[row], &Device::Cpu)?;
                    let row = matrix.embedding(&row)?.flatten_all()?;
                    into.copy_from_slice(&row.to_vec1::<f32>()?);
                }
            }
        }
        Ok(())
    }

    /// Weight bytes that one pass reads.
    pub fn bytes(&self) -> u64 {
        match &self.weight {
            Weight::Packed(packed) => packed.bytes(),
            Weight::Plain(w) => (w.elem_count() * w.dtype().size_in_bytes()) as u64,
            Weight::Coded(QMatMul::QTensor(w)) => w.storage_size_in_bytes() as u64,
            Weight::Coded(QMatMul::Tensor(w) | QMatMul::TensorF16(w)) => {
                (w.elem_count() * w.dtype().size_in_bytes()) as u64
            }
        }
    }

    /// `x W^T` for `x[rows, inputs]`.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn forward(&self, ops: &Ops, x: &Tensor) -> Result<Tensor> {
        let products = match &self.weight {
            Weight::Packed(w) => {
                let op = PackedLinear { kernels: ops.kernels(), w, kind: self.kind };
                return Ok(x.apply_op1_no_bwd(&op)?);
            }
            Weight::Plain(w) => plain_products(w, x)?,
            Weight::Coded(w) => w.forward(x)?,
        };
        self.finish(ops, products)
    }

    /// `other + x W^T`, of which a layer that applies SwiGLU returns SwiGLU. `other` is a residual, or
    /// what adapters add.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn forward_add(&self, ops: &Ops, x: &Tensor, other: &Tensor) -> Result<Tensor> {
        let sums = match &self.weight {
            Weight::Packed(w) => {
                let op = PackedLinear { kernels: ops.kernels(), w, kind: LinearKind::Plain };
                x.apply_op2_no_bwd(other, &op)?
            }
            Weight::Plain(w) => (plain_products(w, x)? + other)?,
            Weight::Coded(w) => (w.forward(x)? + other)?,
        };
        self.finish(ops, sums)
    }

    /// What becomes of products that are not finished yet.
    fn finish(&self, ops: &Ops, products: Tensor) -> Result<Tensor> {
        Ok(match self.kind {
            LinearKind::Plain => products,
            LinearKind::SwiGlu => ops.swiglu(&products)?,
        })
    }

    /// The same matrix, whose products are the result: with gates and ups alternating, as
    /// [`Self::gate_and_up`] laid them out.
    pub fn without_swiglu(self) -> Self {
        Self { kind: LinearKind::Plain, ..self }
    }
}

/// `x W^T` by candle's own matmul.
fn plain_products(w: &Tensor, x: &Tensor) -> Result<Tensor> {
    Ok(x.to_dtype(w.dtype())?.matmul(&w.t()?)?.to_dtype(DType::F32)?)
}

fn check_columns(parts: &[&Matrix], inputs: usize) -> Result<()> {
    let fits = |part: &&&Matrix| match part {
        Matrix::F32(numbers) => inputs > 0 && numbers.len().is_multiple_of(inputs),
        Matrix::Raw(tensor) => tensor.shape[1] == inputs,
    };
    match parts.iter().all(|part| fits(&part)) {
        true => Ok(()),
        false => {
            Err(Error::invalid(format!("a layer of {inputs} inputs needs rows of as many weights")))
        }
    }
}

fn ggml_type(dtype: Dtype) -> Option<GgmlDType> {
    match dtype {
        Dtype::Q8_0 => Some(GgmlDType::Q8_0),
        Dtype::Q4_0 => Some(GgmlDType::Q4_0),
        Dtype::Q4K => Some(GgmlDType::Q4K),
        _ => None,
    }
}

fn read_row(packed: &Packed, row: usize, into: &mut [f32]) {
    let mut raw = vec![0; row_bytes(packed.dtype(), packed.inputs())];
    packed.unpack(row, &mut raw);
    decode_row(packed.dtype(), &raw, into);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Isa, test_numbers as numbers};
    use crate::raw::{RawTensor, encode_row};

    /// Rows of a matrix of numbers.
    fn cut(matrix: &Matrix, inputs: usize, rows: Range<usize>) -> Matrix {
        let all = matrix.clone().into_f32();
        Matrix::F32(all[inputs * rows.start..inputs * rows.end].to_vec())
    }

    #[test]
    fn packed_and_plain_layers_agree() {
        // source: candle's own matmul as the second implementation; halves round activations there,
        // codes round them on both sides
        let (inputs, outputs, rows) = (256, 40, 3);
        let ops = Ops::fused(1, Isa::detect());
        let [gate, up] = [1, 2].map(|seed| Matrix::F32(numbers(seed, outputs * inputs)));
        let x = Tensor::from_vec(numbers(3, rows * inputs), (rows, inputs), &Device::Cpu).unwrap();
        for dtype in Dtype::ENGINE {
            let bound = match dtype {
                Dtype::F32 => 1e-4,
                Dtype::F16 => 0.02,
                _ => 0.25,
            };
            let pair = |band| {
                let rows = |rows: Range<usize>| {
                    Ok([&gate, &up].map(|half| cut(half, inputs, rows.clone())))
                };
                Linear::gate_and_up([outputs, inputs], dtype, band, rows).unwrap()
            };
            let whole = pair(outputs).forward(&ops, &x).unwrap().to_vec2::<f32>().unwrap();
            assert_eq!(pair(32).forward(&ops, &x).unwrap().to_vec2::<f32>().unwrap(), whole);
            let layers = [Linear::new(&[&gate, &up], inputs, dtype).unwrap(), pair(outputs)];
            for (layer, width) in layers.iter().zip([80, 48]) {
                let fast = layer.forward(&ops, &x).unwrap();
                let plain = layer.to_plain(&Device::Cpu).unwrap();
                let other = plain.forward(&ops, &x).unwrap();
                assert_eq!(fast.dims2().unwrap(), (rows, width));
                let scale = other.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
                let gap = (fast - other).unwrap().abs().unwrap().max_all().unwrap();
                let gap = gap.to_scalar::<f32>().unwrap();
                assert!(gap <= bound * scale.max(1.0) / 10.0, "{dtype}: {gap} of {scale}");
                let mut both = [vec![0.0; 2 * inputs], vec![0.0; 2 * inputs]];
                for (layer, into) in [layer, &plain].into_iter().zip(&mut both) {
                    layer.read_rows(&[0, 17], into).unwrap();
                }
                assert_eq!(both[0], both[1], "{dtype}");
            }
        }
    }

    #[test]
    fn blocks_of_a_file_are_taken_over_bit_by_bit() {
        let (inputs, outputs) = (256, 20);
        let w = numbers(1, outputs * inputs);
        for dtype in Dtype::ENGINE {
            let size = row_bytes(dtype, inputs);
            let mut bytes = vec![0; outputs * size];
            for (row, raw) in w.chunks(inputs).zip(bytes.chunks_mut(size)) {
                encode_row(dtype, row, raw);
            }
            let raw = RawTensor::new(dtype, [outputs, inputs], bytes.clone()).unwrap();
            let layer = Linear::new(&[&Matrix::Raw(raw)], inputs, dtype).unwrap();
            let Weight::Packed(packed) = &layer.weight else { unreachable!() };
            for (o, expected) in bytes.chunks(size).enumerate() {
                let mut found = vec![0; size];
                packed.unpack(o, &mut found);
                assert_eq!(found, expected);
            }
        }
        let w = Matrix::F32(numbers(2, (BAND + 20) * 32));
        for dtype in [Dtype::F32, Dtype::Q4_0] {
            // Two bands, the second without whole panels.
            let whole = Linear::new(&[&w], 32, dtype).unwrap();
            let rows = |rows| Ok(cut(&w, 32, rows));
            let banded = Linear::from_bands([BAND + 20, 32], dtype, BAND, rows);
            let read = |layer: &Linear| {
                let mut rows = vec![0.0; 2 * 32];
                layer.read_rows(&[3, BAND as u32 + 19], &mut rows).unwrap();
                rows
            };
            assert_eq!(read(&banded.unwrap()), read(&whole), "{dtype}");
        }
        let wrong = Matrix::F32(vec![0.0; 33]);
        assert!(Linear::new(&[&wrong], 32, Dtype::F32).is_err());
    }
}
