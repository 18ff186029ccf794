//! Where the operands of a tile are.

use crate::number::Number;
use crate::panels::LANES;

/// Where the operands of a product are. Strides are in numbers, not bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operands<N> {
    /// First activation.
    pub x: *const f32,
    /// From a row of activations to the next; a row itself is contiguous.
    pub x_row: usize,
    /// First panel.
    pub w: *const N,
    /// From a panel to the next.
    pub w_panel: usize,
    /// Products per output.
    pub depth: usize,
    /// First output.
    pub out: *mut f32,
    /// From a row of outputs to the next; panels lie side by side in a row.
    pub out_row: usize,
    /// Whether to go on from what `out` holds instead of from zero.
    pub resume: bool,
    /// Whether the rows are interleaved (`x[k][row]`), which `x_row` then counts.
    pub interleaved: bool,
    /// Whether what follows the panels in memory will be wanted next.
    pub prefetch: bool,
}

impl<N: Number> Operands<N> {
    /// The same product for later rows and panels.
    pub(super) fn at(self, row: usize, panel: usize) -> Self {
        let x_step = if self.interleaved { 1 } else { self.x_row };
        Self {
            x: self.x.wrapping_add(row * x_step),
            w: self.w.wrapping_add(panel * self.w_panel),
            out: self.out.wrapping_add(row * self.out_row + panel * LANES),
            ..self
        }
    }
}
