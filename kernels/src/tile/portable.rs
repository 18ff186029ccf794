//! The tile in plain Rust.

use super::operands::Operands;
use crate::number::Number;
use crate::panels::LANES;

/// The tile in plain Rust: the order of operations, to be read.
///
/// # Safety
/// As for [`super::multiply`].
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
