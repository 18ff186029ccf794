//! The arrays that a pass computes with, and small conversions of them.

use candle_core::{DType, Device, Result, Shape, Tensor};

/// Rows of numbers, `[rows, width]`, or one vector, where the backend keeps them. Both backends of
/// today keep candle's tensors; one that keeps others makes this an enum.
pub(crate) type Rows = Tensor;

/// Converts on the host, then uploads.
pub(crate) fn up(
    numbers: Vec<f32>,
    shape: impl Into<Shape>,
    number: DType,
    device: &Device,
) -> Result<Tensor> {
    Tensor::from_vec(numbers, shape, &Device::Cpu)?.to_dtype(number)?.to_device(device)
}

/// SwiGLU of gates and ups that stand apart.
pub(crate) fn gated(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.silu()? * up
}

/// How many numbers there are.
pub(crate) fn count(numbers: &Rows) -> usize {
    numbers.elem_count()
}
