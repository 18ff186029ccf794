//! Weights in panels: the layout that lets one stream of memory feed every width.
//!
//! A matrix `W[out, in]` is cut into panels of [`LANES`] output rows; a panel stores, for each
//! input in turn, the weights of its rows side by side: `[out / LANES][in][LANES]`, the last panel
//! padded with zeros. One vector load gives the weights of 16 outputs for one input, and a whole
//! matrix is read in one forward sweep.

/// Output rows of one panel.
pub const LANES: usize = 16;

/// Panels needed for `out` output rows.
pub const fn panel_count(out: usize) -> usize {
    out.div_ceil(LANES)
}
