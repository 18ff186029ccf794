//! Number types of weights that stand alone: each is widened to `f32`, exactly, as it is loaded.

use crate::panels::LANES;
use half::{bf16, f16};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m128i, __m256, __m256i, __m512, _mm_loadu_si128, _mm256_castsi256_ps, _mm256_cvtepu16_epi32,
    _mm256_cvtph_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_slli_epi32, _mm512_castsi512_ps,
    _mm512_cvtepu16_epi32, _mm512_cvtph_ps, _mm512_loadu_ps, _mm512_slli_epi32,
};

/// A weight in a panel. Widening is exact, so a product over halves has the bits of the product
/// over the same numbers as `f32`.
pub(crate) trait Number: Copy + Send + Sync + 'static {
    /// The value.
    fn widen(self) -> f32;

    /// The [`LANES`] weights from `from` on.
    ///
    /// # Safety
    /// They can be read, and the machine has AVX-512F.
    #[cfg(target_arch = "x86_64")]
    unsafe fn load_avx512(from: *const Self) -> __m512;

    /// The [`LANES`] weights from `from` on, in two halves.
    ///
    /// # Safety
    /// They can be read, and the machine has AVX2 and F16C.
    #[cfg(target_arch = "x86_64")]
    unsafe fn load_avx2(from: *const Self) -> [__m256; 2];
}

const _: () = assert!(LANES == 16, "the loads below fetch 16 weights");

impl Number for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn load_avx512(from: *const Self) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn load_avx2(from: *const Self) -> [__m256; 2] {
        // SAFETY: the caller's promise.
        unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] }
    }
}

impl Number for f16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn load_avx512(from: *const Self) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast::<__m256i>())) }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn load_avx2(from: *const Self) -> [__m256; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let from = from.cast::<__m128i>();
            [_mm256_cvtph_ps(_mm_loadu_si128(from)), _mm256_cvtph_ps(_mm_loadu_si128(from.add(1)))]
        }
    }
}

impl Number for bf16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn load_avx512(from: *const Self) -> __m512 {
        // SAFETY: the caller's promise. The number is the upper half of an `f32`.
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast::<__m256i>()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn load_avx2(from: *const Self) -> [__m256; 2] {
        // SAFETY: the caller's promise. The number is the upper half of an `f32`.
        unsafe {
            let from = from.cast::<__m128i>();
            let halves = [
                _mm256_cvtepu16_epi32(_mm_loadu_si128(from)),
                _mm256_cvtepu16_epi32(_mm_loadu_si128(from.add(1))),
            ];
            [
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(halves[0])),
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(halves[1])),
            ]
        }
    }
}
