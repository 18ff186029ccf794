//! The operations of a pass, each by whoever computes.

use super::convert::{Rows, Vector, up};
use super::cpu::{self, Half, PairedSwiGlu, RmsNorm};
#[cfg(feature = "gpu")]
use super::gpu;
use super::logits::{Logits, check_finite};
use super::placed::{LayerCache, Placed, Rotated, Standing};
use super::{Backend, candle};
use crate::error::{Error, Result};
use candle_core::{DType, Tensor};
use s3d_kernels::attention::Block;
use s3d_kernels::heads::HeadShape;
use s3d_kernels::rotary::Rotary;

impl Backend {
    /// Rows of `width` numbers of the host, in the number type of activations, where this backend
    /// computes.
    ///
    /// # Errors
    /// When the memory is refused.
    pub(crate) fn upload(&self, numbers: Vec<f32>, width: usize) -> Result<Rows> {
        #[cfg(feature = "gpu")]
        if let Self::Gpu(gpu) = self {
            return gpu.upload(&numbers, width);
        }
        let shape = (numbers.len() / width.max(1), width);
        Ok(Rows::Tensor(up(numbers, shape, self.number(), self.device().tensors())?))
    }

    /// Numbers that meet activations, of this shape, likewise.
    ///
    /// # Errors
    /// When the memory is refused.
    pub(crate) fn vector(&self, numbers: Vec<f32>, shape: &[usize]) -> Result<Vector> {
        #[cfg(feature = "gpu")]
        if let Self::Gpu(gpu) = self {
            return gpu.vector(&numbers);
        }
        Ok(Vector::Tensor(up(numbers, shape, self.number(), self.device().tensors())?))
    }

    /// The last row of `x[rows, width]`: `[1, width]`.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn last_row(&self, x: &Rows) -> Result<Rows> {
        match x {
            Rows::Tensor(x) => Ok(Rows::Tensor(x.narrow(0, x.dim(0)?.saturating_sub(1), 1)?)),
            #[cfg(feature = "gpu")]
            Rows::Gpu(x) => Ok(Rows::Gpu(x.last())),
        }
    }

    /// `vector[width]` as one of the rows of `[rows, width]`, which are all alike: as many as `x`
    /// has.
    ///
    /// # Errors
    /// When the memory is refused.
    pub(crate) fn spread(&self, vector: &Vector, x: &Rows) -> Result<Rows> {
        #[cfg(feature = "gpu")]
        if let Self::Gpu(gpu) = self {
            return gpu.spread(vector, x);
        }
        let (vector, x) = (vector.tensor()?, x.tensor()?);
        let shape = (x.dim(0)?, vector.elem_count());
        Ok(Rows::Tensor(vector.broadcast_as(shape)?.contiguous()?))
    }

    /// All numbers of `x` as one vector.
    ///
    /// # Errors
    /// When the memory is refused.
    pub(crate) fn flat(&self, x: &Rows) -> Result<Vector> {
        #[cfg(feature = "gpu")]
        if let Self::Gpu(gpu) = self {
            return gpu.flat(x);
        }
        Ok(Vector::Tensor(x.tensor()?.flatten_all()?.contiguous()?))
    }

    /// Products of the head as logits: `f32`, and finite where the host can look at them without
    /// waiting.
    ///
    /// # Errors
    /// When they are not finite.
    pub(crate) fn logits(&self, x: &Rows) -> Result<Logits> {
        #[cfg(feature = "gpu")]
        if let Self::Gpu(gpu) = self {
            return gpu.logits(x);
        }
        let logits = Logits::from(x.tensor()?.to_dtype(DType::F32)?);
        check_finite(&logits)?;
        Ok(logits)
    }

    /// RMSNorm of every row of `x[rows, width]`.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub(crate) fn rms_norm(&self, x: &Rows, weight: &Vector, epsilon: f64) -> Result<Rows> {
        Ok(Rows::Tensor(match self {
            Self::Cpu(kernels) => {
                let op = RmsNorm { kernels, epsilon: epsilon as f32 };
                x.tensor()?.apply_op2_no_bwd(weight.tensor()?, &op)?
            }
            Self::Candle { .. } => candle::rms_norm(x.tensor()?, weight.tensor()?, epsilon)?,
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => return gpu.rms_norm(x, weight, epsilon),
        }))
    }

    /// SwiGLU of `x[rows, 2 n]`, in which 16 gates and 16 ups alternate: `[rows, n]`.
    pub(super) fn swiglu(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Cpu(kernels) => x.apply_op1_no_bwd(&PairedSwiGlu { kernels })?,
            Self::Candle { .. } => candle::swiglu(x)?,
            #[cfg(feature = "gpu")]
            Self::Gpu(_) => return Err(Error::foreign()),
        })
    }

    /// Adds `bias[width]` to every row of `x[rows, width]`. The argument may be changed in place.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub(crate) fn add_bias(&self, x: Rows, bias: &Vector) -> Result<Rows> {
        match self {
            Self::Cpu(_) => {
                x.tensor()?.inplace_op2(bias.tensor()?, &cpu::AddBias)?;
                Ok(x)
            }
            Self::Candle { .. } => Ok(Rows::Tensor(x.tensor()?.broadcast_add(bias.tensor()?)?)),
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => gpu.add_bias(x, bias),
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
        weights: &Vector,
        epsilon: f64,
    ) -> Result<Rows> {
        match self {
            Self::Cpu(kernels) => {
                let op = cpu::NormHeads { kernels, shape, epsilon: epsilon as f32 };
                qkv.tensor()?.inplace_op2(weights.tensor()?, &op)?;
                Ok(qkv)
            }
            Self::Candle { .. } => {
                let (qkv, weights) = (qkv.tensor()?, weights.tensor()?);
                Ok(Rows::Tensor(candle::norm_heads(shape, qkv, weights, epsilon)?))
            }
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => gpu.norm_heads(shape, qkv, weights, epsilon),
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
                Ok(Standing::Candle(Placed::new(shape, rotary, places, *number, device.tensors())?))
            }
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => Ok(Standing::Gpu(gpu.place(rotary, (positions, blocks, append))?)),
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
                let qkv = qkv.tensor()?;
                qkv.inplace_op1(&cpu::Rotate { kernels, shape, rotary, positions })?;
                Ok(Rotated::Cpu(qkv.clone()))
            }
            (Self::Candle { .. }, Standing::Candle(placed)) => {
                let turns = rotary.is_some();
                Ok(Rotated::Candle(candle::rotate(shape, placed, qkv.tensor()?, turns)?))
            }
            #[cfg(feature = "gpu")]
            (Self::Gpu(_), Standing::Gpu(_)) => {
                Ok(Rotated::Gpu(gpu::Vulkan::unturned(&qkv, rotary.is_some())?))
            }
            _ => Err(Error::foreign()),
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
        #[cfg(feature = "gpu")]
        if let Self::Gpu(_) = self {
            // Where rows are turned there, they are written too.
            return Ok(());
        }
        let ([keys, values], capacity) = cache.tensors()?;
        for (half, buffer) in [(Half::Keys, keys), (Half::Values, values)] {
            match (rotated, standing) {
                (Rotated::Cpu(qkv), Standing::Cpu(..)) => {
                    let op = cpu::Append { half, shape, capacity, position };
                    buffer.inplace_op2(qkv, &op)?;
                }
                (Rotated::Candle(rows), Standing::Candle(placed)) => {
                    candle::append(half, rows, buffer, placed, position)?;
                }
                _ => return Err(Error::foreign()),
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
        #[cfg(feature = "gpu")]
        if let (Self::Gpu(gpu), Rotated::Gpu(qkv), Standing::Gpu(stands)) =
            (self, rotated, standing)
        {
            return gpu.attend(shape, qkv, cache, stands);
        }
        let ([keys, values], capacity) = cache.tensors()?;
        Ok(Rows::Tensor(match (self, rotated, standing) {
            (Self::Cpu(kernels), Rotated::Cpu(qkv), Standing::Cpu(_, blocks)) => {
                let op = cpu::Attend { kernels, shape, capacity, blocks };
                qkv.apply_op3_no_bwd(keys, values, &op)?
            }
            (Self::Candle { .. }, Rotated::Candle(rows), Standing::Candle(placed)) => {
                candle::attend(shape, rows, [keys, values], placed)?
            }
            _ => return Err(Error::foreign()),
        }))
    }
}
