//! Where the operands of a tile of weights in codes are.

use crate::packed::{BLOCK, Code};
use crate::panels::LANES;

/// Where the operands of a product are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CodedOperands {
    /// How the weights are laid out.
    pub code: Code,
    /// Codes of the first row.
    pub x: *const i8,
    /// Scales of its blocks.
    pub scales: *const f32,
    /// Sums of the codes of its blocks.
    pub sums: *const i32,
    /// Blocks of a row; rows are contiguous.
    pub blocks: usize,
    /// First panel.
    pub w: *const u8,
    /// From a panel to the next, in bytes.
    pub w_panel: usize,
    /// First output.
    pub out: *mut f32,
    /// From a row of outputs to the next, in numbers.
    pub out_row: usize,
}

impl CodedOperands {
    /// The same product for later rows and panels.
    pub(super) fn at(self, row: usize, panel: usize) -> Self {
        Self {
            x: self.x.wrapping_add(row * self.blocks * BLOCK),
            scales: self.scales.wrapping_add(row * self.blocks),
            sums: self.sums.wrapping_add(row * self.blocks),
            w: self.w.wrapping_add(panel * self.w_panel),
            out: self.out.wrapping_add(row * self.out_row + panel * LANES),
            ..self
        }
    }
}
