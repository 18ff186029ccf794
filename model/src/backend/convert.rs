//! The arrays that a pass computes with, and small conversions of them.

#[cfg(feature = "gpu")]
use crate::error::Error;
use crate::error::Result;
use candle_core::{DType, Device, Shape, Tensor};

/// Rows of numbers, `[rows, width]`, where the backend keeps them. A copy stands for the same
/// memory.
#[derive(Debug, Clone)]
pub(crate) enum Rows {
    /// On the CPU, or on a card of candle's.
    Tensor(Tensor),
    /// On a Vulkan device.
    #[cfg(feature = "gpu")]
    Gpu(s3d_gpu::Rows),
}

impl Rows {
    /// The tensor that the kernels and candle compute with.
    ///
    /// # Errors
    /// Where another backend keeps them.
    pub(crate) fn tensor(&self) -> Result<&Tensor> {
        match self {
            Self::Tensor(x) => Ok(x),
            #[cfg(feature = "gpu")]
            Self::Gpu(_) => Err(Error::foreign()),
        }
    }
}

/// Weights that meet activations one by one, norms and biases, where the backend keeps them.
#[derive(Debug, Clone)]
pub(crate) enum Vector {
    /// On the CPU, or on a card of candle's.
    Tensor(Tensor),
    /// On a Vulkan device, so many numbers.
    #[cfg(feature = "gpu")]
    Gpu(s3d_gpu::Buffer, usize),
}

impl Vector {
    /// As [`Rows::tensor`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn tensor(&self) -> Result<&Tensor> {
        match self {
            Self::Tensor(x) => Ok(x),
            #[cfg(feature = "gpu")]
            Self::Gpu(..) => Err(Error::foreign()),
        }
    }

    /// How many numbers there are.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Tensor(x) => x.elem_count(),
            #[cfg(feature = "gpu")]
            Self::Gpu(_, count) => *count,
        }
    }
}

/// Converts on the host, then uploads.
pub(crate) fn up(
    numbers: Vec<f32>,
    shape: impl Into<Shape>,
    number: DType,
    device: &Device,
) -> candle_core::Result<Tensor> {
    Tensor::from_vec(numbers, shape, &Device::Cpu)?.to_dtype(number)?.to_device(device)
}

/// SwiGLU of gates and ups that stand apart.
pub(crate) fn gated(gate: &Tensor, up: &Tensor) -> candle_core::Result<Tensor> {
    gate.silu()? * up
}
