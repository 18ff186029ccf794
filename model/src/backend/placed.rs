//! Where the rows of a pass stand and what they see, in the form that each backend wants.

use super::convert::up;
use candle_core::{DType, Device, Result, Tensor};
use s3d_kernels::attention::Block;
use s3d_kernels::heads::HeadShape;
use s3d_kernels::rotary::Rotary;

/// Rows that share one matrix of scores, at most: those of a long prompt would not fit the memory.
const MOST_ROWS: usize = 256;
/// Up to so many rows the mask is made for every head beforehand: adding it is then contiguous.
const FEW_ROWS: usize = 16;

/// Where the rows of a pass stand, in the form that the operations want.
#[derive(Debug)]
pub(crate) enum Standing<'p> {
    /// Positions and blocks as they are.
    Cpu(&'p [usize], &'p [Block]),
    /// On the device.
    Candle(Placed),
    /// On a Vulkan device.
    #[cfg(feature = "gpu")]
    Gpu(Stands),
}

/// Rotated queries and keys, and values.
#[derive(Debug)]
pub(crate) enum Rotated {
    /// `[rows, qkv_width]`.
    Cpu(Tensor),
    /// Head by head.
    Candle(Apart),
    /// On a Vulkan device.
    #[cfg(feature = "gpu")]
    Gpu(Unturned),
}

/// Where the rows of a pass stand on a Vulkan device.
#[cfg(feature = "gpu")]
#[derive(Debug)]
pub(crate) struct Stands {
    /// None for the rows of many texts, which attend apart.
    pub(super) places: Option<s3d_gpu::ops::Places>,
    /// Whether their keys and values are written to the cache before they attend.
    pub(super) append: bool,
}

/// Queries, keys and values there, `[rows, qkv_width]`, that are turned when they attend.
#[cfg(feature = "gpu")]
#[derive(Debug)]
pub(crate) struct Unturned {
    pub(super) qkv: s3d_gpu::Rows,
    /// Whether they are turned at all.
    pub(super) turns: bool,
}

/// The keys and values of one layer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LayerCache<'a> {
    /// `[kv_heads][..]` panels for the kernels, else `[kv_heads, capacity, head_dim]`.
    Tensors {
        /// Keys of every position.
        keys: &'a Tensor,
        /// Values of every position.
        values: &'a Tensor,
        /// Positions there is room for.
        capacity: usize,
    },
    /// On a Vulkan device.
    #[cfg(feature = "gpu")]
    Gpu(&'a s3d_gpu::ops::Cache),
}

impl<'a> LayerCache<'a> {
    /// Keys, values, and positions there is room for.
    ///
    /// # Errors
    /// Where another backend keeps them.
    pub(super) fn tensors(self) -> crate::error::Result<([&'a Tensor; 2], usize)> {
        match self {
            Self::Tensors { keys, values, capacity } => Ok(([keys, values], capacity)),
            #[cfg(feature = "gpu")]
            Self::Gpu(_) => Err(crate::error::Error::foreign()),
        }
    }
}

/// What a pass brings from the host: made once, used by every layer.
#[derive(Debug)]
pub(crate) struct Placed {
    /// `[rows, pairs]`.
    pub(super) cosines: Tensor,
    pub(super) sines: Tensor,
    pub(super) seen: Vec<Seen>,
    /// Where keys and values are written, `[kv_heads, rows, head_dim]` positions, where the device
    /// must be told; else the host knows.
    pub(super) written: Option<Tensor>,
}

/// Rows that attend together.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) block: Block,
    /// Positions that scores are computed for.
    pub(super) positions: usize,
    /// Whether the rows' own keys and values are in the cache already.
    pub(super) cached: bool,
    /// Added to the scores `[heads, rows, positions]`: 0 where a row sees a position, else minus
    /// infinity; `[heads or 1, rows, positions]`. None for one row, which sees all.
    pub(super) hidden: Option<Tensor>,
}

/// Rotated queries, scaled, and keys and values of some rows, head by head.
#[derive(Debug)]
pub(crate) struct Apart {
    /// `[heads, rows, head_dim]`.
    pub(super) queries: Tensor,
    /// `[kv_heads, rows, head_dim]`.
    pub(super) keys: Tensor,
    /// `[kv_heads, rows, head_dim]`.
    pub(super) values: Tensor,
}

impl Placed {
    /// Angles and masks of rows at `positions` that attend in `blocks`, as `number` on `device`;
    /// with `append`, rows stand in the cache before they attend, and blocks that continue each
    /// other are one.
    ///
    /// # Errors
    /// When the device refuses the memory.
    pub(crate) fn new(
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

    /// What stands on the device already, for rows that attend together over the first positions of
    /// the cache: `cosines` and `sines` are `[rows, pairs]`, `hidden` is `[1, rows, positions]`,
    /// and the rows' own keys and values are written at `places[rows]`.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub(crate) fn on_device(
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
pub(crate) fn angles(
    rotary: &Rotary,
    positions: &[usize],
    table: fn(&Rotary, usize) -> &[f32],
) -> Vec<f32> {
    positions.iter().flat_map(|&position| table(rotary, position)).copied().collect()
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

/// 0 where one of `rows` rows that stand at `position` and after sees one of the first `positions`
/// positions, else minus infinity: `[rows, positions]`.
pub(crate) fn mask(position: usize, rows: usize, positions: usize) -> Vec<f32> {
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
