//! The tile for weights in codes: products of integers, exact within a block of 32 inputs.
//!
//! `out[r][lane]` is the sum over blocks `b` of `d[b][lane] * s[r][b]` times the sum over `k` in
//! `b` of `w[k][lane] * x[r][k]`, where `w` and `x` are codes and `d` and `s` their scales (q4_k:
//! less minima times `s` times the sum of `x`). The inner sum is exact; the outer one is a single
//! accumulator that takes the blocks in rising order with fused multiply-add. So a result has the
//! same bits at every width, thread count and instruction set.

pub mod decode;
pub mod number_type;
pub(crate) mod operands;
#[cfg(target_arch = "x86_64")]
#[expect(clippy::needless_range_loop, reason = "loops of constant length over registers")]
mod x86;

use crate::isa::{Isa, has_vnni};
use crate::packed::{BLOCK, Code};
use crate::panels::LANES;
use half::f16;
use operands::CodedOperands;
#[cfg(target_arch = "x86_64")]
use x86::{avx2, vnni};

/// Most rows that one tile takes, and the panels that it takes at once: many, so that sums do not
/// wait for each other, as long as they find room in the registers. Measured on Zen 4.
fn tile_size(isa: Isa, code: Code, rows: usize) -> (usize, usize) {
    match (isa, code, rows) {
        (Isa::Portable | Isa::Avx2, ..) => (4, 1),
        (Isa::Avx512, _, ..=1) => (12, 4),
        (Isa::Avx512, _, 2..=3) | (Isa::Avx512, Code::Q8_0, 4..=6) => (12, 2),
        (Isa::Avx512, ..) => (12, 1),
    }
}

/// The instruction set whose tile runs: integer products of 512 bits are an extension of their own.
fn usable(isa: Isa) -> Isa {
    if isa == Isa::Avx512 && !has_vnni() { Isa::Avx2 } else { isa }
}

/// Multiplies `rows` rows by `panels` panels.
///
/// # Safety
/// The activations of all rows, the weights of all panels and all outputs lie in memory that may be
/// read or written, the outputs by this thread alone, and `isa` is available on this machine.
pub(crate) unsafe fn multiply(isa: Isa, rows: usize, panels: usize, operands: CodedOperands) {
    let isa = usable(isa);
    if rows == 0 {
        return;
    }
    let share = rows.div_ceil(rows.div_ceil(tile_size(isa, operands.code, rows).0));
    for row in (0..rows).step_by(share) {
        let height = share.min(rows - row);
        let width = tile_size(isa, operands.code, height).1;
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
    ($kernel:ident, $code:expr, $rows:expr, $panels:expr, $op:expr, [$(($r:literal, $p:literal))*]) => {
        match ($code, $rows, $panels) {
            $((Code::Q8_0, $r, $p) => $kernel::<0, $r, $p>($op),)*
            $((Code::Q4_0, $r, $p) => $kernel::<1, $r, $p>($op),)*
            $((Code::Q4K, $r, $p) => $kernel::<2, $r, $p>($op),)*
            _ => portable($rows, $panels, $op),
        }
    };
}

/// One tile.
///
/// # Safety
/// As for [`multiply`].
unsafe fn tile(isa: Isa, rows: usize, panels: usize, op: &CodedOperands) {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                choose!(
                    vnni,
                    op.code,
                    rows,
                    panels,
                    op,
                    [(1, 1)(2, 1)(3, 1)(4, 1)(5, 1)(6, 1)(7, 1)(8, 1)(9, 1)(10, 1)(11, 1)(12, 1)(
                        1, 4
                    )(2, 2)(3, 2)(4, 2)(5, 2)(6, 2)]
                )
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => choose!(avx2, op.code, rows, panels, op, [(1, 1)(2, 1)(3, 1)(4, 1)]),
            _ => portable(rows, panels, op),
        }
    }
}

/// The tile in plain Rust: the order of operations, to be read.
///
/// # Safety
/// As for [`multiply`].
unsafe fn portable(rows: usize, panels: usize, op: &CodedOperands) {
    let units = op.blocks / op.code.blocks();
    for (row, panel) in (0..rows).flat_map(|row| (0..panels).map(move |panel| (row, panel))) {
        let op = op.at(row, panel);
        // SAFETY: `row` and `panel` are among the caller's.
        let (w, x, scales, sums, out) = unsafe {
            (
                std::slice::from_raw_parts(op.w, units * op.code.unit_bytes()),
                std::slice::from_raw_parts(op.x, op.blocks * BLOCK),
                std::slice::from_raw_parts(op.scales, op.blocks),
                std::slice::from_raw_parts(op.sums, op.blocks),
                std::slice::from_raw_parts_mut(op.out, LANES),
            )
        };
        out.fill(0.0);
        for block in 0..op.blocks {
            let (unit, place) = (block / op.code.blocks(), block % op.code.blocks());
            let unit = &w[unit * op.code.unit_bytes()..][..op.code.unit_bytes()];
            let x = &x[block * BLOCK..][..BLOCK];
            for (lane, out) in out.iter_mut().enumerate() {
                let sum = dot(op.code, unit, place, lane, x) - op.code.offset() * sums[block];
                let (scale, minimum) = scales_of(op.code, unit, place, lane);
                *out = (sum as f32).mul_add(scale * scales[block], *out);
                if op.code == Code::Q4K {
                    *out = minimum.mul_add(-(scales[block] * sums[block] as f32), *out);
                }
            }
        }
    }
}

/// The sum of products of the codes of a block, as they are stored, with those of a row.
fn dot(code: Code, unit: &[u8], place: usize, lane: usize, x: &[i8]) -> i32 {
    let codes = &unit[place * code.block_codes()..][..code.block_codes()];
    let stored = |k: usize| match code {
        Code::Q8_0 => codes[k / 4 * 4 * LANES + 4 * lane + k % 4],
        Code::Q4_0 | Code::Q4K => {
            let i = k % 16;
            codes[i / 4 * 4 * LANES + 4 * lane + i % 4] >> (k / 16 * 4) & 15
        }
    };
    x.iter().enumerate().map(|(k, &x)| i32::from(stored(k)) * i32::from(x)).sum()
}

/// Scale and minimum of one output in a block.
fn scales_of(code: Code, unit: &[u8], place: usize, lane: usize) -> (f32, f32) {
    let scales = &unit[code.blocks() * code.block_codes()..];
    let half = |at: usize| f16::from_le_bytes([scales[at], scales[at + 1]]).to_f32();
    if code != Code::Q4K {
        return (half((place * LANES + lane) * 2), 0.0);
    }
    let [scale, minimum] = [0, 8].map(|part| f32::from(scales[(part + place) * LANES + lane]));
    (half(16 * LANES + 2 * lane) * scale, half(18 * LANES + 2 * lane) * minimum)
}
