//! The operations of a pass on tensors. What differs between devices hides behind them.
//!
//! On the CPU they are the kernels, as custom ops (`fused`); elsewhere they are composed of
//! candle's own operations (`composed`), which need no code for the device.

use crate::composed;
use crate::fused::{self, Half, PairedSwiGlu, RmsNorm, numbers};
use crate::kernels::attention::Block;
use crate::kernels::heads::HeadShape;
use crate::kernels::rotary::Rotary;
use crate::kernels::{Isa, Kernels};
use candle_core::{Device, Result, Storage, Tensor, bail};

/// How the operations of a model are computed.
#[derive(Debug)]
pub struct Ops {
    kernels: Kernels,
    fused: bool,
}

/// The keys and values of one layer: `[kv_heads][..]` panels for the kernels, else
/// `[capacity, kv_heads * head_dim]`.
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
        Self { kernels: Kernels::new(threads, isa), fused: true }
    }

    /// Candle's own operations, on any device.
    pub fn composed() -> Self {
        Self { kernels: Kernels::new(1, Isa::Portable), fused: false }
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
            return composed::rms_norm(x, weight, epsilon);
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
            return composed::swiglu(x);
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
        x.inplace_op2(bias, &fused::AddBias)?;
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
            return composed::norm_heads(shape, &qkv, weights, epsilon);
        }
        let op = fused::NormHeads { kernels: &self.kernels, shape, epsilon: epsilon as f32 };
        qkv.inplace_op2(weights, &op)?;
        Ok(qkv)
    }

    /// Rotates the queries and keys of `qkv[rows, qkv_width]`, each row at its position, and scales
    /// queries. The argument may be changed in place.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn rotate(
        &self,
        shape: HeadShape,
        rotary: &Rotary,
        positions: &[usize],
        qkv: Tensor,
    ) -> Result<Tensor> {
        if !self.fused {
            return composed::rotate(shape, rotary, positions, &qkv);
        }
        qkv.inplace_op1(&fused::Rotate { kernels: &self.kernels, shape, rotary, positions })?;
        Ok(qkv)
    }

    /// Writes the keys and values of rotated rows into the cache, from `position` on.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn append(
        &self,
        shape: HeadShape,
        qkv: &Tensor,
        cache: LayerCache<'_>,
        position: usize,
    ) -> Result<()> {
        for (half, buffer) in [(Half::Keys, cache.keys), (Half::Values, cache.values)] {
            if self.fused {
                let op = fused::Append { half, shape, capacity: cache.capacity, position };
                buffer.inplace_op2(qkv, &op)?;
            } else {
                composed::append(half, shape, qkv, buffer, position)?;
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
        qkv: &Tensor,
        cache: LayerCache<'_>,
        blocks: &[Block],
    ) -> Result<Tensor> {
        if !self.fused {
            return composed::attend(shape, qkv, cache, blocks);
        }
        let (kernels, capacity) = (&self.kernels, cache.capacity);
        let op = fused::Attend { kernels, shape, capacity, blocks };
        qkv.apply_op3_no_bwd(cache.keys, cache.values, &op)
    }
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
