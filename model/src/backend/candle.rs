//! The operations of a pass, composed of candle's own: for devices without kernels.
//!
//! On a card every launch costs microseconds whatever its size, and a tensor that is not contiguous costs an
//! upload of its strides besides. So all that a pass needs of the host (rotary angles, masks) goes up once,
//! before its first layer ([`Placed`]); the cache is `[kv_heads, capacity, head_dim]`, of which a matmul reads
//! any prefix in place; and at width 1 no operation needs a copy. Rows are reduced in whatever order the device
//! likes, so nothing is promised to the bit here.

use crate::backend::LayerCache;
use crate::backend::cpu::Half;
use candle_core::{DType, Device, Result, Shape, Tensor};
use s3d_kernels::attention::Block;
use s3d_kernels::heads::HeadShape;
use s3d_kernels::panels::LANES;
use s3d_kernels::rotary::Rotary;

/// Rows that share one matrix of scores, at most: those of a long prompt would not fit the memory.
const MOST_ROWS: usize = 256;
/// Up to so many rows the mask is made for every head beforehand: adding it is then contiguous.
const FEW_ROWS: usize = 16;

/// What a pass brings from the host: made once, used by every layer.
#[derive(Debug)]
pub struct Placed {
    /// `[rows, pairs]`.
    cosines: Tensor,
    sines: Tensor,
    seen: Vec<Seen>,
    /// Where keys and values are written, `[kv_heads, rows, head_dim]` positions, where the device must be told;
    /// else the host knows.
    written: Option<Tensor>,
}

/// Rows that attend together.
#[derive(Debug)]
struct Seen {
    block: Block,
    /// Positions that scores are computed for.
    positions: usize,
    /// Whether the rows' own keys and values are in the cache already.
    cached: bool,
    /// Added to the scores `[heads, rows, positions]`: 0 where a row sees a position, else minus infinity;
    /// `[heads or 1, rows, positions]`. None for one row, which sees all.
    hidden: Option<Tensor>,
}

/// Rotated queries, scaled, and keys and values of some rows, head by head.
#[derive(Debug)]
pub struct Apart {
    /// `[heads, rows, head_dim]`.
    queries: Tensor,
    /// `[kv_heads, rows, head_dim]`.
    keys: Tensor,
    /// `[kv_heads, rows, head_dim]`.
    values: Tensor,
}

impl Placed {
    /// Angles and masks of rows at `positions` that attend in `blocks`, as `number` on `device`; with
    /// `append`, rows stand in the cache before they attend, and blocks that continue each other are one.
    ///
    /// # Errors
    /// When the device refuses the memory.
    pub fn new(
        shape: HeadShape,
        rotary: &Rotary,
        (positions, blocks, append): (&[usize], &[Block], bool),
        number: DType,
        device: &Device,
    ) -> Result<Self> {
        let angles = |table| {
            let shape = (positions.len(), rotary.pairs());
            up(angles(rotary, positions, table), shape, number, device)
        };
        let blocks = if append { joined(blocks) } else { blocks.to_vec() };
        let seen = blocks.into_iter().map(|block| {
            let hidden = hidden(shape, block, number, device)?;
            Ok(Seen { block, positions: block.position + block.rows, cached: append, hidden })
        });
        let seen = seen.collect::<Result<_>>()?;
        let (cosines, sines) = (angles(Rotary::cosines)?, angles(Rotary::sines)?);
        Ok(Self { cosines, sines, seen, written: None })
    }

    /// What stands on the device already, for rows that attend together over the first positions of the cache:
    /// `cosines` and `sines` are `[rows, pairs]`, `hidden` is `[1, rows, positions]`, and the rows' own
    /// keys and values are written at `places[rows]`.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn on_device(
        shape: HeadShape,
        [cosines, sines, hidden]: [Tensor; 3],
        places: &Tensor,
    ) -> Result<Self> {
        let (_, rows, positions) = hidden.dims3()?;
        let hidden = Some(for_every_head(shape, rows, hidden)?);
        let block = Block { row: 0, rows, position: positions - rows };
        let everywhere = (shape.kv_heads, rows, shape.head_dim);
        let written = places.reshape((1, rows, 1))?.broadcast_as(everywhere)?.contiguous()?;
        let seen = vec![Seen { block, positions, cached: true, hidden }];
        Ok(Self { cosines, sines, seen, written: Some(written) })
    }
}

/// Cosines or sines of rows at `positions`, `[rows, pairs]`.
pub fn angles(
    rotary: &Rotary,
    positions: &[usize],
    table: fn(&Rotary, usize) -> &[f32],
) -> Vec<f32> {
    positions.iter().flat_map(|&position| table(rotary, position)).copied().collect()
}

/// Converts on the host, then uploads.
pub fn up(
    numbers: Vec<f32>,
    shape: impl Into<Shape>,
    number: DType,
    device: &Device,
) -> Result<Tensor> {
    Tensor::from_vec(numbers, shape, &Device::Cpu)?.to_dtype(number)?.to_device(device)
}

/// Blocks that continue each other, put together up to [`MOST_ROWS`].
fn joined(blocks: &[Block]) -> Vec<Block> {
    let mut all: Vec<Block> = Vec::new();
    for &block in blocks {
        match all.last_mut() {
            Some(last)
                if last.row + last.rows == block.row
                    && last.position + last.rows == block.position
                    && last.rows + block.rows <= MOST_ROWS =>
            {
                last.rows += block.rows;
            }
            _ => all.push(block),
        }
    }
    all
}

/// What the rows of a block do not see of the positions up to its last row.
fn hidden(
    shape: HeadShape,
    block: Block,
    number: DType,
    device: &Device,
) -> Result<Option<Tensor>> {
    let (rows, positions) = (block.rows, block.position + block.rows);
    if rows == 1 {
        return Ok(None);
    }
    let mask = mask(block.position, rows, positions);
    let mask = up(mask, (1, rows, positions), number, device)?;
    Ok(Some(for_every_head(shape, rows, mask)?))
}

/// 0 where one of `rows` rows that stand at `position` and after sees one of the first `positions` positions, else
/// minus infinity: `[rows, positions]`.
pub fn mask(position: usize, rows: usize, positions: usize) -> Vec<f32> {
    let mut mask = vec![f32::NEG_INFINITY; rows * positions];
    for (row, mask) in mask.chunks_exact_mut(positions).enumerate() {
        mask[..=position + row].fill(0.0);
    }
    mask
}

/// A mask `[1, rows, positions]`, made for every head where rows are few.
fn for_every_head(shape: HeadShape, rows: usize, mask: Tensor) -> Result<Tensor> {
    match rows <= FEW_ROWS {
        true => mask.broadcast_as((shape.heads, rows, mask.dim(2)?))?.contiguous(),
        false => Ok(mask),
    }
}

/// RMSNorm of every row.
pub fn rms_norm(x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    candle_nn::ops::rms_norm(&x.contiguous()?, weight, epsilon as f32)
}

/// SwiGLU of rows in which panels of gates and ups alternate.
pub fn swiglu(x: &Tensor) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    let pairs = x.reshape((rows, width / (2 * LANES), 2, LANES))?;
    let (gate, up) = (pairs.narrow(2, 0, 1)?, pairs.narrow(2, 1, 1)?);
    gated(&gate, &up)?.reshape((rows, width / 2))
}

/// SwiGLU of gates and ups that stand apart.
pub fn gated(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.silu()? * up
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
    let values = qkv.narrow(1, shape.out_width() + shape.kv_width(), shape.kv_width())?;
    Tensor::cat(&[queries, keys, values], 1)
}

/// Rotates queries and keys where the layer `turns` them, scales queries, and sets the heads apart.
pub fn rotate(shape: HeadShape, placed: &Placed, qkv: &Tensor, turns: bool) -> Result<Apart> {
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

/// Writes keys or values into the cache, in place: from `position` on, or where the device was told.
pub fn append(
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
pub fn attend(
    shape: HeadShape,
    rows: &Apart,
    cache: LayerCache<'_>,
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
    cache: LayerCache<'_>,
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
    let scores = queries.matmul(&in_sight(&rows.keys, cache.keys)?.t()?)?;
    let scores = match &seen.hidden {
        None => scores,
        Some(hidden) => scores
            .reshape((shape.heads, count, positions))?
            .broadcast_add(hidden)?
            .reshape((shape.kv_heads, group * count, positions))?,
    };
    candle_nn::ops::softmax_last_dim(&scores)?
        .matmul(&in_sight(&rows.values, cache.values)?)?
        .reshape((shape.heads, count, shape.head_dim))?
        .transpose(0, 1)?
        .reshape((count, shape.out_width()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_that_continue_each_other_are_one() {
        let block = |row, rows, position| Block { row, rows, position };
        let prompt: Vec<Block> = (0..40).map(|i| block(8 * i, 8, 8 * i)).collect();
        assert_eq!(joined(&prompt), [block(0, 256, 0), block(256, 64, 256)]);
        let groups = [block(0, 4, 9), block(4, 4, 10)];
        assert_eq!(joined(&groups), groups);
    }

    #[test]
    fn a_row_sees_what_stands_before_it_and_itself() {
        let shape = HeadShape { heads: 2, kv_heads: 1, head_dim: 4 };
        let mask = |rows| {
            let block = Block { row: 0, rows, position: 1 };
            hidden(shape, block, DType::F32, &Device::Cpu).unwrap()
        };
        assert!(mask(1).is_none());
        let out = f32::NEG_INFINITY;
        let of_a_head = vec![vec![0.0, 0.0, out], vec![0.0, 0.0, 0.0]];
        let found = mask(2).unwrap().to_vec3::<f32>().unwrap();
        assert_eq!(found, [of_a_head.clone(), of_a_head]);
    }
}
