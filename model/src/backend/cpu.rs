//! The kernels as candle custom ops over tensors on the CPU.

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, InplaceOp1, InplaceOp2, Layout, Result, Shape,
    bail,
};
use s3d_kernels::attention::{Attention, Block, attend};
use s3d_kernels::elementwise::{rms_norm, swiglu};
use s3d_kernels::heads::{HeadShape, append_keys, append_values};
use s3d_kernels::kernels::Kernels;
use s3d_kernels::matmul::{Finish, Product, matmul, share_rows};
use s3d_kernels::packed::Packed;
use s3d_kernels::panels::LANES;
use s3d_kernels::rotary::{Rotary, rotate_rows};

/// The contiguous `f32` numbers of a tensor.
pub(super) fn numbers<'s>(storage: &'s CpuStorage, layout: &Layout) -> Result<&'s [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("expected a contiguous tensor, found {layout:?}"),
    }
}

/// The contiguous `f32` numbers of a tensor, to be written.
fn numbers_mut<'s>(storage: &'s mut CpuStorage, layout: &Layout) -> Result<&'s mut [f32]> {
    match (layout.contiguous_offsets(), storage) {
        (Some((start, end)), CpuStorage::F32(numbers)) => Ok(&mut numbers[start..end]),
        _ => bail!("expected a contiguous f32 tensor, found {layout:?}"),
    }
}

/// What a linear layer does with its products (see [`Finish`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinearKind {
    /// Returns them.
    Plain,
    /// Gate and up projection in one, panels of them taking turns, then SwiGLU.
    SwiGlu,
    /// The same, all gates before all ups: for candle's own matmul.
    HalvedSwiGlu,
}

/// `y = x W^T` over packed panels.
pub(super) struct PackedLinear<'a> {
    /// Threads and instructions.
    pub kernels: &'a Kernels,
    /// Weights; their rows are the outputs before SwiGLU.
    pub w: &'a Packed,
    /// What becomes of the products.
    pub kind: LinearKind,
}

impl PackedLinear<'_> {
    fn compute(
        &self,
        x: &[f32],
        shape: &Layout,
        to: Option<&[f32]>,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, inputs) = shape.shape().dims2()?;
        let finish = match (to, self.kind) {
            (Some(to), _) => Finish::Add(to),
            (None, LinearKind::Plain) => Finish::Store,
            (None, LinearKind::SwiGlu) => Finish::SwiGlu,
            (None, LinearKind::HalvedSwiGlu) => bail!("panels of gates and ups take turns here"),
        };
        if inputs != self.w.inputs() {
            bail!("{inputs} inputs for a layer of {}", self.w.inputs());
        }
        let product = Product { x, rows, w: self.w, finish };
        let width = product.width();
        if to.is_some_and(|to| to.len() != rows * width) {
            bail!("a residual of another shape than {rows} x {width}");
        }
        let mut y = vec![0.0; rows * width];
        matmul(self.kernels, &product, &mut y);
        Ok((CpuStorage::F32(y), Shape::from((rows, width))))
    }
}

impl CustomOp1 for PackedLinear<'_> {
    fn name(&self) -> &'static str {
        "packed-linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        self.compute(numbers(x, xl)?, xl, None)
    }
}

impl CustomOp2 for PackedLinear<'_> {
    fn name(&self) -> &'static str {
        "packed-linear-add"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        to: &CpuStorage,
        tl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.compute(numbers(x, xl)?, xl, Some(numbers(to, tl)?))
    }
}

/// RMSNorm of every row.
pub(super) struct RmsNorm<'a> {
    /// Threads and instructions.
    pub kernels: &'a Kernels,
    /// Added to the mean square.
    pub epsilon: f32,
}

impl CustomOp2 for RmsNorm<'_> {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight) = (numbers(x, xl)?, numbers(w, wl)?);
        let mut y = vec![0.0; x.len()];
        let width = weight.len();
        share_rows(self.kernels, &mut y, width, &|r, y| {
            rms_norm(self.kernels.isa(), &x[r * width..][..width], weight, self.epsilon, y);
        });
        Ok((CpuStorage::F32(y), xl.shape().clone()))
    }
}

/// SwiGLU of rows in which panels of gate and up projection alternate; for products that were not
/// computed by [`PackedLinear`].
pub(super) struct PairedSwiGlu<'a> {
    /// Threads and instructions.
    pub kernels: &'a Kernels,
}

impl CustomOp1 for PairedSwiGlu<'_> {
    fn name(&self) -> &'static str {
        "paired-swiglu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = xl.shape().dims2()?;
        let x = numbers(x, xl)?;
        let mut y = vec![0.0; x.len() / 2];
        for (y, pair) in y.chunks_exact_mut(LANES).zip(x.chunks_exact(2 * LANES)) {
            swiglu(self.kernels.isa(), &pair[..LANES], &pair[LANES..], y);
        }
        Ok((CpuStorage::F32(y), Shape::from((rows, width / 2))))
    }
}

/// Rotates the queries and keys of `[rows, qkv_width]` in place.
pub(super) struct Rotate<'a> {
    /// Threads and instructions.
    pub kernels: &'a Kernels,
    /// Sizes.
    pub shape: HeadShape,
    /// Angles; none where nothing turns and queries are only scaled.
    pub rotary: Option<&'a Rotary>,
    /// Position of each row.
    pub positions: &'a [usize],
}

impl InplaceOp1 for Rotate<'_> {
    fn name(&self) -> &'static str {
        "rotate"
    }

    fn cpu_fwd(&self, qkv: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let qkv = numbers_mut(qkv, layout)?;
        rotate_rows(self.kernels, self.shape, self.rotary, qkv, self.positions);
        Ok(())
    }
}

/// Adds a bias to every row, in place.
pub(super) struct AddBias;

impl InplaceOp2 for AddBias {
    fn name(&self) -> &'static str {
        "add-bias"
    }

    fn cpu_fwd(
        &self,
        x: &mut CpuStorage,
        xl: &Layout,
        bias: &CpuStorage,
        bl: &Layout,
    ) -> Result<()> {
        let (x, bias) = (numbers_mut(x, xl)?, numbers(bias, bl)?);
        for row in x.chunks_exact_mut(bias.len()) {
            row.iter_mut().zip(bias).for_each(|(x, b)| *x += b);
        }
        Ok(())
    }
}

/// RMSNorm of every query head and of every key head of `[rows, qkv_width]`, in place.
pub(super) struct NormHeads<'a> {
    /// Threads and instructions.
    pub kernels: &'a Kernels,
    /// Sizes.
    pub shape: HeadShape,
    /// Added to the mean square.
    pub epsilon: f32,
}

impl InplaceOp2 for NormHeads<'_> {
    fn name(&self) -> &'static str {
        "norm-heads"
    }

    /// `weights` is `[2, head_dim]`: the queries', then the keys'.
    fn cpu_fwd(
        &self,
        qkv: &mut CpuStorage,
        layout: &Layout,
        weights: &CpuStorage,
        wl: &Layout,
    ) -> Result<()> {
        let (qkv, weights) = (numbers_mut(qkv, layout)?, numbers(weights, wl)?);
        let (dim, isa) = (self.shape.head_dim, self.kernels.isa());
        let mut raw = vec![0.0; dim];
        for row in qkv.chunks_exact_mut(self.shape.qkv_width()) {
            let heads = row.chunks_exact_mut(dim).take(self.shape.heads + self.shape.kv_heads);
            for (number, head) in heads.enumerate() {
                let weight = &weights[usize::from(number >= self.shape.heads) * dim..][..dim];
                raw.copy_from_slice(head);
                rms_norm(isa, &raw, weight, self.epsilon, head);
            }
        }
        Ok(())
    }
}

/// Which half of the cache an append writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    /// Keys.
    Keys,
    /// Values.
    Values,
}

/// Writes the keys or values of `[rows, qkv_width]` into the cache.
pub(super) struct Append {
    /// Which.
    pub half: Half,
    /// Sizes.
    pub shape: HeadShape,
    /// Positions of the cache.
    pub capacity: usize,
    /// Where the first row goes.
    pub position: usize,
}

impl InplaceOp2 for Append {
    fn name(&self) -> &'static str {
        "append"
    }

    fn cpu_fwd(
        &self,
        cache: &mut CpuStorage,
        layout: &Layout,
        qkv: &CpuStorage,
        qkv_layout: &Layout,
    ) -> Result<()> {
        let (qkv, cache) = (numbers(qkv, qkv_layout)?, numbers_mut(cache, layout)?);
        let write = match self.half {
            Half::Keys => append_keys,
            Half::Values => append_values,
        };
        write(self.shape, qkv, cache, self.capacity, self.position);
        Ok(())
    }
}

/// Attention of rotated rows over keys and values: `[rows, heads * head_dim]`.
pub(super) struct Attend<'a> {
    /// Threads and instructions.
    pub kernels: &'a Kernels,
    /// Sizes.
    pub shape: HeadShape,
    /// Positions of the cache.
    pub capacity: usize,
    /// The rows, in blocks.
    pub blocks: &'a [Block],
}

impl CustomOp3 for Attend<'_> {
    fn name(&self) -> &'static str {
        "attend"
    }

    fn cpu_fwd(
        &self,
        qkv: &CpuStorage,
        ql: &Layout,
        keys: &CpuStorage,
        kl: &Layout,
        values: &CpuStorage,
        vl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, _) = ql.shape().dims2()?;
        let attention = Attention {
            shape: self.shape,
            qkv: numbers(qkv, ql)?,
            keys: numbers(keys, kl)?,
            values: numbers(values, vl)?,
            capacity: self.capacity,
            blocks: self.blocks,
        };
        let mut out = vec![0.0; rows * self.shape.out_width()];
        attend(self.kernels, &attention, &mut out);
        Ok((CpuStorage::F32(out), Shape::from((rows, self.shape.out_width()))))
    }
}
