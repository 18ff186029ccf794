//! The tile of [`super`] with AVX-512 BF16. Arrays of constant size stay in registers.

use super::{PANEL, ROWS, round_portable};
use half::bf16;
use std::arch::x86_64::{
    __m512bh, __m512i, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_loadu_epi32, _mm512_loadu_ps,
    _mm512_set1_epi32, _mm512_setzero_ps, _mm512_storeu_epi32, _mm512_storeu_ps,
};
use std::mem::transmute;

/// Floats of a register.
const LANES: usize = 16;

/// # Safety
/// With AVX-512F and AVX-512 BF16; `x` has `ROWS * depth` pairs, `w` has `depth * PANEL`.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(crate) unsafe fn tile(
    out: &mut [[f32; PANEL]; ROWS],
    x: &[[bf16; 2]],
    w: &[[bf16; 2]],
    depth: usize,
) {
    let (x, w) = (x.as_ptr().cast::<i32>(), w.as_ptr().cast::<i32>());
    let mut sums = [[_mm512_setzero_ps(); PANEL / LANES]; ROWS];
    for k in 0..depth {
        // SAFETY: every address is that of a pair of the caller's; all bits are numbers.
        unsafe {
            let at = w.add(k * PANEL);
            let weights: [__m512bh; PANEL / LANES] =
                [bf16_pairs(_mm512_loadu_epi32(at)), bf16_pairs(_mm512_loadu_epi32(at.add(LANES)))];
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = bf16_pairs(_mm512_set1_epi32(*x.add(row * depth + k)));
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = _mm512_dpbf16_ps(*sum, x, weights);
                }
            }
        }
    }
    for (out, sums) in out.iter_mut().zip(sums) {
        for (out, sum) in out.chunks_exact_mut(LANES).zip(sums) {
            // SAFETY: the chunk has as many floats as the register.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), sum) };
        }
    }
}

/// The same bits, read as pairs of bf16.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn bf16_pairs(bits: __m512i) -> __m512bh {
    // SAFETY: both are 64 bytes, and all bits are numbers.
    unsafe { transmute::<__m512i, __m512bh>(bits) }
}

/// # Safety
/// With AVX-512F and AVX-512 BF16.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(crate) unsafe fn round(x: &[f32], pairs: &mut [[bf16; 2]]) {
    let blocks = x.chunks_exact(2 * LANES);
    let rest = blocks.len();
    for (x, pairs) in blocks.zip(pairs.chunks_exact_mut(LANES)) {
        // SAFETY: the chunks have as many values as the registers.
        unsafe {
            let (low, high) = (_mm512_loadu_ps(x.as_ptr()), _mm512_loadu_ps(x.as_ptr().add(LANES)));
            let both = _mm512_cvtne2ps_pbh(high, low);
            _mm512_storeu_epi32(pairs.as_mut_ptr().cast(), transmute::<__m512bh, __m512i>(both));
        }
    }
    round_portable(&x[rest * 2 * LANES..], &mut pairs[rest * LANES..]);
}
