//! The tile of [`crate::tile`] with vector instructions. Arrays of constant size stay in registers.
//!
//! The bodies for AVX2 and AVX-512 are both written out: one generic body needs a trait of their
//! registers and two implementations of it, which are as long as the body that it saves.

use super::operands::Operands;
use super::portable::portable;
use crate::number::Number;
use crate::panels::LANES;
use std::arch::x86_64::{
    _MM_HINT_T1, _mm_prefetch, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps,
    _mm256_storeu_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_storeu_ps,
};

/// Bytes of a cache line.
const LINE: usize = 64;
/// Cache lines ahead of the present one that are asked for. Measured on Zen 4:
/// into the second level and far ahead; nearer, or into the first, is slower than not asking.
const AHEAD: usize = 256;
/// Rows from which asking pays. With fewer, the loads themselves run far enough ahead.
const AHEAD_ROWS: usize = 4;

/// Asks for the weights `AHEAD` lines on; past the end of a panel, for those of the panel that
/// is `P` panels on, which this thread reads next.
#[inline(always)]
fn prefetch<N: Number, const P: usize>(op: &Operands<N>, k: usize) {
    // One line of 64 bytes holds the weights of so many inputs.
    let inputs = LINE / (LANES * size_of::<N>());
    if !k.is_multiple_of(inputs) {
        return;
    }
    let ahead = k + AHEAD * inputs;
    let beyond = if ahead >= op.depth { (P - 1) * op.w_panel } else { 0 };
    let base = op.w.wrapping_add(ahead * LANES + beyond);
    for p in 0..P {
        // SAFETY: a prefetch has no effect but on time, at any address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(base.wrapping_add(p * op.w_panel).cast()) };
    }
}

/// # Safety
/// As for [`super::multiply`], with AVX-512F.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn avx512<N: Number, const R: usize, const P: usize>(op: &Operands<N>) {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        match (op.interleaved, op.prefetch && R >= AHEAD_ROWS) {
            (true, _) if op.x_row == R => avx512_rows::<N, R, P, true, false>(op),
            (true, _) => portable(R, P, op),
            (false, false) => avx512_rows::<N, R, P, false, false>(op),
            (false, true) => avx512_rows::<N, R, P, false, true>(op),
        }
    }
}

/// # Safety
/// As for [`super::multiply`], with AVX-512F; `INTER` says `x[k][row]` with exactly `R` rows.
#[target_feature(enable = "avx512f")]
unsafe fn avx512_rows<
    N: Number,
    const R: usize,
    const P: usize,
    const INTER: bool,
    const AHEAD: bool,
>(
    op: &Operands<N>,
) {
    let (row, step) = if INTER { (1, R) } else { (op.x_row, 1) };
    // SAFETY: every address is that of an activation, weight or output of the caller's.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); P]; R];
        if op.resume {
            for r in 0..R {
                for p in 0..P {
                    sums[r][p] = _mm512_loadu_ps(op.out.add(r * op.out_row + p * LANES));
                }
            }
        }
        for k in 0..op.depth {
            if AHEAD {
                prefetch::<N, P>(op, k);
            }
            let mut weights = [_mm512_setzero_ps(); P];
            for p in 0..P {
                weights[p] = N::load_avx512(op.w.add(p * op.w_panel + k * LANES));
            }
            for r in 0..R {
                let x = _mm512_set1_ps(*op.x.add(r * row + k * step));
                for p in 0..P {
                    sums[r][p] = _mm512_fmadd_ps(weights[p], x, sums[r][p]);
                }
            }
        }
        for r in 0..R {
            for p in 0..P {
                _mm512_storeu_ps(op.out.add(r * op.out_row + p * LANES), sums[r][p]);
            }
        }
    }
}

/// # Safety
/// As for [`super::multiply`], with AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn avx2<N: Number, const R: usize, const P: usize>(op: &Operands<N>) {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        match (op.interleaved, op.prefetch && R >= AHEAD_ROWS) {
            (true, _) if op.x_row == R => avx2_rows::<N, R, P, true, false>(op),
            (true, _) => portable(R, P, op),
            (false, false) => avx2_rows::<N, R, P, false, false>(op),
            (false, true) => avx2_rows::<N, R, P, false, true>(op),
        }
    }
}

/// # Safety
/// As for [`super::multiply`], with AVX2, FMA and F16C; `INTER` says `x[k][row]` with exactly `R`
/// rows.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn avx2_rows<
    N: Number,
    const R: usize,
    const P: usize,
    const INTER: bool,
    const AHEAD: bool,
>(
    op: &Operands<N>,
) {
    let (row, step) = if INTER { (1, R) } else { (op.x_row, 1) };
    // SAFETY: every address is that of an activation, weight or output of the caller's.
    unsafe {
        let mut sums = [[[_mm256_setzero_ps(); 2]; P]; R];
        if op.resume {
            for r in 0..R {
                for p in 0..P {
                    let out = op.out.add(r * op.out_row + p * LANES);
                    sums[r][p] = [_mm256_loadu_ps(out), _mm256_loadu_ps(out.add(8))];
                }
            }
        }
        for k in 0..op.depth {
            if AHEAD {
                prefetch::<N, P>(op, k);
            }
            let mut weights = [[_mm256_setzero_ps(); 2]; P];
            for p in 0..P {
                weights[p] = N::load_avx2(op.w.add(p * op.w_panel + k * LANES));
            }
            for r in 0..R {
                let x = _mm256_set1_ps(*op.x.add(r * row + k * step));
                for p in 0..P {
                    sums[r][p][0] = _mm256_fmadd_ps(weights[p][0], x, sums[r][p][0]);
                    sums[r][p][1] = _mm256_fmadd_ps(weights[p][1], x, sums[r][p][1]);
                }
            }
        }
        for r in 0..R {
            for p in 0..P {
                let out = op.out.add(r * op.out_row + p * LANES);
                _mm256_storeu_ps(out, sums[r][p][0]);
                _mm256_storeu_ps(out.add(8), sums[r][p][1]);
            }
        }
    }
}
