//! Norm, rotation, activation, softmax and arg max over slices, one row at a time.
//!
//! Plain Rust without fused multiply-add and without library functions, so the same bits come out
//! whatever instructions the compiler picks; `versions` compiles each body once per instruction
//! set.

use crate::isa::Isa;
use crate::panels::LANES;

/// Compiles a function once per instruction set and chooses at run time.
macro_rules! versions {
    ($(#[$doc:meta])* pub fn $name:ident($($arg:ident: $type:ty),*) $(-> $ret:ty)? $body:block) => {
        $(#[$doc])*
        pub fn $name(isa: Isa, $($arg: $type),*) $(-> $ret)? {
            #[inline(always)]
            fn body($($arg: $type),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2($($arg: $type),*) $(-> $ret)? { body($($arg),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f")]
            fn avx512($($arg: $type),*) $(-> $ret)? { body($($arg),*) }
            match isa {
                // SAFETY: an `Isa` names what this machine has (see `Isa::available`).
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => unsafe { avx512($($arg),*) },
                _ => body($($arg),*),
            }
        }
    };
}

/// e to the power of `x`, within 2 units in the last place; 0 below -87, finite up to 88.
///
/// Range reduction by `x = n ln 2 + r` and the polynomial of the Cephes library.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let inside = if x < -87.0 { -87.0 } else { x };
    let inside = if inside > 88.0 { 88.0 } else { inside };
    let rounded = inside * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = inside - n * LN_2_HIGH - n * LN_2_LOW;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 0.166_666_66;
    let p = p * r + 0.5;
    let mantissa = p * (r * r) + r + 1.0;
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
    if x < -87.0 { 0.0 } else { mantissa * power }
}

/// Adds the lanes of a partial sum in a fixed order.
#[inline(always)]
fn add_lanes(lanes: [f32; LANES]) -> f32 {
    let mut lanes = lanes;
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

versions! {
    /// RMSNorm of one row: `y = x / sqrt(mean(x^2) + epsilon) * weight` (arXiv 1910.07467, eq. 4).
    pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, y: &mut [f32]) {
        let mut lanes = [0.0f32; LANES];
        for chunk in x.chunks(LANES) {
            for (lane, x) in lanes.iter_mut().zip(chunk) {
                *lane += x * x;
            }
        }
        let scale = 1.0 / (add_lanes(lanes) / x.len() as f32 + epsilon).sqrt();
        for ((y, x), weight) in y.iter_mut().zip(x).zip(weight) {
            *y = x * scale * weight;
        }
    }
}

versions! {
    /// SwiGLU: `out = gate * sigmoid(gate) * up` (arXiv 2002.05202, eq. 6), element by element.
    pub fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
        for ((out, &gate), up) in out.iter_mut().zip(gate).zip(up) {
            *out = gate / (1.0 + exp(-gate)) * up;
        }
    }
}

versions! {
    /// Rotates one head in the half-split form: channel `i` with channel `i + half` (arXiv
    /// 2104.09864, eq. 34), then multiplies by `scale`. `cosines` and `sines` hold one angle per
    /// pair; channels beyond the last pair are only multiplied.
    pub fn rotate(head: &mut [f32], cosines: &[f32], sines: &[f32], scale: f32) {
        let (head, rest) = head.split_at_mut(2 * cosines.len());
        rest.iter_mut().for_each(|x| *x *= scale);
        let (low, high) = head.split_at_mut(cosines.len());
        for (((low, high), cosine), sine) in low.iter_mut().zip(high).zip(cosines).zip(sines) {
            let (a, b) = (*low, *high);
            *low = (a * cosine - b * sine) * scale;
            *high = (b * cosine + a * sine) * scale;
        }
    }
}

versions! {
    /// Replaces scores by `exp(score - max)` and returns the sum of these. The sum depends on the
    /// index of each score alone, so the same keys give the same sum in any pass.
    pub fn softmax_numerators(scores: &mut [f32]) -> f32 {
        let mut peaks = [f32::NEG_INFINITY; LANES];
        for chunk in scores.chunks(LANES) {
            for (peak, &score) in peaks.iter_mut().zip(chunk) {
                *peak = if score > *peak { score } else { *peak };
            }
        }
        let peak = peaks.iter().fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a });
        let mut lanes = [0.0f32; LANES];
        for chunk in scores.chunks_mut(LANES) {
            for (lane, score) in lanes.iter_mut().zip(chunk) {
                *score = exp(*score - peak);
                *lane += *score;
            }
        }
        add_lanes(lanes)
    }
}

/// The index of the largest number, the first of equals; 0 where nothing compares.
pub fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (i, &logit) in logits.iter().enumerate() {
        if logit > logits[best] || logits[best].is_nan() {
            best = i;
        }
    }
    best as u32
}

/// The probability that softmax gives to `logits[index]`, in f64.
pub fn probability(logits: &[f32], index: usize) -> f64 {
    let peak = f64::from(logits[argmax(logits) as usize]);
    let power = |logit: f32| (f64::from(logit) - peak).exp();
    power(logits[index]) / logits.iter().map(|&l| power(l)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_numbers::numbers;

    #[test]
    fn exp_is_close_to_the_exact_one() {
        // source: f64::exp
        for i in -870..=880 {
            let x = i as f32 / 10.0;
            let (found, exact) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((found / exact - 1.0).abs() < 2.5e-7, "{x}: {found} {exact}");
        }
        assert_eq!((exp(0.0), exp(-100.0), exp(f32::NEG_INFINITY)), (1.0, 0.0, 0.0));
    }

    #[test]
    fn the_formulas_hold_and_every_instruction_set_gives_the_same_bits() {
        // source: the formulas in f64
        let (x, w) = (numbers(1, 37), numbers(2, 37));
        let mean = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / 37.0 + 1e-5;
        let sum: f64 = x.iter().map(|&x| f64::from(x).exp()).sum();
        let mut first: Option<[Vec<f32>; 4]> = None;
        for isa in Isa::available() {
            let (mut norm, mut act, mut soft, mut turned) =
                (vec![0.0; 37], vec![0.0; 37], x.clone(), x[..8].to_vec());
            rms_norm(isa, &x, &w, 1e-5, &mut norm);
            swiglu(isa, &x, &w, &mut act);
            let total = softmax_numerators(isa, &mut soft);
            rotate(isa, &mut turned, &w[..4], &w[4..8], 0.5);
            for i in 0..37 {
                let (x, w) = (f64::from(x[i]), f64::from(w[i]));
                assert!((f64::from(norm[i]) - x / mean.sqrt() * w).abs() < 1e-6);
                assert!((f64::from(act[i]) - x / (1.0 + (-x).exp()) * w).abs() < 1e-6);
                assert!((f64::from(soft[i] / total) - x.exp() / sum).abs() < 1e-6);
            }
            for i in 0..4 {
                assert!((turned[i] - 0.5 * (x[i] * w[i] - x[i + 4] * w[i + 4])).abs() < 1e-6);
                assert!((turned[i + 4] - 0.5 * (x[i + 4] * w[i] + x[i] * w[i + 4])).abs() < 1e-6);
            }
            let all = [norm, act, soft, turned];
            assert_eq!(*first.get_or_insert_with(|| all.clone()), all, "{isa:?}");
        }
    }

    #[test]
    fn the_first_of_equals_wins_and_nan_never_does() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0, 2.0]), 1);
        assert_eq!(argmax(&[f32::NAN, 1.0, 2.0, f32::NAN]), 2);
        // source: e / (e + 1 + 1)
        let e = std::f64::consts::E;
        assert!((probability(&[0.0, 1.0, 0.0], 1) - e / (e + 2.0)).abs() < 1e-12);
    }
}
