//! The operations of a pass on tensors. What differs between devices hides behind them.
//!
//! On the CPU they are the kernels, as custom ops (`fused`); elsewhere they are composed of
//! candle's own operations (`composed`), which need no code for the device.

pub(crate) mod adapter;
pub(crate) mod candle;
pub(crate) mod cpu;
pub(crate) mod embedding;
pub(crate) mod kv_cache;
pub(crate) mod linear;
pub(crate) mod recordings;

use self::candle::{Apart, Placed};
use self::cpu::{Half, PairedSwiGlu, RmsNorm, numbers};
use candle_core::{DType, Device, Result, Storage, Tensor, bail};
use s3d_kernels::attention::Block;
use s3d_kernels::heads::HeadShape;
use s3d_kernels::isa::Isa;
use s3d_kernels::kernels::Kernels;
use s3d_kernels::rotary::Rotary;

/// How the operations of a model are computed.
#[derive(Debug)]
pub struct Ops {
    kernels: Kernels,
    fused: bool,
    number: DType,
}

/// Where the rows of a pass stand, in the form that the operations want.
#[derive(Debug)]
pub enum Standing<'p> {
    /// Positions and blocks as they are.
    Fused(&'p [usize], &'p [Block]),
    /// On the device.
    Composed(Placed),
}

/// Rotated queries and keys, and values.
#[derive(Debug)]
pub enum Rotated {
    /// `[rows, qkv_width]`.
    Fused(Tensor),
    /// Head by head.
    Composed(Apart),
}

/// The keys and values of one layer: `[kv_heads][..]` panels for the kernels, else
/// `[kv_heads, capacity, head_dim]`.
#[derive(Debug, Clone, Copy)]
pub struct LayerCache<'a> {
    /// Keys of every position.
    pub keys: &'a Tensor,
    /// Values of every position.
    pub values: &'a Tensor,
    /// Positions there is room for.
    pub capacity: usize,
}

impl Ops {
    /// The kernels on `threads` threads, as a CPU wants them.
    pub fn fused(threads: usize, isa: Isa) -> Self {
        Self { kernels: Kernels::new(threads, isa), fused: true, number: DType::F32 }
    }

    /// Candle's own operations, on any device; activations and cache are held as `number`.
    pub fn composed(number: DType) -> Self {
        Self { kernels: Kernels::new(1, Isa::Portable), fused: false, number }
    }

    /// The number type of activations and cache.
    pub fn number(&self) -> DType {
        self.number
    }

    /// Whether the kernels compute, and weights and cache are in panels.
    pub fn is_fused(&self) -> bool {
        self.fused
    }

    /// Threads and instructions of the kernels.
    pub fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    /// RMSNorm of every row of `x[rows, width]`.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn rms_norm(&self, x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
        if !self.fused {
            return candle::rms_norm(x, weight, epsilon);
        }
        let op = RmsNorm { kernels: &self.kernels, epsilon: epsilon as f32 };
        x.apply_op2_no_bwd(weight, &op)
    }

    /// SwiGLU of `x[rows, 2 n]`, in which 16 gates and 16 ups alternate: `[rows, n]`.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn swiglu(&self, x: &Tensor) -> Result<Tensor> {
        if !self.fused {
            return candle::swiglu(x);
        }
        x.apply_op1_no_bwd(&PairedSwiGlu { kernels: &self.kernels })
    }

    /// Adds `bias[width]` to every row of `x[rows, width]`. The argument may be changed in place.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn add_bias(&self, x: Tensor, bias: &Tensor) -> Result<Tensor> {
        if !self.fused {
            return x.broadcast_add(bias);
        }
        x.inplace_op2(bias, &cpu::AddBias)?;
        Ok(x)
    }

    /// RMSNorm of every query head and every key head of `qkv[rows, qkv_width]`; `weights` is
    /// `[2, head_dim]`, the queries' and the keys'. The argument may be changed in place.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn norm_heads(
        &self,
        shape: HeadShape,
        qkv: Tensor,
        weights: &Tensor,
        epsilon: f64,
    ) -> Result<Tensor> {
        if !self.fused {
            return candle::norm_heads(shape, &qkv, weights, epsilon);
        }
        let op = cpu::NormHeads { kernels: &self.kernels, shape, epsilon: epsilon as f32 };
        qkv.inplace_op2(weights, &op)?;
        Ok(qkv)
    }

    /// Prepares a pass whose rows stand at `positions`, attend in `blocks` and, with `append`, are written to
    /// the cache first. All that a device needs of the host for it is uploaded here.
    ///
    /// # Errors
    /// When the device refuses the memory.
    pub fn place<'p>(
        &self,
        shape: HeadShape,
        rotary: &Rotary,
        (positions, blocks, append): (&'p [usize], &'p [Block], bool),
        device: &Device,
    ) -> Result<Standing<'p>> {
        if self.fused {
            return Ok(Standing::Fused(positions, blocks));
        }
        let places = (positions, blocks, append);
        Placed::new(shape, rotary, places, self.number, device).map(Standing::Composed)
    }

    /// Rotates the queries and keys of `qkv[rows, qkv_width]`, each row at its position (not without `rotary`), and
    /// scales queries. The argument may be changed in place.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn rotate(
        &self,
        shape: HeadShape,
        rotary: Option<&Rotary>,
        standing: &Standing<'_>,
        qkv: Tensor,
    ) -> Result<Rotated> {
        match standing {
            Standing::Composed(placed) => {
                candle::rotate(shape, placed, &qkv, rotary.is_some()).map(Rotated::Composed)
            }
            Standing::Fused(positions, _) => {
                let kernels = &self.kernels;
                qkv.inplace_op1(&cpu::Rotate { kernels, shape, rotary, positions })?;
                Ok(Rotated::Fused(qkv))
            }
        }
    }

    /// Writes the keys and values of rotated rows into the cache, from `position` on.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn append(
        &self,
        shape: HeadShape,
        rotated: &Rotated,
        cache: LayerCache<'_>,
        standing: &Standing<'_>,
        position: usize,
    ) -> Result<()> {
        for (half, buffer) in [(Half::Keys, cache.keys), (Half::Values, cache.values)] {
            match (rotated, standing) {
                (Rotated::Fused(qkv), _) => {
                    let op = cpu::Append { half, shape, capacity: cache.capacity, position };
                    buffer.inplace_op2(qkv, &op)?;
                }
                (Rotated::Composed(rows), Standing::Composed(placed)) => {
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
    pub fn attend(
        &self,
        shape: HeadShape,
        rotated: &Rotated,
        cache: LayerCache<'_>,
        standing: &Standing<'_>,
    ) -> Result<Tensor> {
        match (rotated, standing) {
            (Rotated::Composed(rows), Standing::Composed(placed)) => {
                candle::attend(shape, rows, cache, placed)
            }
            (Rotated::Fused(qkv), Standing::Fused(_, blocks)) => {
                let (kernels, capacity) = (&self.kernels, cache.capacity);
                let op = cpu::Attend { kernels, shape, capacity, blocks };
                qkv.apply_op3_no_bwd(cache.keys, cache.values, &op)
            }
            _ => Err(foreign()),
        }
    }
}

fn foreign() -> candle_core::Error {
    candle_core::Error::Msg("rows were rotated by other operations than they attend by".into())
}

/// Calls `read` with every row of `[rows, width]`, on the host.
///
/// # Errors
/// When the tensor is no matrix of `f32`.
pub fn for_each_row(matrix: &Tensor, mut read: impl FnMut(&[f32])) -> Result<()> {
    let (_, width) = matrix.dims2()?;
    let host = matrix.to_device(&Device::Cpu)?;
    let (storage, layout) = host.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => {
            numbers(storage, layout)?.chunks_exact(width).for_each(&mut read);
            Ok(())
        }
        _ => bail!("a tensor on the host has host storage"),
    }
}
