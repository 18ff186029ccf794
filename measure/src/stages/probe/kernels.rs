//! The two loops that the probe times, in AVX2/FMA where the processor has it, else portable.

/// How a thread walks its array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pattern {
    /// Stretches of the array read side by side, as a kernel reads several rows at once.
    pub streams: usize,
    /// Floats ahead of the reading place that are asked for early; 0 leaves it to the processor.
    pub prefetch: usize,
}

impl Pattern {
    /// The patterns tried.
    pub(super) const ALL: [Self; 7] = [
        Self { streams: 1, prefetch: 0 },
        Self { streams: 1, prefetch: 256 },
        Self { streams: 1, prefetch: 512 },
        Self { streams: 1, prefetch: 1024 },
        Self { streams: 2, prefetch: 512 },
        Self { streams: 4, prefetch: 256 },
        Self { streams: 4, prefetch: 512 },
    ];
}

/// Floats in a cache line.
const LINE: usize = 16;
/// Floats read from one stream before the next has its turn.
const BLOCK: usize = 4 * LINE;

/// Reads every float of `data` (but for a rest shorter than a block) and returns their sum, so that
/// no read can be left out.
pub(super) fn read(data: &[f32], pattern: Pattern) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has just been asked for both features.
        return unsafe { read_avx2(data, pattern) };
    }
    walk(data, pattern)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn read_avx2(data: &[f32], pattern: Pattern) -> f32 {
    walk(data, pattern)
}

/// The walk itself, compiled once for each instruction set.
#[inline(always)]
fn walk(data: &[f32], pattern: Pattern) -> f32 {
    let length = data.len() / pattern.streams / BLOCK * BLOCK;
    let mut sums = [0.0f32; BLOCK];
    for start in (0..length).step_by(BLOCK) {
        for stream in 0..pattern.streams {
            let place = stream * length + start;
            if pattern.prefetch > 0 {
                ask_for(data, place + pattern.prefetch);
            }
            for (sum, value) in sums.iter_mut().zip(&data[place..place + BLOCK]) {
                *sum += value;
            }
        }
    }
    sums.iter().sum()
}

/// Asks the memory for the block at `place`, if there is one.
#[inline(always)]
fn ask_for(data: &[f32], place: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(block) = data.get(place..place + BLOCK) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        for line in block.chunks_exact(LINE) {
            // SAFETY: the address is that of a float in `data`, and a prefetch changes nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (data, place);
}

/// Independent chains of multiply-adds that stay in registers: enough to hide the latency of one
/// (4 to 5 cycles, two started a cycle, 8 floats each: 10 vectors; 12 fit the 16 registers).
pub(super) struct Chains([f32; Chains::LANES]);

impl Chains {
    /// Floats multiplied in one step.
    pub(super) const LANES: usize = 12 * 8;

    pub(super) fn new() -> Self {
        Self([1.0; Self::LANES])
    }

    /// `steps` multiply-adds in every lane; returns their sum.
    pub(super) fn run(self, steps: usize) -> f32 {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has just been asked for both features.
            return unsafe { self.run_avx2(steps) };
        }
        self.run_portable(steps)
    }

    /// Written with intrinsics: left to itself, the compiler keeps only a part of the chains in
    /// registers and measures the first-level cache instead.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn run_avx2(self, steps: usize) -> f32 {
        use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps, _mm256_storeu_ps};
        let (factor, term) = (_mm256_set1_ps(0.999_999), _mm256_set1_ps(1e-6));
        let mut chains = [_mm256_set1_ps(self.0[0]); Self::LANES / 8];
        for _ in 0..steps {
            for chain in &mut chains {
                *chain = _mm256_fmadd_ps(*chain, factor, term);
            }
        }
        let mut sum = 0.0;
        for chain in chains {
            let mut lanes = [0.0f32; 8];
            // SAFETY: `lanes` has room for the eight floats of a vector.
            unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), chain) };
            sum += lanes.iter().sum::<f32>();
        }
        sum
    }

    /// Multiply, then add: without the instruction a fused multiply-add is a slow library call.
    fn run_portable(mut self, steps: usize) -> f32 {
        for _ in 0..steps {
            for lane in &mut self.0 {
                *lane = *lane * 0.999_999 + 1e-6;
            }
        }
        self.0.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_reads_every_block() {
        // source: the sum of n ones is n (exact in f32 below 2^24)
        let data = vec![1.0f32; 8 * BLOCK];
        for pattern in Pattern::ALL {
            assert_eq!(read(&data, pattern), (8 * BLOCK) as f32, "{pattern:?}");
            assert_eq!(walk(&data, pattern), (8 * BLOCK) as f32, "{pattern:?}");
        }
    }

    #[test]
    fn the_chains_compute_what_they_are_counted_for() {
        // source: x -> a x + b with x0 = 1 has the value a^n + b (1 - a^n) / (1 - a), here 1.0
        // (b = 1 - a), whatever n
        for sum in [Chains::new().run(1000), Chains::new().run_portable(1000)] {
            assert!((sum / Chains::LANES as f32 - 1.0).abs() < 1e-3, "{sum}");
        }
    }
}
