//! The element-wise parts of the network, forward and backward, on plain slices.
//!
//! `pulp` picks the widest instruction set at run time; the loops below are written so that the
//! compiler can use it.

use crate::targets::DraftLoss;
use pulp::Arch;
use s3d_model::config::Rope;

/// e^x, relative error below 2e-7 (Cephes' `expf` polynomial).
#[inline(always)]
fn exp(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + MAGIC;
    let n = shifted - MAGIC;
    let r = x - n * 0.693_359_4 - n * -2.121_944_4e-4;
    let mut p = 1.987_569_2e-4;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + c;
    }
    let power = (shifted.to_bits().wrapping_sub(MAGIC.to_bits()) << 23).wrapping_add(0x3F80_0000);
    (p * r * r + r + 1.0) * f32::from_bits(power)
}

/// Inner product with eight running sums, so that it can be vectorised.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a8.remainder().iter().zip(b8.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a8.zip(b8) {
        for i in 0..8 {
            lanes[i] += a[i] * b[i];
        }
    }
    rest + lanes.iter().sum::<f32>()
}

/// `y += factor * x`.
#[inline(always)]
pub(crate) fn add_scaled(y: &mut [f32], factor: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += factor * x;
    }
}

/// Adds `bias` to every row.
pub(crate) fn add_bias(rows: &mut [f32], bias: &[f32]) {
    Arch::new().dispatch(|| {
        for row in rows.chunks_exact_mut(bias.len()) {
            add_scaled(row, 1.0, bias);
        }
    });
}

/// Gradient of [`add_bias`], added to `d_bias`.
pub(crate) fn add_bias_back(d_bias: &mut [f32], d_rows: &[f32]) {
    Arch::new().dispatch(|| {
        for row in d_rows.chunks_exact(d_bias.len()) {
            add_scaled(d_bias, 1.0, row);
        }
    });
}

/// RMSNorm (Zhang, Sennrich 2019) of every row: `y = x * r * gain`, `r = (mean(x^2) + eps)^-1/2`.
/// `inverse` keeps r of each row.
pub(crate) fn norm(y: &mut [f32], inverse: &mut [f32], x: &[f32], gain: &[f32], epsilon: f32) {
    let width = gain.len();
    Arch::new().dispatch(|| {
        for ((y, r), x) in
            y.chunks_exact_mut(width).zip(inverse.iter_mut()).zip(x.chunks_exact(width))
        {
            *r = 1.0 / (dot(x, x) / width as f32 + epsilon).sqrt();
            for ((y, x), g) in y.iter_mut().zip(x).zip(gain) {
                *y = x * *r * g;
            }
        }
    });
}

/// Gradients of [`norm`], added to `d_x` and, where it is wanted, to `d_gain`.
pub(crate) fn norm_back(
    d_x: &mut [f32],
    d_gain: Option<&mut [f32]>,
    d_y: &[f32],
    x: &[f32],
    inverse: &[f32],
    gain: &[f32],
) {
    let width = gain.len();
    let (mut pulled, mut unwanted) = (vec![0.0; width], vec![0.0; width]);
    let d_gain = d_gain.unwrap_or(&mut unwanted);
    Arch::new().dispatch(|| {
        let rows = d_y.chunks_exact(width).zip(x.chunks_exact(width)).zip(inverse);
        for (d_x, ((d_y, x), r)) in d_x.chunks_exact_mut(width).zip(rows) {
            for (((p, d), g), (x, d_g)) in
                pulled.iter_mut().zip(d_y).zip(gain).zip(x.iter().zip(d_gain.iter_mut()))
            {
                *p = d * g;
                *d_g += d * x * r;
            }
            let pull = dot(&pulled, x) * r * r * r / width as f32;
            for ((d_x, p), x) in d_x.iter_mut().zip(&pulled).zip(x) {
                *d_x += p * r - x * pull;
            }
        }
    });
}

/// SwiGLU (Shazeer 2020): rows of `gate_up` hold gate and up side by side; `y = silu(gate) * up`.
pub(crate) fn swiglu(y: &mut [f32], gate_up: &[f32], width: usize) {
    Arch::new().dispatch(|| {
        for (y, row) in y.chunks_exact_mut(width).zip(gate_up.chunks_exact(2 * width)) {
            let (gate, up) = row.split_at(width);
            for ((y, g), u) in y.iter_mut().zip(gate).zip(up) {
                *y = g / (1.0 + exp(-g)) * u;
            }
        }
    });
}

/// Gradient of [`swiglu`] into `d_gate_up`.
pub(crate) fn swiglu_back(d_gate_up: &mut [f32], d_y: &[f32], gate_up: &[f32], width: usize) {
    Arch::new().dispatch(|| {
        let rows = d_y.chunks_exact(width).zip(gate_up.chunks_exact(2 * width));
        for (d_row, (d_y, row)) in d_gate_up.chunks_exact_mut(2 * width).zip(rows) {
            let (d_gate, d_up) = d_row.split_at_mut(width);
            let (gate, up) = row.split_at(width);
            let outputs = d_gate.iter_mut().zip(d_up.iter_mut());
            for ((d_g, d_u), ((d, g), u)) in outputs.zip(d_y.iter().zip(gate).zip(up)) {
                let sigmoid = 1.0 / (1.0 + exp(-g));
                *d_u = d * g * sigmoid;
                *d_g = d * u * sigmoid * (1.0 + g * (1.0 - sigmoid));
            }
        }
    });
}

/// Softmax over two pieces together, in place (the keys of the text and those of the own group).
#[inline(always)]
pub(crate) fn softmax(a: &mut [f32], b: &mut [f32]) {
    let top = largest(a).max(largest(b));
    let sum = exponentials(a, top) + exponentials(b, top);
    for v in a.iter_mut().chain(b) {
        *v /= sum;
    }
}

/// Softmax of rows of `width` values, in place.
pub(crate) fn softmax_rows(rows: &mut [f32], width: usize) {
    Arch::new().dispatch(|| {
        for row in rows.chunks_exact_mut(width) {
            softmax(row, &mut []);
        }
    });
}

#[inline(always)]
fn largest(values: &[f32]) -> f32 {
    let mut lanes = [f32::MIN; 8];
    let eights = values.chunks_exact(8);
    let rest = eights.remainder().iter().copied().fold(f32::MIN, f32::max);
    for eight in eights {
        for (lane, v) in lanes.iter_mut().zip(eight) {
            *lane = if *v > *lane { *v } else { *lane };
        }
    }
    lanes.into_iter().fold(rest, f32::max)
}

/// Replaces every value by `exp(value - top)`; returns their sum.
#[inline(always)]
fn exponentials(values: &mut [f32], top: f32) -> f32 {
    let mut lanes = [0f32; 8];
    for eight in values.chunks_mut(8) {
        for (v, lane) in eight.iter_mut().zip(&mut lanes) {
            *v = exp(*v - top);
            *lane += *v;
        }
    }
    lanes.iter().sum()
}

/// Turns a row of logits into `weight` times the gradient of its loss; returns its cross-entropy
/// with `target` in nats. `says` are the probabilities that a soft loss learns; without them
/// `target` alone is learned.
///
/// With p the row's own probabilities and t the target, the gradient of cross-entropy is `p - t`,
/// that of `1 - p_t` is `p_t (p - t)`.
pub(crate) fn row_loss(
    logits: &mut [f32],
    target: u32,
    weight: f32,
    loss: DraftLoss,
    says: &[f32],
) -> f32 {
    let wanted = logits[target as usize];
    let (top, sum) = Arch::new().dispatch(|| {
        let top = largest(logits);
        (top, exponentials(logits, top))
    });
    let hit = logits[target as usize] / sum;
    let soft = if says.is_empty() { 0.0 } else { loss.soft };
    let all = (1.0 - loss.variation) + loss.variation * hit;
    let said = (1.0 - loss.variation) * soft;
    Arch::new().dispatch(|| {
        let factor = weight * all / sum;
        logits.iter_mut().for_each(|v| *v *= factor);
        if said > 0.0 {
            add_scaled(logits, -weight * said, says);
        }
    });
    logits[target as usize] -= weight * (all - said);
    sum.ln() + top - wanted
}

/// Rotary embedding (Su et al. 2021) in the half-split form of Hugging Face.
pub(crate) struct Rotary {
    half: usize,
    /// (cos, sin) of position p and pair j at `p * half + j`.
    table: Vec<(f32, f32)>,
}

impl Rotary {
    /// Angles for positions below `positions`.
    pub(crate) fn new(rope: &Rope, positions: usize) -> Self {
        let table = (0..positions)
            .flat_map(|p| rope.frequencies.iter().map(move |frequency| p as f64 * frequency))
            .map(|a| ((a.cos() * rope.scale) as f32, (a.sin() * rope.scale) as f32))
            .collect();
        Self { half: rope.frequencies.len(), table }
    }

    /// (cos, sin) of every pair at `position`.
    pub(crate) fn angles(&self, position: usize) -> &[(f32, f32)] {
        &self.table[position * self.half..][..self.half]
    }

    /// Rotates every head of one row to `position`; `sign` -1 turns back (which is the gradient:
    /// the transpose, also where the rotation scales).
    pub(crate) fn rotate(&self, heads: &mut [f32], position: usize, sign: f32) {
        let angles = self.angles(position);
        for head in heads.chunks_exact_mut(2 * self.half) {
            let (left, right) = head.split_at_mut(self.half);
            for ((l, r), (cos, sin)) in left.iter_mut().zip(right).zip(angles) {
                (*l, *r) = (*l * cos - *r * sin * sign, *r * cos + *l * sin * sign);
            }
        }
    }
}

/// Index of the largest value, the first of equals.
pub(crate) fn arg_max(values: &[f32]) -> u32 {
    let mut best = 0;
    for (i, v) in values.iter().enumerate() {
        if *v > values[best] {
            best = i;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// source: the standard library's f64 exponential.
    #[test]
    fn exponential_is_accurate() {
        for i in -8700..8800 {
            let x = i as f32 / 100.0;
            let wanted = f64::from(x).exp();
            let error = (f64::from(exp(x)) - wanted).abs() / wanted;
            assert!(error < 2.5e-7, "exp({x}) is off by {error}");
        }
    }

    /// source: exp(i) / sum of exp over six values, in f64 (Python: math.exp).
    #[test]
    fn softmax_spans_both_pieces() {
        let (mut a, mut b) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0]);
        softmax(&mut a, &mut b);
        let wanted =
            [0.004_269_78, 0.011_606_46, 0.031_549_63, 0.085_760_79, 0.233_122, 0.633_691_3];
        for (found, wanted) in a.iter().chain(&b).zip(wanted) {
            assert!((found - wanted).abs() < 1e-7, "{found} {wanted}");
        }
        let mut one = [-1e30];
        softmax(&mut one, &mut []);
        assert_eq!(one, [1.0]);
    }

    /// source: uniform logits cost ln(n); the gradient is weight * (p - onehot).
    #[test]
    fn cross_entropy_of_uniform_logits() {
        let mut logits = vec![3.0; 50];
        let loss = row_loss(&mut logits, 7, 2.0, DraftLoss::default(), &[]);
        assert!((loss - 50f32.ln()).abs() < 1e-5);
        assert!((logits[0] - 0.04).abs() < 1e-6 && (logits[7] + 1.96).abs() < 1e-6);
    }

    /// source: the losses by their definitions in f64, and their central differences.
    #[test]
    fn gradients_of_mixed_losses_are_derivatives() {
        let x: Vec<f64> = (0..9).map(|i| f64::from(i * i % 7) * 0.6 - 1.0).collect();
        let mut says: Vec<f32> = (0..9).map(|i| 1.0 + (i % 4) as f32).collect();
        let total: f32 = says.iter().sum();
        says.iter_mut().for_each(|q| *q /= total);
        let target = 4;
        for (soft, variation) in [(0.0, 0.0), (1.0, 0.0), (0.7, 0.0), (0.0, 1.0), (0.5, 0.4)] {
            let value = |x: &[f64]| {
                let sum: f64 = x.iter().map(|v| v.exp()).sum();
                let nats = |i: usize| sum.ln() - x[i];
                let whole: f64 = (0..9).map(|i| f64::from(says[i]) * nats(i)).sum();
                let mixed = soft * whole + (1.0 - soft) * nats(target);
                (1.0 - variation) * mixed + variation * (1.0 - (-nats(target)).exp())
            };
            let loss = DraftLoss { soft: soft as f32, variation: variation as f32 };
            let mut logits: Vec<f32> = x.iter().map(|v| *v as f32).collect();
            row_loss(&mut logits, target as u32, 3.0, loss, &says);
            for (i, found) in logits.iter().enumerate() {
                let along = |step: f64| {
                    let mut moved = x.clone();
                    moved[i] += step;
                    value(&moved)
                };
                let slope = 3.0 * (along(1e-4) - along(-1e-4)) / 2e-4;
                assert!((f64::from(*found) - slope).abs() < 1e-5, "{soft} {variation} {i}");
            }
        }
    }

    /// Turning there and back is nothing; the angle between two rows depends on their distance
    /// alone.
    #[test]
    fn rotation_is_relative() {
        let frequencies = (0..4).map(|i| 10_000f64.powf(-f64::from(i) / 4.0)).collect();
        let rotary = Rotary::new(&Rope { frequencies, scale: 1.0, limit: None }, 64);
        let (a, b) = (
            [0.3, -1.0, 0.5, 2.0, 0.1, 0.7, -0.2, 1.1],
            [1.0, 0.2, -0.4, 0.6, 0.9, -1.3, 0.5, 0.8],
        );
        let product = |p: usize, q: usize| {
            let (mut a, mut b) = (a, b);
            rotary.rotate(&mut a, p, 1.0);
            rotary.rotate(&mut b, q, 1.0);
            dot(&a, &b)
        };
        assert!((product(3, 10) - product(50, 57)).abs() < 1e-5);
        assert!((product(3, 10) - product(3, 11)).abs() > 1e-3);
        let mut there = a;
        rotary.rotate(&mut there, 37, 1.0);
        rotary.rotate(&mut there, 37, -1.0);
        assert!(there.iter().zip(&a).all(|(x, y)| (x - y).abs() < 1e-6));
    }
}
