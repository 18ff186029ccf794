//! Who computes the operations of a pass. The forward pass is written once, over [`Backend`];
//! nothing above this folder knows which one runs.
//!
//! On the CPU the kernels compute, as custom operations (`cpu`); on NVIDIA cards passes are
//! composed of candle's own operations (`candle`), which need no code for the device; on a Vulkan
//! device they are WGSL (`gpu`, with the feature of this name).

pub(crate) mod adapter;
mod candle;
pub(crate) mod convert;
mod cpu;
pub(crate) mod embedding;
#[cfg(feature = "gpu")]
pub(crate) mod gpu;
pub(crate) mod kv_cache;
pub(crate) mod linear;
pub(crate) mod logits;
mod operations;
pub(crate) mod placed;
pub(crate) mod recordings;
mod shared_pass;

use crate::device::Device;
use crate::error::{Error, Result};
use candle_core::DType;
use kv_cache::KvCache;
use s3d_data::Dtype;
use s3d_kernels::heads::HeadShape;
use s3d_kernels::isa::Isa;
use s3d_kernels::kernels::Kernels;

/// Where the host computes.
static HOST: Device = Device::Cpu;

/// How the operations of a model are computed.
#[derive(Debug)]
pub(crate) enum Backend {
    /// By the kernels, on the CPU; weights and cache are in panels.
    Cpu(Kernels),
    /// By candle's own operations, on any device.
    Candle {
        /// The number type of activations and cache.
        number: DType,
        /// Where.
        device: Device,
    },
    /// By WGSL, on a Vulkan device; matrices are in their number type, all else is `f32`.
    #[cfg(feature = "gpu")]
    Gpu(gpu::Vulkan),
}

/// Where a backend keeps the weights of linear layers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Home<'d> {
    /// In panels, for the kernels.
    Panels,
    /// Row by row on a device, for candle's own matmul.
    Rows(&'d candle_core::Device),
    /// On a Vulkan device, in its layout.
    #[cfg(feature = "gpu")]
    Gpu(&'d crate::device::Gpu),
}

impl Backend {
    /// The kernels on `threads` threads, as a CPU wants them.
    pub(crate) fn cpu(threads: usize, isa: Isa) -> Self {
        Self::Cpu(Kernels::new(threads, isa))
    }

    /// Candle's own operations on `device`; activations and cache are held as `number`.
    pub(crate) fn candle(number: DType, device: &Device) -> Self {
        Self::Candle { number, device: device.clone() }
    }

    /// The backend that suits `device`: candle's operations also on the CPU where they are
    /// `composed`, else the kernels there, on `threads` threads (0: all cores). `dtype` is the type
    /// of the weights.
    pub(crate) fn suited_to(device: &Device, dtype: Dtype, threads: usize, composed: bool) -> Self {
        #[cfg(feature = "gpu")]
        if let Device::Gpu(gpu) = device {
            return Self::Gpu(gpu::Vulkan::new(gpu));
        }
        if composed || !device.is_cpu() {
            return Self::candle(number_on_device(dtype), device);
        }
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        Self::cpu(threads, Isa::detect())
    }

    /// Where it computes.
    pub(crate) fn device(&self) -> &Device {
        match self {
            Self::Cpu(_) => &HOST,
            Self::Candle { device, .. } => device,
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => gpu.device(),
        }
    }

    /// The number type of activations and cache.
    pub(crate) fn number(&self) -> DType {
        match self {
            Self::Cpu(_) => DType::F32,
            Self::Candle { number, .. } => *number,
            #[cfg(feature = "gpu")]
            Self::Gpu(_) => DType::F32,
        }
    }

    /// Threads of its own.
    pub(crate) fn threads(&self) -> usize {
        match self {
            Self::Cpu(kernels) => kernels.threads(),
            Self::Candle { .. } => 1,
            #[cfg(feature = "gpu")]
            Self::Gpu(_) => 1,
        }
    }

    /// Where it keeps the weights of linear layers.
    pub(crate) fn home(&self) -> Home<'_> {
        match self {
            Self::Cpu(_) => Home::Panels,
            Self::Candle { device, .. } => Home::Rows(device.tensors()),
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => Home::Gpu(gpu.gpu()),
        }
    }

    /// Refuses a number type of the engine that this backend cannot multiply by.
    ///
    /// # Errors
    /// With those that it can.
    pub(crate) fn check_dtype(&self, dtype: Dtype) -> Result<()> {
        #[cfg(feature = "gpu")]
        if let Self::Gpu(gpu) = self {
            return gpu.check_dtype(dtype);
        }
        let _ = dtype;
        Ok(())
    }

    /// Rows of one pass, at most, the widest of which have `width` numbers.
    pub(crate) fn most_rows(&self, width: usize) -> usize {
        #[cfg(feature = "gpu")]
        if let Self::Gpu(gpu) = self {
            return gpu.gpu().most_rows(width);
        }
        let _ = width;
        usize::MAX
    }

    /// Whether rows of a layer's weights can be read without waiting for a device.
    pub(crate) fn has_weights_at_hand(&self) -> bool {
        matches!(self, Self::Cpu(_))
    }

    /// Whether its operations are launched one by one, so that a recorded pass saves time.
    pub(crate) fn launches(&self) -> bool {
        matches!(self, Self::Candle { .. })
    }

    /// How far apart, as a share of the largest logit, two logits may be and yet change places
    /// between passes of different widths: 0 where a row's bits do not depend on the pass it sits
    /// in, as on the CPU and on a Vulkan device; else 16 roundings of the number type of
    /// activations (a bound to be judged by, not a proven one).
    pub(crate) fn tie_width(&self) -> f64 {
        const ROUNDINGS: f64 = 16.0;
        let Self::Candle { number, .. } = self else { return 0.0 };
        ROUNDINGS
            * match number {
                DType::BF16 => f64::from(half::bf16::EPSILON),
                DType::F16 => f64::from(half::f16::EPSILON),
                _ => f64::from(f32::EPSILON),
            }
    }

    /// A cache of `layers` layers for at least `capacity` positions.
    ///
    /// # Errors
    /// When the memory is refused.
    pub(crate) fn new_cache(
        &self,
        layers: usize,
        shape: HeadShape,
        capacity: usize,
    ) -> Result<KvCache> {
        #[cfg(feature = "gpu")]
        if let Self::Gpu(vulkan) = self {
            return KvCache::on_gpu(vulkan.gpu(), layers, shape, capacity);
        }
        let panels = matches!(self, Self::Cpu(_));
        KvCache::new(layers, shape, capacity, panels, self.number(), self.device().tensors())
    }

    /// The Vulkan device, which alone multiplies by what lies on it.
    #[cfg(feature = "gpu")]
    fn gpu(&self) -> Result<&crate::device::Gpu> {
        match self {
            Self::Gpu(gpu) => Ok(gpu.gpu()),
            _ => Err(Error::foreign()),
        }
    }

    /// The kernels, which alone multiply by packed weights.
    fn kernels(&self) -> Result<&Kernels> {
        match self {
            Self::Cpu(kernels) => Ok(kernels),
            _ => Err(Error::foreign()),
        }
    }
}

/// The number type of activations and cache on a device, where the weights are of `dtype`: that of
/// the weights, and halves where those are codes.
pub(crate) fn number_on_device(dtype: Dtype) -> DType {
    match dtype {
        Dtype::F32 => DType::F32,
        Dtype::Bf16 => DType::BF16,
        _ => DType::F16,
    }
}
