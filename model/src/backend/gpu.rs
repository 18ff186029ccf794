//! The operations of a pass on a Vulkan device: those of the crate `gpu`, in the terms of this one.
//!
//! There, one operation turns queries and keys and writes keys and values into the cache. So rows
//! that are to be rotated stay as they are until they attend, when the cache is known.

use super::convert::{Rows, Vector};
use super::logits::Logits;
use super::placed::{LayerCache, Stands, Unturned};
use crate::device::{Device, Gpu};
use crate::error::{Error, Result};
use s3d_data::Dtype;
use s3d_gpu::ops::{Heads, Place};
use s3d_gpu::{Buffer, Matrix};
use s3d_kernels::attention::Block;
use s3d_kernels::heads::HeadShape;
use s3d_kernels::rotary::Rotary;
use std::ops::Range;

/// A Vulkan device that computes. All numbers outside matrices are `f32`.
#[derive(Debug)]
pub(crate) struct Vulkan {
    gpu: Gpu,
    device: Device,
}

impl Rows {
    /// The rows on a Vulkan device.
    pub(super) fn gpu(&self) -> Result<&s3d_gpu::Rows> {
        match self {
            Self::Gpu(rows) => Ok(rows),
            Self::Tensor(_) => Err(Error::foreign()),
        }
    }
}

impl Vector {
    /// The numbers on a Vulkan device, and how many there are.
    fn gpu(&self) -> Result<(&Buffer, usize)> {
        match self {
            Self::Gpu(numbers, count) => Ok((numbers, *count)),
            Self::Tensor(_) => Err(Error::foreign()),
        }
    }
}

/// Sizes of attention.
pub(crate) fn heads(HeadShape { heads, kv_heads, head_dim }: HeadShape) -> Heads {
    Heads { heads, kv_heads, head_dim }
}

impl Vulkan {
    pub(super) fn new(gpu: &Gpu) -> Self {
        Self { gpu: gpu.clone(), device: Device::Gpu(gpu.clone()) }
    }

    pub(super) fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// Refuses a number type of matrices that it has no code for.
    pub(super) fn check_dtype(&self, dtype: Dtype) -> Result<()> {
        if Matrix::DTYPES.contains(&dtype) {
            return Ok(());
        }
        let known = Matrix::DTYPES.map(Dtype::name).join(", ");
        Err(Error::invalid(format!("a Vulkan device runs {known}; found {dtype}")))
    }

    pub(super) fn upload(&self, numbers: &[f32], width: usize) -> Result<Rows> {
        Ok(Rows::Gpu(s3d_gpu::Rows::of(&self.gpu, numbers, width)?))
    }

    pub(super) fn vector(&self, numbers: &[f32]) -> Result<Vector> {
        Ok(Vector::Gpu(Buffer::of(&self.gpu, numbers)?, numbers.len()))
    }

    pub(super) fn spread(&self, vector: &Vector, x: &Rows) -> Result<Rows> {
        let (numbers, width) = vector.gpu()?;
        Ok(Rows::Gpu(self.gpu.spread(numbers, x.gpu()?.rows(), width)?))
    }

    pub(super) fn flat(&self, x: &Rows) -> Result<Vector> {
        self.vector(&x.gpu()?.read(&self.gpu)?)
    }

    pub(super) fn logits(&self, x: &Rows) -> Result<Logits> {
        Ok(Logits::on_gpu(x.gpu()?.clone(), self.gpu.clone()))
    }

    pub(super) fn rms_norm(&self, x: &Rows, weight: &Vector, epsilon: f64) -> Result<Rows> {
        Ok(Rows::Gpu(self.gpu.rms_norm(x.gpu()?, weight.gpu()?.0, epsilon as f32)?))
    }

    pub(super) fn add_bias(&self, x: Rows, bias: &Vector) -> Result<Rows> {
        self.gpu.add_bias(x.gpu()?, bias.gpu()?.0)?;
        Ok(x)
    }

    pub(super) fn norm_heads(
        &self,
        shape: HeadShape,
        qkv: Rows,
        weights: &Vector,
        epsilon: f64,
    ) -> Result<Rows> {
        self.gpu.norm_heads(heads(shape), qkv.gpu()?, weights.gpu()?.0, epsilon as f32)?;
        Ok(qkv)
    }

    /// `x W^T`, added to `other` where there is one; then SwiGLU of gates and ups, if so.
    pub(super) fn multiply(
        &self,
        w: &Matrix,
        x: &Rows,
        other: Option<&Rows>,
        swiglu: bool,
    ) -> Result<Rows> {
        let products = match other {
            None => self.gpu.matmul(w, x.gpu()?)?,
            Some(other) => self.gpu.matmul_add(w, x.gpu()?, other.gpu()?)?,
        };
        Ok(Rows::Gpu(if swiglu { self.gpu.swiglu(&products)? } else { products }))
    }

    /// Rows see all of the cache up to themselves where they are appended; else what it held before
    /// their block, and the rows of their block up to themselves.
    pub(super) fn place(
        &self,
        rotary: &Rotary,
        (positions, blocks, append): (&[usize], &[Block], bool),
    ) -> Result<Stands> {
        let of_block = |block: &Block| {
            let (own, before) = (block.row, block.position);
            (own..own + block.rows).map(move |row| {
                let position = positions[row];
                let seen = position + 1;
                let cached = if append { seen } else { before };
                Place { position, seen, cached, own, token: 0 }
            })
        };
        let places: Vec<Place> = blocks.iter().flat_map(of_block).collect();
        if places.is_empty() {
            // Rows of many texts, which attend apart.
            return Ok(Stands { places: None, append });
        }
        let angles = |table| super::placed::angles(rotary, positions, table);
        let (cosines, sines) = (angles(Rotary::cosines), angles(Rotary::sines));
        Ok(Stands { places: Some(self.gpu.places(&places, &cosines, &sines)?), append })
    }

    pub(super) fn unturned(qkv: &Rows, turns: bool) -> Result<Unturned> {
        Ok(Unturned { qkv: qkv.gpu()?.clone(), turns })
    }

    /// Some of the rows that wait to be turned.
    pub(super) fn part(&self, all: &Unturned, rows: Range<usize>) -> Result<Unturned> {
        let qkv = s3d_gpu::Rows::joined(&self.gpu, &[(&all.qkv, rows)])?;
        Ok(Unturned { qkv, turns: all.turns })
    }

    /// Some rows of each of `parts`, one part after the other.
    pub(super) fn joined(&self, parts: &[(&Rows, Range<usize>)]) -> Result<Rows> {
        let mut own = Vec::with_capacity(parts.len());
        for (part, rows) in parts {
            own.push((part.gpu()?, rows.clone()));
        }
        Ok(Rows::Gpu(s3d_gpu::Rows::joined(&self.gpu, &own)?))
    }

    /// All rows of `parts`, one part after the other.
    pub(super) fn all_of(&self, parts: &[Rows]) -> Result<Rows> {
        let whole = |part: &'_ Rows| Ok(0..part.gpu()?.rows());
        let rows = parts.iter().map(whole).collect::<Result<Vec<_>>>()?;
        self.joined(&parts.iter().zip(rows).collect::<Vec<_>>())
    }

    /// Turns rows, writes them into the cache if they belong there, and has them attend.
    pub(super) fn attend(
        &self,
        shape: HeadShape,
        Unturned { qkv, turns }: &Unturned,
        cache: LayerCache<'_>,
        Stands { places, append }: &Stands,
    ) -> Result<Rows> {
        let (LayerCache::Gpu(cache), Some(places)) = (cache, places) else {
            return Err(Error::foreign());
        };
        let heads = heads(shape);
        self.gpu.rotate(heads, qkv, places, cache, [*turns, *append])?;
        Ok(Rows::Gpu(self.gpu.attend(heads, qkv, places, cache)?))
    }
}
