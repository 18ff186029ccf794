//! The operations of a pass, composed of candle's own: for devices without kernels.
//!
//! On a card every launch costs microseconds whatever its size, and a tensor that is not contiguous
//! costs an upload of its strides besides. So all that a pass needs of the host (rotary angles,
//! masks) goes up once, before its first layer ([`Placed`]); the cache is
//! `[kv_heads, capacity, head_dim]`, of which a matmul reads any prefix in place; and at width 1 no
//! operation needs a copy. Rows are reduced in whatever order the device likes, so nothing is
//! promised to the bit here.

use super::convert::gated;
use super::placed::{Apart, Placed, Seen};
use crate::backend::cpu::Half;
use candle_core::{Result, Tensor};
use s3d_kernels::attention::Block;
use s3d_kernels::heads::HeadShape;
use s3d_kernels::panels::LANES;

/// RMSNorm of every row.
pub(super) fn rms_norm(x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    candle_nn::ops::rms_norm(&x.contiguous()?, weight, epsilon as f32)
}

/// SwiGLU of rows in which panels of gates and ups alternate.
pub(super) fn swiglu(x: &Tensor) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    let pairs = x.reshape((rows, width / (2 * LANES), 2, LANES))?;
    let (gate, up) = (pairs.narrow(2, 0, 1)?, pairs.narrow(2, 1, 1)?);
    gated(&gate, &up)?.reshape((rows, width / 2))
}

/// RMSNorm of every query head and every key head.
pub(super) fn norm_heads(
    shape: HeadShape,
    qkv: &Tensor,
    weights: &Tensor,
    epsilon: f64,
) -> Result<Tensor> {
    let (rows, _) = qkv.dims2()?;
    let part = |start: usize, heads: usize, number: usize| {
        let width = heads * shape.head_dim;
        let heads = qkv.narrow(1, start, width)?.reshape((rows, heads, shape.head_dim))?;
        rms_norm(&heads, &weights.get(number)?, epsilon)?.reshape((rows, width))
    };
    let queries = part(0, shape.heads, 0)?;
    let keys = part(shape.out_width(), shape.kv_heads, 1)?;
    let values = qkv.narrow(1, shape.out_width() + shape.kv_width(), shape.kv_width())?;
    Tensor::cat(&[queries, keys, values], 1)
}

/// Rotates queries and keys where the layer `turns` them, scales queries, and sets the heads apart.
pub(super) fn rotate(
    shape: HeadShape,
    placed: &Placed,
    qkv: &Tensor,
    turns: bool,
) -> Result<Apart> {
    let (rows, _) = qkv.dims2()?;
    let heads = shape.heads + 2 * shape.kv_heads;
    let qkv = qkv.contiguous()?.reshape((rows, heads, shape.head_dim))?;
    // Values are turned along with the rest and left aside: one launch, and no copy before it.
    let turned = if turns { turn(placed, &qkv)? } else { qkv.clone() };
    let part = |of: &Tensor, first: usize, heads: usize| {
        of.narrow(1, first, heads)?.transpose(0, 1)?.contiguous()
    };
    let scale = 1.0 / (shape.head_dim as f64).sqrt();
    Ok(Apart {
        queries: (part(&turned, 0, shape.heads)? * scale)?,
        keys: part(&turned, shape.heads, shape.kv_heads)?,
        values: part(&qkv, shape.heads + shape.kv_heads, shape.kv_heads)?,
    })
}

/// Turns the first channels of every head of `[rows, heads, head_dim]`, two for each angle.
fn turn(placed: &Placed, heads: &Tensor) -> Result<Tensor> {
    let rope = |x: &Tensor| {
        candle_nn::rotary_emb::rope_thd(&x.unsqueeze(0)?, &placed.cosines, &placed.sines)?
            .squeeze(0)
    };
    let (dim, turning) = (heads.dim(2)?, 2 * placed.cosines.dim(1)?);
    if turning == dim {
        return rope(heads);
    }
    let first = rope(&heads.narrow(2, 0, turning)?.contiguous()?)?;
    Tensor::cat(&[first, heads.narrow(2, turning, dim - turning)?], 2)
}

/// Writes keys or values into the cache, in place: from `position` on, or where the device was
/// told.
pub(super) fn append(
    half: Half,
    rows: &Apart,
    buffer: &Tensor,
    placed: &Placed,
    position: usize,
) -> Result<()> {
    let own = match half {
        Half::Keys => &rows.keys,
        Half::Values => &rows.values,
    };
    match &placed.written {
        Some(places) => buffer.scatter_set(places, own, 1),
        None => buffer.slice_set(own, 1, position),
    }
}

/// Attention, one block after another: `[rows, heads * head_dim]`.
pub(super) fn attend(
    shape: HeadShape,
    rows: &Apart,
    cache: [&Tensor; 2],
    placed: &Placed,
) -> Result<Tensor> {
    let outs = placed.seen.iter().map(|seen| attend_block(shape, rows, cache, seen));
    match outs.collect::<Result<Vec<_>>>()?.as_slice() {
        [out] => Ok(out.clone()),
        outs => Tensor::cat(outs, 0),
    }
}

/// Attention of the rows of one block.
fn attend_block(
    shape: HeadShape,
    rows: &Apart,
    [keys, values]: [&Tensor; 2],
    seen: &Seen,
) -> Result<Tensor> {
    let Block { row, rows: count, position } = seen.block;
    let positions = seen.positions;
    let in_sight = |own: &Tensor, buffer: &Tensor| {
        if seen.cached {
            return buffer.narrow(1, 0, positions);
        }
        let own = own.narrow(1, row, count)?;
        match position {
            0 => own.contiguous(),
            _ => Tensor::cat(&[buffer.narrow(1, 0, position)?, own], 1)?.contiguous(),
        }
    };
    let group = shape.heads / shape.kv_heads;
    let queries = rows.queries.narrow(1, row, count)?.contiguous()?.reshape((
        shape.kv_heads,
        group * count,
        shape.head_dim,
    ))?;
    let scores = queries.matmul(&in_sight(&rows.keys, keys)?.t()?)?;
    let scores = match &seen.hidden {
        None => scores,
        Some(hidden) => scores
            .reshape((shape.heads, count, positions))?
            .broadcast_add(hidden)?
            .reshape((shape.kv_heads, group * count, positions))?,
    };
    candle_nn::ops::softmax_last_dim(&scores)?
        .matmul(&in_sight(&rows.values, values)?)?
        .reshape((shape.heads, count, shape.head_dim))?
        .transpose(0, 1)?
        .reshape((count, shape.out_width()))
}
