//! The tile of [`crate::codes`] with vector instructions. `KIND` is 0 for q8_0, 1 for q4_0, 2 for
//! q4_k. AVX2 and AVX-512 VNNI share no body: they multiply bytes in different steps, with other
//! ranges, and AVX2 halves the outputs.

use super::operands::CodedOperands;
use crate::packed::{BLOCK, Code};
use crate::panels::LANES;
use std::arch::x86_64::*;

/// Bytes ahead of the present ones that are asked for.
const AHEAD: usize = 4096;
/// Rows from which asking pays.
const AHEAD_ROWS: usize = 2;

/// Asks for the line that is `AHEAD` bytes after the one at `offset` of a panel that begins at
/// `panel`; past the panel's end, for that of the panel that is `panels` panels on, which this
/// thread reads next.
#[inline(always)]
fn prefetch(panel: *const u8, offset: usize, panels: usize, w_panel: usize) {
    let ahead = offset + AHEAD;
    let beyond = if ahead >= w_panel { (panels - 1) * w_panel } else { 0 };
    // SAFETY: a prefetch has no effect but on time, at any address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(panel.wrapping_add(ahead + beyond).cast()) };
}

const fn code(kind: u8) -> Code {
    match kind {
        0 => Code::Q8_0,
        1 => Code::Q4_0,
        _ => Code::Q4K,
    }
}

/// Four codes of a row, for every lane.
///
/// # Safety
/// They can be read.
#[inline(always)]
unsafe fn four(x: *const i8) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { x.cast::<i32>().read_unaligned() }
}

/// # Safety
/// As for [`super::multiply`], with AVX-512 F, BW and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) unsafe fn vnni<const KIND: u8, const R: usize, const P: usize>(op: &CodedOperands) {
    let code = const { code(KIND) };
    let units = op.blocks / code.blocks();
    // SAFETY: every address is that of an activation, weight or output of the caller's.
    unsafe {
        let mut totals = [[_mm512_setzero_ps(); P]; R];
        for unit in 0..units {
            let w = op.w.add(unit * code.unit_bytes());
            for place in 0..code.blocks() {
                let block = unit * code.blocks() + place;
                let codes = unit * code.unit_bytes() + place * code.block_codes();
                let sums = sums_avx512::<KIND, R, P>(op, block, codes);
                for p in 0..P {
                    let (scale, minimum) = scales_avx512::<KIND>(w.add(p * op.w_panel), place);
                    for r in 0..R {
                        let s = *op.scales.add(r * op.blocks + block);
                        let scale = _mm512_mul_ps(scale, _mm512_set1_ps(s));
                        let sum = _mm512_cvtepi32_ps(sums[r][p]);
                        totals[r][p] = _mm512_fmadd_ps(sum, scale, totals[r][p]);
                        if KIND == 2 {
                            let shift = -(s * *op.sums.add(r * op.blocks + block) as f32);
                            let shift = _mm512_set1_ps(shift);
                            totals[r][p] = _mm512_fmadd_ps(minimum, shift, totals[r][p]);
                        }
                    }
                }
            }
        }
        for r in 0..R {
            for p in 0..P {
                _mm512_storeu_ps(op.out.add(r * op.out_row + p * LANES), totals[r][p]);
            }
        }
    }
}

/// Sums of products of one block, whose codes lie `codes` bytes into each panel. The product of
/// bytes wants one side without sign: weights are stored so, and the sum starts where that is made
/// good.
///
/// # Safety
/// As for [`vnni`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn sums_avx512<const KIND: u8, const R: usize, const P: usize>(
    op: &CodedOperands,
    block: usize,
    codes: usize,
) -> [[__m512i; P]; R] {
    let code = const { code(KIND) };
    let low = _mm512_set1_epi8(15);
    let mut sums = [[_mm512_setzero_si512(); P]; R];
    // SAFETY: the caller's promise.
    unsafe {
        for r in 0..R {
            let sum = *op.sums.add(r * op.blocks + block);
            sums[r] = [_mm512_set1_epi32(-code.offset() * sum); P];
        }
        for vector in 0..code.block_codes() / 64 {
            let mut w = [_mm512_setzero_si512(); P];
            for p in 0..P {
                let (panel, offset) = (op.w.add(p * op.w_panel), codes + vector * 64);
                if R >= AHEAD_ROWS {
                    prefetch(panel, offset, P, op.w_panel);
                }
                w[p] = _mm512_loadu_si512(panel.add(offset).cast());
            }
            for r in 0..R {
                let x = op.x.add((r * op.blocks + block) * BLOCK + 4 * vector);
                let first = _mm512_set1_epi32(four(x));
                if KIND == 0 {
                    for p in 0..P {
                        sums[r][p] = _mm512_dpbusd_epi32(sums[r][p], w[p], first);
                    }
                    continue;
                }
                let second = _mm512_set1_epi32(four(x.add(16)));
                for p in 0..P {
                    let lower = _mm512_and_si512(w[p], low);
                    let upper = _mm512_and_si512(_mm512_srli_epi16::<4>(w[p]), low);
                    sums[r][p] = _mm512_dpbusd_epi32(sums[r][p], lower, first);
                    sums[r][p] = _mm512_dpbusd_epi32(sums[r][p], upper, second);
                }
            }
        }
    }
    sums
}

/// Scales and minima of 16 outputs in a block of the unit at `w`.
///
/// # Safety
/// The unit can be read, and the machine has AVX-512F.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn scales_avx512<const KIND: u8>(w: *const u8, place: usize) -> (__m512, __m512) {
    let code = const { code(KIND) };
    // SAFETY: all inside the unit.
    unsafe {
        let scales = w.add(code.blocks() * code.block_codes());
        let halves = |at: usize| _mm512_cvtph_ps(_mm256_loadu_si256(scales.add(at).cast()));
        let bytes = |at: usize| {
            _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(scales.add(at).cast())))
        };
        if KIND != 2 {
            return (halves(place * 2 * LANES), _mm512_setzero_ps());
        }
        let scale = _mm512_mul_ps(halves(16 * LANES), bytes(place * LANES));
        let minimum = _mm512_mul_ps(halves(18 * LANES), bytes((8 + place) * LANES));
        (scale, minimum)
    }
}

/// # Safety
/// As for [`super::multiply`], with AVX2, FMA and F16C. `P` is 1.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn avx2<const KIND: u8, const R: usize, const P: usize>(op: &CodedOperands) {
    const { assert!(P == 1, "one panel at a time") };
    let code = const { code(KIND) };
    let units = op.blocks / code.blocks();
    // SAFETY: every address is that of an activation, weight or output of the caller's.
    unsafe {
        let mut totals = [[_mm256_setzero_ps(); 2]; R];
        for unit in 0..units {
            let w = op.w.add(unit * code.unit_bytes());
            for place in 0..code.blocks() {
                let block = unit * code.blocks() + place;
                let codes = w.add(place * code.block_codes());
                for half in 0..2 {
                    let sums = match KIND {
                        0 => bytes_avx2::<R>(op, block, codes.add(32 * half)),
                        _ => nibbles_avx2::<KIND, R>(op, block, codes.add(32 * half)),
                    };
                    let (scale, minimum) = scales_avx2::<KIND>(w, place, half);
                    for r in 0..R {
                        let s = *op.scales.add(r * op.blocks + block);
                        let scale = _mm256_mul_ps(scale, _mm256_set1_ps(s));
                        let sum = _mm256_cvtepi32_ps(sums[r]);
                        totals[r][half] = _mm256_fmadd_ps(sum, scale, totals[r][half]);
                        if KIND == 2 {
                            let shift = -(s * *op.sums.add(r * op.blocks + block) as f32);
                            let shift = _mm256_set1_ps(shift);
                            totals[r][half] = _mm256_fmadd_ps(minimum, shift, totals[r][half]);
                        }
                    }
                }
            }
        }
        for r in 0..R {
            for half in 0..2 {
                _mm256_storeu_ps(op.out.add(r * op.out_row + 8 * half), totals[r][half]);
            }
        }
    }
}

/// Sums of products of one block of q8_0 for 8 outputs. The product of bytes wants one side without
/// sign: the weight's goes over to the activation. Pairs reach 2 x 128 x 127, which 16 bits hold.
///
/// # Safety
/// As for [`avx2`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn bytes_avx2<const R: usize>(
    op: &CodedOperands,
    block: usize,
    codes: *const u8,
) -> [__m256i; R] {
    // SAFETY: the caller's promise.
    unsafe {
        let (ones, flip) = (_mm256_set1_epi16(1), _mm256_set1_epi8(i8::MIN));
        let mut sums = [_mm256_setzero_si256(); R];
        for vector in 0..BLOCK / 4 {
            let w = _mm256_xor_si256(_mm256_loadu_si256(codes.add(64 * vector).cast()), flip);
            let size = _mm256_abs_epi8(w);
            for r in 0..R {
                let x = op.x.add((r * op.blocks + block) * BLOCK + 4 * vector);
                let x = _mm256_sign_epi8(_mm256_set1_epi32(four(x)), w);
                let pairs = _mm256_maddubs_epi16(size, x);
                sums[r] = _mm256_add_epi32(sums[r], _mm256_madd_epi16(pairs, ones));
            }
        }
        sums
    }
}

/// The same for codes of 4 bits, which are never negative. All pairs of a block reach
/// 8 x 2 x 15 x 127, which 16 bits hold.
///
/// # Safety
/// As for [`avx2`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn nibbles_avx2<const KIND: u8, const R: usize>(
    op: &CodedOperands,
    block: usize,
    codes: *const u8,
) -> [__m256i; R] {
    // SAFETY: the caller's promise.
    unsafe {
        let (ones, low) = (_mm256_set1_epi16(1), _mm256_set1_epi8(15));
        let mut pairs = [_mm256_setzero_si256(); R];
        for vector in 0..BLOCK / 8 {
            let both = _mm256_loadu_si256(codes.add(64 * vector).cast());
            let lower = _mm256_and_si256(both, low);
            let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(both), low);
            for r in 0..R {
                let x = op.x.add((r * op.blocks + block) * BLOCK + 4 * vector);
                let first = _mm256_maddubs_epi16(lower, _mm256_set1_epi32(four(x)));
                let second = _mm256_maddubs_epi16(upper, _mm256_set1_epi32(four(x.add(16))));
                pairs[r] = _mm256_add_epi16(pairs[r], _mm256_add_epi16(first, second));
            }
        }
        let offset = const { code(KIND).offset() };
        let mut sums = [_mm256_setzero_si256(); R];
        for r in 0..R {
            let start = _mm256_set1_epi32(-offset * *op.sums.add(r * op.blocks + block));
            sums[r] = _mm256_add_epi32(start, _mm256_madd_epi16(pairs[r], ones));
        }
        sums
    }
}

/// Scales and minima of 8 outputs in a block of the unit at `w`.
///
/// # Safety
/// The unit can be read, and the machine has AVX2 and F16C.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn scales_avx2<const KIND: u8>(w: *const u8, place: usize, half: usize) -> (__m256, __m256) {
    let code = const { code(KIND) };
    // SAFETY: all inside the unit.
    unsafe {
        let scales = w.add(code.blocks() * code.block_codes());
        let halves = |at: usize| {
            let at = at + 16 * half;
            _mm256_cvtph_ps(_mm_loadu_si128(scales.add(at).cast()))
        };
        let bytes = |at: usize| {
            let at = scales.add(at + 8 * half);
            _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(at.cast())))
        };
        if KIND != 2 {
            return (halves(place * 2 * LANES), _mm256_setzero_ps());
        }
        let scale = _mm256_mul_ps(halves(16 * LANES), bytes(place * LANES));
        let minimum = _mm256_mul_ps(halves(18 * LANES), bytes((8 + place) * LANES));
        (scale, minimum)
    }
}
