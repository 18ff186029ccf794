//! The register tile: a few rows of activations times a few panels, the inner loop of everything.
//!
//! `out[r][p][lane] = sum over k of x[r][k] * w[p][k][lane]`, where each output is one accumulator that
//! takes its products in rising order of `k` with fused multiply-add. Nothing else about a tile can
//! change a bit: not how many rows share it, not the panels beside it, not the width of the vectors.
//! So a result is the same at every width, thread count and instruction set.

#[cfg(target_arch = "x86_64")]
#[expect(clippy::needless_range_loop, reason = "loops of constant length over registers")]
mod x86;

use crate::number::Number;
use crate::panels::LANES;
#[cfg(target_arch = "x86_64")]
use x86::{avx2, avx512};

/// Vector instructions a kernel may use, chosen once at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// No special instructions; `f32::mul_add`, which is exact and may be slow.
    Portable,
    /// 256-bit vectors with fused multiply-add, and conversion of halves.
    Avx2,
    /// 512-bit vectors, 32 registers.
    Avx512,
}

impl Isa {
    /// The best this machine has.
    pub fn detect() -> Self {
        Self::available().last().copied().unwrap_or(Self::Portable)
    }

    /// All this machine has, from the plainest on.
    pub fn available() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            let avx512 = avx2 && is_x86_feature_detected!("avx512f");
            let has = [(Self::Portable, true), (Self::Avx2, avx2), (Self::Avx512, avx512)];
            has.into_iter().filter_map(|(isa, has)| has.then_some(isa)).collect()
        }
        #[cfg(not(target_arch = "x86_64"))]
        vec![Self::Portable]
    }

    /// Its name in records; with `vnni` where weights in codes have instructions of their own.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2+fma",
            Self::Avx512 if crate::codes::has_vnni() => "avx512f+vnni",
            Self::Avx512 => "avx512f",
        }
    }

    /// Most rows that one tile holds in registers.
    pub const fn max_rows(self) -> usize {
        match self {
            Self::Portable => 4,
            Self::Avx2 => 6,
            Self::Avx512 => 12,
        }
    }

    /// Panels that a tile of `rows` rows takes at once: enough independent accumulators to hide the
    /// latency of the multiply-add, as few memory streams as that allows.
    const fn panels(self, rows: usize) -> usize {
        match (self, rows) {
            (Self::Portable, _) | (Self::Avx2, 3..) => 1,
            (Self::Avx2, 2) | (Self::Avx512, 7..) => 2,
            (Self::Avx2 | Self::Avx512, _) => 4,
        }
    }
}

/// Where the operands of a product are. Strides are in numbers, not bytes.
#[derive(Debug, Clone, Copy)]
pub struct Operands<N> {
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
    fn at(self, row: usize, panel: usize) -> Self {
        let x_step = if self.interleaved { 1 } else { self.x_row };
        Self {
            x: self.x.wrapping_add(row * x_step),
            w: self.w.wrapping_add(panel * self.w_panel),
            out: self.out.wrapping_add(row * self.out_row + panel * LANES),
            ..self
        }
    }
}

/// Multiplies `rows` rows by `panels` panels.
///
/// # Safety
/// All `rows` x `depth` activations, `panels` x `depth` x [`LANES`] weights and `rows` x `panels` x
/// [`LANES`] outputs lie in memory that may be read or written, the outputs by this thread alone,
/// and `isa` is available on this machine.
pub unsafe fn multiply<N: Number>(isa: Isa, rows: usize, panels: usize, operands: Operands<N>) {
    if rows == 0 {
        return;
    }
    // Equal shares instead of full tiles and a rest: seven rows on six-row tiles are four and three.
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

/// The tile in plain Rust: the order of operations, to be read.
///
/// # Safety
/// As for [`multiply`].
pub(super) unsafe fn portable<N: Number>(rows: usize, panels: usize, op: &Operands<N>) {
    for row in 0..rows {
        for panel in 0..panels {
            let op = op.at(row, panel);
            // SAFETY: `row` and `panel` are among the caller's.
            unsafe {
                let out = std::slice::from_raw_parts_mut(op.out, LANES);
                let mut sums = [0.0f32; LANES];
                if op.resume {
                    sums.copy_from_slice(out);
                }
                let step = if op.interleaved { op.x_row } else { 1 };
                for k in 0..op.depth {
                    let x = *op.x.add(k * step);
                    let weights = std::slice::from_raw_parts(op.w.add(k * LANES), LANES);
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        *sum = weight.widen().mul_add(x, *sum);
                    }
                }
                out.copy_from_slice(&sums);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
