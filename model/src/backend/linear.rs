//! A linear layer: packed for the small-width kernels, as it stands for candle's own matmul, or on
//! a Vulkan device.

use super::convert::{Rows, gated};
use super::cpu::{LinearKind, PackedLinear};
use super::{Backend, Home};
use crate::error::{Error, Result};
#[cfg(feature = "gpu")]
use crate::weights::encoded::BAND;
use crate::weights::encoded::{Matrix, decode_row};
use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{DType, Device, Module, Tensor};
use rayon::prelude::*;
use s3d_data::Dtype;
use s3d_kernels::packed::{Packed, row_bytes};
use s3d_kernels::panels::{LANES, panel_count};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// `y = x W^T`, without bias.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
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
    /// On a Vulkan device.
    #[cfg(feature = "gpu")]
    Gpu(s3d_gpu::Matrix),
}

/// Weights on their way to their home.
enum Filling<'d> {
    Panels(Packed),
    Rows {
        dtype: Dtype,
        shape: [usize; 2],
        bytes: Vec<u8>,
        device: &'d Device,
    },
    #[cfg(feature = "gpu")]
    Gpu {
        matrix: s3d_gpu::Matrix,
        gpu: &'d crate::device::Gpu,
    },
}

impl<'d> Filling<'d> {
    /// Zeros, `[outputs, inputs]`.
    fn new(home: Home<'d>, dtype: Dtype, [outputs, inputs]: [usize; 2]) -> Result<Self> {
        Ok(match home {
            Home::Panels => Self::Panels(Packed::zeros(dtype, outputs, inputs)),
            Home::Rows(device) => {
                let bytes = vec![0; outputs * row_bytes(dtype, inputs)];
                Self::Rows { dtype, shape: [outputs, inputs], bytes, device }
            }
            #[cfg(feature = "gpu")]
            Home::Gpu(gpu) => {
                Self::Gpu { matrix: s3d_gpu::Matrix::zeros(gpu, dtype, outputs, inputs)?, gpu }
            }
        })
    }

    /// Fills the rows of a range: `row(o, bytes)` writes row `o` as a file of this type holds it.
    fn fill(&mut self, range: Range<usize>, row: impl Fn(usize, &mut [u8]) + Sync) -> Result<()> {
        match self {
            Self::Panels(packed) => packed.fill(range, row),
            Self::Rows { dtype, shape: [_, inputs], bytes, .. } => {
                let size = row_bytes(*dtype, *inputs);
                let bytes = &mut bytes[range.start * size..range.end * size];
                bytes.par_chunks_exact_mut(size).zip(range).for_each(|(raw, o)| row(o, raw));
            }
            #[cfg(feature = "gpu")]
            Self::Gpu { matrix, gpu } => {
                let size = row_bytes(matrix.dtype(), matrix.inputs());
                for start in range.clone().step_by(BAND) {
                    let band = start..range.end.min(start + BAND);
                    let mut bytes = vec![0; band.len() * size];
                    let rows = bytes.par_chunks_exact_mut(size.max(1)).zip(band);
                    rows.for_each(|(raw, o)| row(o, raw));
                    matrix.write(gpu, start, &bytes)?;
                }
            }
        }
        Ok(())
    }

    fn finish(self, kind: LinearKind) -> Result<Linear> {
        let weight = match self {
            Self::Panels(packed) => Weight::Packed(Arc::new(packed)),
            Self::Rows { dtype, shape, bytes, device } => on_device(dtype, shape, bytes, device)?,
            #[cfg(feature = "gpu")]
            Self::Gpu { matrix, .. } => Weight::Gpu(matrix),
        };
        Ok(Linear { weight, kind })
    }
}

/// Rows as a file holds them, for candle's own matmul on `device`: as they are, or as numbers where
/// a row is no whole number of blocks.
fn on_device(
    dtype: Dtype,
    [outputs, inputs]: [usize; 2],
    bytes: Vec<u8>,
    device: &Device,
) -> Result<Weight> {
    let shape = (outputs, inputs);
    if !inputs.is_multiple_of(dtype.block_weights()) {
        let mut numbers = vec![0.0; outputs * inputs];
        let raw = bytes.chunks_exact(row_bytes(dtype, inputs));
        for (row, raw) in numbers.chunks_exact_mut(inputs).zip(raw) {
            decode_row(dtype, raw, row);
        }
        return Ok(Weight::Plain(Tensor::from_vec(numbers, shape, device)?));
    }
    let plain = match dtype {
        Dtype::F16 => DType::F16,
        Dtype::Bf16 => DType::BF16,
        _ => DType::F32,
    };
    Ok(match ggml_type(dtype) {
        Some(dtype) => {
            let storage = QStorage::from_data(Cow::Owned(bytes), device, dtype)?;
            Weight::Coded(QMatMul::from_qtensor(QTensor::new(storage, shape)?)?)
        }
        None => Weight::Plain(Tensor::from_raw_buffer(&bytes, plain, &[outputs, inputs], device)?),
    })
}

impl Linear {
    /// A layer whose weights are the rows of `parts`, one part after the other, held as `dtype`. A
    /// part that is held so already is taken over bit by bit.
    ///
    /// # Errors
    /// When the parts are no rows of `inputs` weights, or the memory is refused.
    pub(crate) fn new(
        parts: &[&Matrix],
        inputs: usize,
        dtype: Dtype,
        home: Home<'_>,
    ) -> Result<Self> {
        let starts: Vec<usize> = parts
            .iter()
            .scan(0, |start, part| Some(std::mem::replace(start, *start + part.rows(inputs))))
            .collect();
        let outputs = parts.iter().map(|part| part.rows(inputs)).sum();
        check_columns(parts, inputs)?;
        let mut filling = Filling::new(home, dtype, [outputs, inputs])?;
        filling.fill(0..outputs, |o, raw| {
            let part = starts.partition_point(|&start| start <= o) - 1;
            parts[part].encode_row(o - starts[part], inputs, dtype, raw);
        })?;
        filling.finish(LinearKind::Plain)
    }

    /// A layer whose weights, `[outputs, inputs]`, come in bands of `band` rows, which fill panels:
    /// `rows` gives the rows of a range.
    ///
    /// # Errors
    /// When a band cannot be read, or has no rows of `inputs` weights, or the memory is refused.
    pub(crate) fn from_bands(
        [outputs, inputs]: [usize; 2],
        dtype: Dtype,
        home: Home<'_>,
        band: usize,
        rows: impl Fn(Range<usize>) -> Result<Matrix>,
    ) -> Result<Self> {
        let mut filling = Filling::new(home, dtype, [outputs, inputs])?;
        for start in (0..outputs).step_by(band.max(1)) {
            let end = outputs.min(start + band);
            let band = rows(start..end)?;
            check_columns(&[&band], inputs)?;
            filling.fill(start..end, |o, raw| band.encode_row(o - start, inputs, dtype, raw))?;
        }
        filling.finish(LinearKind::Plain)
    }

    /// Gate and up projection, both `[neurons, inputs]`, as one layer that applies SwiGLU. Its
    /// outputs are the neurons, filled up with zeros to whole panels. `rows` gives the rows of a
    /// range of both; it is called as by [`Self::from_bands`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn gate_and_up(
        [neurons, inputs]: [usize; 2],
        dtype: Dtype,
        home: Home<'_>,
        band: usize,
        rows: impl Fn(Range<usize>) -> Result<[Matrix; 2]>,
    ) -> Result<Self> {
        let filled = panel_count(neurons) * LANES;
        let mut filling = Filling::new(home, dtype, [2 * filled, inputs])?;
        for start in (0..neurons).step_by(band.max(1)) {
            let end = neurons.min(start + band);
            let [gate, up] = rows(start..end)?;
            check_columns(&[&gate, &up], inputs)?;
            match home {
                Home::Panels => {
                    filling.fill(2 * start..2 * end.next_multiple_of(LANES), |o, raw| {
                        let neuron = o / (2 * LANES) * LANES + o % LANES;
                        let half = if (o / LANES).is_multiple_of(2) { &gate } else { &up };
                        half.encode_row(neuron - start, inputs, dtype, raw);
                    })?;
                }
                _ => {
                    for (half, first) in [(&gate, 0), (&up, filled)] {
                        filling.fill(first + start..first + end, |o, raw| {
                            half.encode_row(o - first - start, inputs, dtype, raw);
                        })?;
                    }
                }
            }
        }
        filling.finish(match home {
            Home::Panels => LinearKind::SwiGlu,
            _ => LinearKind::HalvedSwiGlu,
        })
    }

    /// The same layer for candle's own matmul, in the same number type, on `device`.
    ///
    /// # Errors
    /// When the memory is refused.
    pub(crate) fn to_plain(&self, device: &Device) -> Result<Self> {
        let Weight::Packed(packed) = &self.weight else { return Ok(self.clone()) };
        let mut raw = vec![0; packed.outputs() * row_bytes(packed.dtype(), packed.inputs())];
        let size = row_bytes(packed.dtype(), packed.inputs());
        for (o, raw) in raw.chunks_exact_mut(size.max(1)).enumerate() {
            packed.unpack(o, raw);
        }
        let shape = [packed.outputs(), packed.inputs()];
        let weight = on_device(packed.dtype(), shape, raw, device)?;
        Ok(Self { weight, kind: self.kind })
    }

    /// The layer of these rows of the matrix, in this order, each as it stands here; `rows` are
    /// rows of it.
    ///
    /// # Errors
    /// When a device refuses the memory.
    #[cfg_attr(not(feature = "gpu"), expect(unused_variables, reason = "for a Vulkan device"))]
    pub(crate) fn some_rows(&self, backend: &Backend, rows: &[u32]) -> Result<Self> {
        let chosen = |w: &Tensor| -> Result<Tensor> {
            Ok(w.index_select(&Tensor::new(rows, w.device())?, 0)?)
        };
        let weight = match &self.weight {
            Weight::Packed(packed) => {
                let shape = [rows.len(), packed.inputs()];
                let mut filling = Filling::new(Home::Panels, packed.dtype(), shape)?;
                filling.fill(0..rows.len(), |o, raw| packed.unpack(rows[o] as usize, raw))?;
                return filling.finish(self.kind);
            }
            Weight::Plain(w) => Weight::Plain(chosen(w)?),
            Weight::Coded(QMatMul::Tensor(w)) => Weight::Coded(QMatMul::Tensor(chosen(w)?)),
            Weight::Coded(QMatMul::TensorF16(w)) => Weight::Coded(QMatMul::TensorF16(chosen(w)?)),
            Weight::Coded(QMatMul::QTensor(w)) => {
                let ((outputs, inputs), all) = (w.shape().dims2()?, w.data()?);
                let size = all.len() / outputs.max(1);
                let row = |&row: &u32| &all[row as usize * size..][..size];
                let bytes = rows.iter().flat_map(row).copied().collect();
                let storage = QStorage::from_data(Cow::Owned(bytes), &w.device(), w.dtype())?;
                let some = QTensor::new(storage, (rows.len(), inputs))?;
                Weight::Coded(QMatMul::from_qtensor(some)?)
            }
            #[cfg(feature = "gpu")]
            Weight::Gpu(w) => Weight::Gpu(w.some_rows(backend.gpu()?, rows)?),
        };
        Ok(Self { weight, kind: self.kind })
    }

    /// Copies rows of the matrix into `into[rows, inputs]`, as `f32`.
    ///
    /// # Errors
    /// When a row does not exist.
    pub(crate) fn read_rows(&self, rows: &[u32], into: &mut [f32]) -> Result<()> {
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
                #[cfg(feature = "gpu")]
                Weight::Gpu(_) => return Err(Error::foreign()),
            }
        }
        Ok(())
    }

    /// Weight bytes that one pass reads.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.weight {
            Weight::Packed(packed) => packed.bytes(),
            #[cfg(feature = "gpu")]
            Weight::Gpu(matrix) => matrix.bytes().0,
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
    pub(crate) fn forward(&self, backend: &Backend, x: &Rows) -> Result<Rows> {
        #[cfg(feature = "gpu")]
        if let (Weight::Gpu(w), Backend::Gpu(gpu)) = (&self.weight, backend) {
            return gpu.multiply(w, x, None, self.kind == LinearKind::HalvedSwiGlu);
        }
        let x = x.tensor()?;
        let products = match &self.weight {
            Weight::Packed(w) => {
                let op = PackedLinear { kernels: backend.kernels()?, w, kind: self.kind };
                return Ok(Rows::Tensor(x.apply_op1_no_bwd(&op)?));
            }
            // Over several rows, halves of one product are no contiguous tensors: two products are.
            Weight::Plain(w) if self.kind == LinearKind::HalvedSwiGlu && x.dim(0)? > 1 => {
                let half = w.dim(0)? / 2;
                let (gate, up) = (w.narrow(0, 0, half)?, w.narrow(0, half, half)?);
                return Ok(Rows::Tensor(gated(&multiply(x, &gate)?, &multiply(x, &up)?)?));
            }
            Weight::Plain(w) => multiply(x, w)?,
            Weight::Coded(w) => w.forward(&x.contiguous()?)?.to_dtype(x.dtype())?,
            #[cfg(feature = "gpu")]
            Weight::Gpu(_) => return Err(Error::foreign()),
        };
        self.finish(backend, products)
    }

    /// `other + x W^T`, of which a layer that applies SwiGLU returns SwiGLU. `other` is a residual,
    /// or what adapters add.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub(crate) fn forward_add(&self, backend: &Backend, x: &Rows, other: &Rows) -> Result<Rows> {
        #[cfg(feature = "gpu")]
        if let (Weight::Gpu(w), Backend::Gpu(gpu)) = (&self.weight, backend) {
            return gpu.multiply(w, x, Some(other), self.kind == LinearKind::HalvedSwiGlu);
        }
        let (x, other) = (x.tensor()?, other.tensor()?);
        let sums = match &self.weight {
            Weight::Packed(w) => {
                let op = PackedLinear { kernels: backend.kernels()?, w, kind: LinearKind::Plain };
                x.apply_op2_no_bwd(other, &op)?
            }
            Weight::Plain(w) => (multiply(x, w)? + other)?,
            Weight::Coded(w) => (w.forward(&x.contiguous()?)?.to_dtype(x.dtype())? + other)?,
            #[cfg(feature = "gpu")]
            Weight::Gpu(_) => return Err(Error::foreign()),
        };
        self.finish(backend, sums)
    }

    /// What becomes of products that are not finished yet.
    fn finish(&self, backend: &Backend, products: Tensor) -> Result<Rows> {
        Ok(Rows::Tensor(match self.kind {
            LinearKind::Plain => products,
            LinearKind::SwiGlu => backend.swiglu(&products)?,
            LinearKind::HalvedSwiGlu => {
                let half = products.dim(1)? / 2;
                let [gate, up] = [0, half].map(|start| products.narrow(1, start, half));
                gated(&gate?.contiguous()?, &up?.contiguous()?)?
            }
        }))
    }

    /// The same matrix, whose products are the result: with gates and ups alternating, as
    /// [`Self::gate_and_up`] laid them out.
    pub(crate) fn without_swiglu(self) -> Self {
        Self { kind: LinearKind::Plain, ..self }
    }
}

/// `x W^T` in the number type of the weights; the result is of the type of `x`.
fn multiply(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    Ok(x.to_dtype(w.dtype())?.matmul(&w.t()?)?.to_dtype(x.dtype())?)
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
    use crate::test_numbers::numbers;
    use crate::weights::encoded::{BAND, RawTensor, encode_row};
    use s3d_kernels::isa::Isa;

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
        let backend = Backend::cpu(1, Isa::detect());
        let [gate, up] = [1, 2].map(|seed| Matrix::F32(numbers(seed, outputs * inputs)));
        let x = Tensor::from_vec(numbers(3, rows * inputs), (rows, inputs), &Device::Cpu).unwrap();
        let x = Rows::Tensor(x);
        let product =
            |layer: &Linear| layer.forward(&backend, &x).unwrap().tensor().unwrap().clone();
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
                Linear::gate_and_up([outputs, inputs], dtype, Home::Panels, band, rows).unwrap()
            };
            let whole = product(&pair(outputs)).to_vec2::<f32>().unwrap();
            assert_eq!(product(&pair(32)).to_vec2::<f32>().unwrap(), whole);
            let layers =
                [Linear::new(&[&gate, &up], inputs, dtype, Home::Panels).unwrap(), pair(outputs)];
            for (layer, width) in layers.iter().zip([80, 48]) {
                let fast = product(layer);
                let plain = layer.to_plain(&Device::Cpu).unwrap();
                let other = product(&plain);
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
            let layer = Linear::new(&[&Matrix::Raw(raw)], inputs, dtype, Home::Panels).unwrap();
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
            let whole = Linear::new(&[&w], 32, dtype, Home::Panels).unwrap();
            let rows = |rows| Ok(cut(&w, 32, rows));
            let banded = Linear::from_bands([BAND + 20, 32], dtype, Home::Panels, BAND, rows);
            let read = |layer: &Linear| {
                let mut rows = vec![0.0; 2 * 32];
                layer.read_rows(&[3, BAND as u32 + 19], &mut rows).unwrap();
                rows
            };
            assert_eq!(read(&banded.unwrap()), read(&whole), "{dtype}");
        }
        let wrong = Matrix::F32(vec![0.0; 33]);
        assert!(Linear::new(&[&wrong], 32, Dtype::F32, Home::Panels).is_err());
    }
}
