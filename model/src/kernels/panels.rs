//! Weights in panels: the layout that lets one stream of memory feed every width.
//!
//! A matrix `W[out, in]` is cut into panels of [`LANES`] output rows; a panel stores, for each input
//! in turn, the weights of its rows side by side: `[out / LANES][in][LANES]`, the last panel padded
//! with zeros. One vector load gives the weights of 16 outputs for one input, and a whole matrix is
//! read in one forward sweep.

/// Output rows of one panel.
pub const LANES: usize = 16;

/// Panels needed for `out` output rows.
pub const fn panel_count(out: usize) -> usize {
    out.div_ceil(LANES)
}

/// Packs rows given one by one: `row(o)` is row `o` of `W[out, inputs]`.
pub fn pack<'w>(out: usize, inputs: usize, row: impl Fn(usize) -> &'w [f32]) -> Vec<f32> {
    let mut packed = vec![0.0; panel_count(out) * inputs * LANES];
    for (panel, chunk) in packed.chunks_exact_mut(inputs * LANES).enumerate() {
        for lane in 0..LANES.min(out - panel * LANES) {
            for (k, &weight) in row(panel * LANES + lane).iter().enumerate() {
                chunk[k * LANES + lane] = weight;
            }
        }
    }
    packed
}

/// Copies row `o` of a packed matrix into `row` (of length `in`).
pub fn unpack_row(packed: &[f32], o: usize, row: &mut [f32]) {
    let (panel, lane) = (o / LANES, o % LANES);
    let chunk = &packed[panel * row.len() * LANES..][..row.len() * LANES];
    for (weight, lanes) in row.iter_mut().zip(chunk.chunks_exact(LANES)) {
        *weight = lanes[lane];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_and_the_padding_is_zero() {
        let (out, inputs) = (19, 5);
        let matrix: Vec<f32> = (0..out * inputs).map(|i| i as f32 + 1.0).collect();
        let packed = pack(out, inputs, |o| &matrix[o * inputs..][..inputs]);
        assert_eq!(packed.len(), 2 * inputs * LANES);
        for o in 0..out {
            let mut row = vec![0.0; inputs];
            unpack_row(&packed, o, &mut row);
            assert_eq!(row, &matrix[o * inputs..][..inputs]);
        }
        let zeros = packed.iter().filter(|&&w| w == 0.0).count();
        assert_eq!(zeros, (32 - out) * inputs);
    }
}
