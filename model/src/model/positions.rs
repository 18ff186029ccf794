//! Where the rows of a pass stand, and how long a text may be.

use crate::config::ModelConfig;
use crate::error::{Error, Result};
use s3d_data::Predictors;
use s3d_kernels::attention::Block;
use s3d_kernels::rotary::Rotary;

/// Rows of one block of attention: they share one reading of the cached keys.
const BLOCK_ROWS: usize = 8;

/// Where the rows of a pass are.
#[derive(Debug)]
pub(crate) struct Places {
    /// Position of each row.
    pub positions: Vec<usize>,
    /// Consecutive rows that see each other and the cache before them.
    pub blocks: Vec<Block>,
    /// Whether the rows' keys and values are written to the cache, at their positions.
    pub append: bool,
    /// Whether these are draft rows on which adapters act.
    pub adapted: bool,
}

impl Places {
    /// `rows` rows that continue a text of `position` tokens.
    pub(crate) fn next(position: usize, rows: usize) -> Self {
        let block =
            |row: usize| Block { row, rows: BLOCK_ROWS.min(rows - row), position: position + row };
        Self {
            positions: (position..position + rows).collect(),
            blocks: (0..rows).step_by(BLOCK_ROWS).map(block).collect(),
            append: true,
            adapted: false,
        }
    }
}

/// The rotary angles of texts of up to `context` tokens, and how long such texts may be. Draft rows
/// may stand a little beyond their end.
pub(crate) fn rotary(config: &ModelConfig, context: usize) -> Result<(Rotary, usize)> {
    let rope = config.rope_for(context.min(config.positions())).map_err(Error::invalid)?;
    let positions = rope.limit.unwrap_or(usize::MAX).min(config.positions());
    let rotary = Rotary::new(rope.frequencies, rope.scale, positions + Predictors::MAX + 1);
    Ok((rotary, positions))
}
