//! The operations of a pass, composed of candle's own: for devices without kernels.
//!
//! Clear before fast. Rows are reduced in whatever order the device likes, so nothing is promised to
//! the bit here. The cache is `[capacity, kv_heads * head_dim]`.

use crate::fused::Half;
use crate::kernels::LANES;
use crate::kernels::attention::Block;
use crate::kernels::heads::HeadShape;
use crate::kernels::rotary::Rotary;
use crate::ops::LayerCache;
use candle_core::{D, Result, Tensor};

/// RMSNorm of every row.
pub fn rms_norm(x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
    x.broadcast_div(&(mean + epsilon)?.sqrt()?)?.broadcast_mul(weight)
}

/// SwiGLU of rows in which panels of gates and ups alternate.
pub fn swiglu(x: &Tensor) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    let pairs = x.reshape((rows, width / (2 * LANES), 2, LANES))?;
    let (gate, up) = (pairs.narrow(2, 0, 1)?, pairs.narrow(2, 1, 1)?);
    (gate.silu()? * up)?.reshape((rows, width / 2))
}

/// RMSNorm of every query head and every key head.
pub fn norm_heads(
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
    Tensor::cat(&[queries, keys, of_half(Half::Values, shape, qkv)?], 1)
}

/// Rotates queries and keys, scales queries.
pub fn rotate(
    shape: HeadShape,
    rotary: &Rotary,
    positions: &[usize],
    qkv: &Tensor,
) -> Result<Tensor> {
    let (rows, half) = (positions.len(), shape.head_dim / 2);
    let turning = shape.heads + shape.kv_heads;
    let angles = |table: fn(&Rotary, usize) -> &[f32]| {
        let rows_of: Vec<f32> = positions.iter().flat_map(|&p| table(rotary, p)).copied().collect();
        Tensor::from_vec(rows_of, (rows, 1, half), qkv.device())
    };
    let (cosines, sines) = (angles(Rotary::cosines)?, angles(Rotary::sines)?);
    let heads = qkv.narrow(1, 0, turning * shape.head_dim)?.reshape((rows, turning, 2, half))?;
    let (low, high) = (heads.narrow(2, 0, 1)?.squeeze(2)?, heads.narrow(2, 1, 1)?.squeeze(2)?);
    let turned_low = (low.broadcast_mul(&cosines)? - high.broadcast_mul(&sines)?)?;
    let turned_high = (high.broadcast_mul(&cosines)? + low.broadcast_mul(&sines)?)?;
    let turned = Tensor::cat(&[turned_low, turned_high], 2)?;
    let scale = 1.0 / (shape.head_dim as f64).sqrt();
    let queries =
        (turned.narrow(1, 0, shape.heads)? * scale)?.reshape((rows, shape.out_width()))?;
    let keys = turned.narrow(1, shape.heads, shape.kv_heads)?.reshape((rows, shape.kv_width()))?;
    Tensor::cat(&[queries, keys, of_half(Half::Values, shape, qkv)?], 1)
}

/// The keys or values of rows `[rows, qkv_width]`, as they stand in the cache.
fn of_half(half: Half, shape: HeadShape, qkv: &Tensor) -> Result<Tensor> {
    let start = match half {
        Half::Keys => shape.out_width(),
        Half::Values => shape.out_width() + shape.kv_width(),
    };
    qkv.narrow(1, start, shape.kv_width())?.contiguous()
}

/// Writes keys or values into the cache.
pub fn append(
    half: Half,
    shape: HeadShape,
    qkv: &Tensor,
    buffer: &Tensor,
    position: usize,
) -> Result<()> {
    buffer.slice_set(&of_half(half, shape, qkv)?, 0, position)
}

/// Attention, one block after another.
pub fn attend(
    shape: HeadShape,
    qkv: &Tensor,
    cache: LayerCache<'_>,
    blocks: &[Block],
) -> Result<Tensor> {
    let outs = blocks.iter().map(|block| {
        let rows = qkv.narrow(0, block.row, block.rows)?;
        let seen = |half: Half, buffer: &Tensor| {
            let own = of_half(half, shape, &rows)?;
            let all = match block.position {
                0 => own,
                position => Tensor::cat(&[buffer.narrow(0, 0, position)?, own], 0)?,
            };
            let positions = block.position + block.rows;
            all.reshape((positions, shape.kv_heads, shape.head_dim))?.transpose(0, 1)?.contiguous()
        };
        attend_block(
            shape,
            &rows,
            &seen(Half::Keys, cache.keys)?,
            &seen(Half::Values, cache.values)?,
        )
    });
    Tensor::cat(&outs.collect::<Result<Vec<_>>>()?, 0)
}

/// Attention of the last rows over `keys` and `values`, both `[kv_heads, positions, head_dim]`.
fn attend_block(shape: HeadShape, rows: &Tensor, keys: &Tensor, values: &Tensor) -> Result<Tensor> {
    let (count, _) = rows.dims2()?;
    let (_, positions, _) = keys.dims3()?;
    let group = shape.heads / shape.kv_heads;
    let queries = rows
        .narrow(1, 0, shape.out_width())?
        .reshape((count, shape.kv_heads, group, shape.head_dim))?
        .transpose(0, 1)?
        .reshape((shape.kv_heads, count * group, shape.head_dim))?;
    let scores = queries.matmul(&keys.t()?)?;
    let visible = |query: usize, key: usize| key + count <= positions + query / group;
    let hidden: Vec<f32> = (0..count * group * positions)
        .map(|i| if visible(i / positions, i % positions) { 0.0 } else { f32::NEG_INFINITY })
        .collect();
    let hidden = Tensor::from_vec(hidden, (1, count * group, positions), rows.device())?;
    let weights = candle_nn::ops::softmax(&scores.broadcast_add(&hidden)?, D::Minus1)?;
    weights
        .matmul(values)?
        .reshape((shape.kv_heads, count, group, shape.head_dim))?
        .transpose(0, 1)?
        .reshape((count, shape.out_width()))
}
