//! Who computes the operations of a pass. The forward pass is written once, over [`Backend`];
//! nothing above this folder knows which one runs.
//!
//! On the CPU the kernels compute, as custom operations (`cpu`); elsewhere passes are composed of
//! candle's own operations (`candle`), which need no code for the device. A third backend is one
//! more variant here and one more file beside those two.

pub(crate) mod adapter;
mod candle;
pub(crate) mod convert;
mod cpu;
pub(crate) mod embedding;
pub(crate) mod kv_cache;
pub(crate) mod linear;
pub(crate) mod logits;
pub(crate) mod placed;
pub(crate) mod recordings;
mod shared_pass;

use self::cpu::{Half, PairedSwiGlu, RmsNorm};
use crate::error::{Error, Result};
use candle_core::{DType, Device, Shape};
use convert::{Rows, up};
use kv_cache::KvCache;
use placed::{LayerCache, Placed, Rotated, Standing};
use s3d_data::Dtype;
use s3d_kernels::attention::Block;
use s3d_kernels::heads::HeadShape;
use s3d_kernels::isa::Isa;
use s3d_kernels::kernels::Kernels;
use s3d_kernels::rotary::Rotary;

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
}

/// Where a backend keeps the weights of linear layers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Home<'d> {
    /// In panels, for the kernels.
    Panels,
    /// Row by row on a device, for candle's own matmul.
    Rows(&'d Device),
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
        }
    }

    /// The number type of activations and cache.
    pub(crate) fn number(&self) -> DType {
        match self {
            Self::Cpu(_) => DType::F32,
            Self::Candle { number, .. } => *number,
        }
    }

    /// Threads of its own.
    pub(crate) fn threads(&self) -> usize {
        match self {
            Self::Cpu(kernels) => kernels.threads(),
            Self::Candle { .. } => 1,
        }
    }

    /// Where it keeps the weights of linear layers.
    pub(crate) fn home(&self) -> Home<'_> {
        match self {
            Self::Cpu(_) => Home::Panels,
            Self::Candle { device, .. } => Home::Rows(device),
        }
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
    /// in, as on the CPU; else 16 roundings of the number type of activations (a bound to be judged
    /// by, not a proven one).
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
        let panels = matches!(self, Self::Cpu(_));
        KvCache::new(layers, shape, capacity, panels, self.number(), self.device())
    }

    /// Numbers of the host, in the number type of activations, where this backend computes.
    ///
    /// # Errors
    /// When the memory is refused.
    pub(crate) fn upload(&self, numbers: Vec<f32>, shape: impl Into<Shape>) -> Result<Rows> {
        Ok(up(numbers, shape, self.number(), self.device())?)
    }

    /// The last row of `x[rows, width]`: `[1, width]`.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn last_row(&self, x: &Rows) -> Result<Rows> {
        let rows = x.dim(0)?;
        Ok(x.narrow(0, rows.saturating_sub(1), 1)?)
    }

    /// `vector[width]` as one of the rows of `[rows, width]`, which are all alike: as many as `x`
    /// has.
    ///
    /// # Errors
    /// When the memory is refused.
    pub(crate) fn spread(&self, vector: &Rows, x: &Rows) -> Result<Rows> {
        Ok(vector.broadcast_as((x.dim(0)?, vector.elem_count()))?.contiguous()?)
    }

    /// All numbers of `x` as one vector.
    ///
    /// # Errors
    /// When the memory is refused.
    pub(crate) fn flat(&self, x: &Rows) -> Result<Rows> {
        Ok(x.flatten_all()?.contiguous()?)
    }

    /// Products of the head as logits: `f32`, and finite where the host can look at them without
    /// waiting.
    ///
    /// # Errors
    /// When they are not finite.
    pub(crate) fn logits(&self, x: &Rows) -> Result<Rows> {
        let logits = x.to_dtype(DType::F32)?;
        logits::check_finite(&logits)?;
        Ok(logits)
    }

    /// RMSNorm of every row of `x[rows, width]`.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub(crate) fn rms_norm(&self, x: &Rows, weight: &Rows, epsilon: f64) -> Result<Rows> {
        Ok(match self {
            Self::Cpu(kernels) => {
                x.apply_op2_no_bwd(weight, &RmsNorm { kernels, epsilon: epsilon as f32 })?
            }
            Self::Candle { .. } => candle::rms_norm(x, weight, epsilon)?,
        })
    }

    /// SwiGLU of `x[rows, 2 n]`, in which 16 gates and 16 ups alternate: `[rows, n]`.
    fn swiglu(&self, x: &Rows) -> Result<Rows> {
        Ok(match self {
            Self::Cpu(kernels) => x.apply_op1_no_bwd(&PairedSwiGlu { kernels })?,
            Self::Candle { .. } => candle::swiglu(x)?,
        })
    }

    /// Adds `bias[width]` to every row of `x[rows, width]`. The argument may be changed in place.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub(crate) fn add_bias(&self, x: Rows, bias: &Rows) -> Result<Rows> {
        match self {
            Self::Cpu(_) => {
                x.inplace_op2(bias, &cpu::AddBias)?;
                Ok(x)
            }
            Self::Candle { .. } => Ok(x.broadcast_add(bias)?),
        }
    }

    /// RMSNorm of every query head and every key head of `qkv[rows, qkv_width]`; `weights` is
    /// `[2, head_dim]`, the queries' and the keys'. The argument may be changed in place.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub(crate) fn norm_heads(
        &self,
        shape: HeadShape,
        qkv: Rows,
        weights: &Rows,
        epsilon: f64,
    ) -> Result<Rows> {
        match self {
            Self::Cpu(kernels) => {
                let op = cpu::NormHeads { kernels, shape, epsilon: epsilon as f32 };
                qkv.inplace_op2(weights, &op)?;
                Ok(qkv)
            }
            Self::Candle { .. } => Ok(candle::norm_heads(shape, &qkv, weights, epsilon)?),
        }
    }

    /// Prepares a pass whose rows stand at `positions`, attend in `blocks` and, with `append`, are
    /// written to the cache first. All that a device needs of the host for it is uploaded here.
    ///
    /// # Errors
    /// When the device refuses the memory.
    pub(crate) fn place<'p>(
        &self,
        shape: HeadShape,
        rotary: &Rotary,
        (positions, blocks, append): (&'p [usize], &'p [Block], bool),
    ) -> Result<Standing<'p>> {
        match self {
            Self::Cpu(_) => Ok(Standing::Cpu(positions, blocks)),
            Self::Candle { number, device } => {
                let places = (positions, blocks, append);
                Ok(Standing::Candle(Placed::new(shape, rotary, places, *number, device)?))
            }
        }
    }

    /// Rotates the queries and keys of `qkv[rows, qkv_width]`, each row at its position (not
    /// without `rotary`), and scales queries. The argument may be changed in place.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub(crate) fn rotate(
        &self,
        shape: HeadShape,
        rotary: Option<&Rotary>,
        standing: &Standing<'_>,
        qkv: Rows,
    ) -> Result<Rotated> {
        match (self, standing) {
            (Self::Cpu(kernels), Standing::Cpu(positions, _)) => {
                qkv.inplace_op1(&cpu::Rotate { kernels, shape, rotary, positions })?;
                Ok(Rotated::Cpu(qkv))
            }
            (Self::Candle { .. }, Standing::Candle(placed)) => {
                Ok(Rotated::Candle(candle::rotate(shape, placed, &qkv, rotary.is_some())?))
            }
            _ => Err(foreign()),
        }
    }

    /// Writes the keys and values of rotated rows into the cache, from `position` on.
    ///
    /// # Errors
    /// When they do not fit.
    pub(crate) fn append(
        &self,
        shape: HeadShape,
        rotated: &Rotated,
        cache: LayerCache<'_>,
        standing: &Standing<'_>,
        position: usize,
    ) -> Result<()> {
        for (half, buffer) in [(Half::Keys, cache.keys), (Half::Values, cache.values)] {
            match (rotated, standing) {
                (Rotated::Cpu(qkv), Standing::Cpu(..)) => {
                    let op = cpu::Append { half, shape, capacity: cache.capacity, position };
                    buffer.inplace_op2(qkv, &op)?;
                }
                (Rotated::Candle(rows), Standing::Candle(placed)) => {
                    candle::append(half, rows, buffer, placed, position)?;
                }
                _ => return Err(foreign()),
            }
        }
        Ok(())
    }

    /// Attention of rotated rows, block by block: `[rows, heads * head_dim]`.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub(crate) fn attend(
        &self,
        shape: HeadShape,
        rotated: &Rotated,
        cache: LayerCache<'_>,
        standing: &Standing<'_>,
    ) -> Result<Rows> {
        match (self, rotated, standing) {
            (Self::Cpu(kernels), Rotated::Cpu(qkv), Standing::Cpu(_, blocks)) => {
                let op = cpu::Attend { kernels, shape, capacity: cache.capacity, blocks };
                Ok(qkv.apply_op3_no_bwd(cache.keys, cache.values, &op)?)
            }
            (Self::Candle { .. }, Rotated::Candle(rows), Standing::Candle(placed)) => {
                Ok(candle::attend(shape, rows, cache, placed)?)
            }
            _ => Err(foreign()),
        }
    }

    /// The kernels, which alone multiply by packed weights.
    fn kernels(&self) -> Result<&Kernels> {
        match self {
            Self::Cpu(kernels) => Ok(kernels),
            Self::Candle { .. } => Err(foreign()),
        }
    }
}

fn foreign() -> Error {
    Error::invalid("weights or rows of one backend were given to another")
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
