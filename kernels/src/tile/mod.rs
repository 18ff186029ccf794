//! The register tile: a few rows of activations times a few panels, the inner loop of everything.
//!
//! `out[r][p][lane] = sum over k of x[r][k] * w[p][k][lane]`, where each output is one accumulator
//! that takes its products in rising order of `k` with fused multiply-add. Nothing else about a
//! tile can change a bit: not how many rows share it, not the panels beside it, not the width of
//! the vectors. So a result is the same at every width, thread count and instruction set.

pub(crate) mod operands;
mod portable;
#[cfg(target_arch = "x86_64")]
#[expect(clippy::needless_range_loop, reason = "loops of constant length over registers")]
mod x86;

use crate::isa::Isa;
use crate::number::Number;
use operands::Operands;
use portable::portable;
#[cfg(target_arch = "x86_64")]
use x86::{avx2, avx512};

/// Multiplies `rows` rows by `panels` panels.
///
/// # Safety
/// All `rows` x `depth` activations, `panels` x `depth` x [`LANES`] weights and `rows` x `panels` x
/// [`LANES`] outputs lie in memory that may be read or written, the outputs by this thread alone,
/// and `isa` is available on this machine.
pub(crate) unsafe fn multiply<N: Number>(
    isa: Isa,
    rows: usize,
    panels: usize,
    operands: Operands<N>,
) {
    if rows == 0 {
        return;
    }
    // Equal shares instead of full tiles and a rest: seven rows on six-row tiles are four and
    // three.
    let share = rows.div_ceil(rows.div_ceil(isa.max_rows()));
    for row in (0..rows).step_by(share) {
        let height = share.min(rows - row);
        let width = isa.panels(height);
        let mut panel = 0;
        while panel < panels {
            let width = if panel + width <= panels { width } else { 1 };
            // SAFETY: a part of the caller's rows and panels.
            unsafe { tile(isa, height, width, &operands.at(row, panel)) };
            panel += width;
        }
    }
}

/// Names the tile for a number of rows and panels.
macro_rules! choose {
    ($kernel:ident, $rows:expr, $panels:expr, $op:expr, [$($r:literal)*], [$(($r2:literal, $p2:literal))*]) => {
        match ($rows, $panels) {
            $(($r, 1) => $kernel::<N, $r, 1>($op),)*
            $(($r2, $p2) => $kernel::<N, $r2, $p2>($op),)*
            _ => portable($rows, $panels, $op),
        }
    };
}

/// One tile.
///
/// # Safety
/// As for [`multiply`].
unsafe fn tile<N: Number>(isa: Isa, rows: usize, panels: usize, operands: &Operands<N>) {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => choose!(avx512, rows, panels, operands,
                [1 2 3 4 5 6 7 8 9 10 11 12],
                [(1, 4) (2, 4) (3, 4) (4, 4) (5, 4) (6, 4) (7, 2) (8, 2) (9, 2) (10, 2) (11, 2) (12, 2)]),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => {
                choose!(avx2, rows, panels, operands, [1 2 3 4 5 6], [(1, 4) (2, 2)]);
            }
            _ => portable(rows, panels, operands),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panels::LANES;
    use crate::test_numbers::numbers;

    fn product(isa: Isa, rows: usize, panels: usize, depth: usize, interleaved: bool) -> Vec<f32> {
        let x = numbers(1, rows * depth);
        let x = if interleaved {
            (0..rows * depth).map(|i| x[i % rows * depth + i / rows]).collect()
        } else {
            x
        };
        let w = numbers(2, panels * depth * LANES);
        let mut out = numbers(3, rows * panels * LANES);
        let operands = Operands {
            x: x.as_ptr(),
            x_row: if interleaved { rows } else { depth },
            w: w.as_ptr(),
            w_panel: depth * LANES,
            depth,
            out: out.as_mut_ptr(),
            out_row: panels * LANES,
            resume: depth % 2 == 1,
            interleaved,
            prefetch: true,
        };
        // SAFETY: the vectors have exactly the promised sizes.
        unsafe { multiply(isa, rows, panels, operands) };
        out
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits_for_every_shape() {
        for (rows, panels, depth) in
            (1..=14).flat_map(|r| [(r, 1, 7), (r, 4, 32), (r, 5, 65), (r, 3, 0)])
        {
            let expected = product(Isa::Portable, rows, panels, depth, false);
            for isa in Isa::available() {
                let found = product(isa, rows, panels, depth, false);
                assert_eq!(found, expected, "{isa:?} {rows} {panels} {depth}");
                if rows <= isa.max_rows() {
                    let found = product(isa, rows, panels, depth, true);
                    assert_eq!(found, expected, "{isa:?} {rows} {panels} {depth} interleaved");
                }
            }
        }
    }

    #[test]
    fn the_tile_is_a_matrix_product() {
        // source: the same sums in f64
        let (rows, panels, depth) = (5, 2, 40);
        let x = numbers(1, rows * depth);
        let w = numbers(2, panels * depth * LANES);
        let out = product(Isa::detect(), rows, panels, depth, false);
        for (i, &found) in out.iter().enumerate() {
            let (row, o) = (i / (panels * LANES), i % (panels * LANES));
            let weight = |k: usize| w[(o / LANES * depth + k) * LANES + o % LANES];
            let sum: f64 =
                (0..depth).map(|k| f64::from(x[row * depth + k]) * f64::from(weight(k))).sum();
            assert!((sum - f64::from(found)).abs() < 1e-5, "{sum} {found}");
        }
    }
}
