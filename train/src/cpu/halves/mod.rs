//! Products with frozen matrices in `bf16`: rows of `f32` are rounded to `bf16`, products are
//! summed in `f32` (AVX-512 BF16, `vdpbf16ps`: two products a lane and step).
//!
//! A matrix is packed once: panels of 32 outputs, each the values of two neighbouring inputs side
//! by side.

#[cfg(target_arch = "x86_64")]
mod x86;

use half::bf16;

/// Outputs of a panel.
const PANEL: usize = 32;
/// Rows that go through a panel together.
const ROWS: usize = 12;

/// Whether this processor multiplies `bf16`.
pub(crate) fn available() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// A matrix `[outputs, inputs]`, packed.
pub(crate) struct Halves {
    outputs: usize,
    inputs: usize,
    /// Of each panel, `[inputs / 2, PANEL]` pairs; padded with zeros.
    pairs: Vec<[bf16; 2]>,
}

/// Rows of activations in `bf16`, for the products with one matrix or several.
#[derive(Default)]
pub(crate) struct Rows {
    count: usize,
    inputs: usize,
    /// `[count rounded up to ROWS, inputs / 2]` pairs.
    pairs: Vec<[bf16; 2]>,
}

impl Halves {
    /// Packs `weight(output, input)`.
    fn pack(outputs: usize, inputs: usize, weight: impl Fn(usize, usize) -> f32) -> Self {
        let depth = inputs.div_ceil(2);
        let panels = outputs.div_ceil(PANEL);
        let mut pairs = vec![[bf16::ZERO; 2]; panels * depth * PANEL];
        for (panel, pairs) in pairs.chunks_exact_mut((depth * PANEL).max(1)).enumerate() {
            for (k, pairs) in pairs.chunks_exact_mut(PANEL).enumerate() {
                for (lane, pair) in pairs.iter_mut().enumerate() {
                    let output = panel * PANEL + lane;
                    for (half, value) in pair.iter_mut().enumerate() {
                        let input = 2 * k + half;
                        if output < outputs && input < inputs {
                            *value = bf16::from_f32(weight(output, input));
                        }
                    }
                }
            }
        }
        Self { outputs, inputs, pairs }
    }

    /// Of `weight[outputs, inputs]`: `x * weight^T`.
    pub(crate) fn forward(weight: &[f32], inputs: usize) -> Self {
        Self::pack(weight.len() / inputs, inputs, |output, input| weight[output * inputs + input])
    }

    /// Of the same matrix: `d_y * weight`.
    pub(crate) fn backward(weight: &[f32], inputs: usize) -> Self {
        Self::pack(inputs, weight.len() / inputs, |output, input| weight[input * inputs + output])
    }

    /// `out[rows, outputs] = x * matrix^T`, or added to what is there.
    pub(crate) fn multiply(&self, out: &mut [f32], x: &Rows, add: bool) {
        assert!(x.inputs == self.inputs && out.len() == x.count * self.outputs, "sizes differ");
        let depth = self.inputs.div_ceil(2);
        for (panel, w) in self.pairs.chunks_exact((depth * PANEL).max(1)).enumerate() {
            let first = panel * PANEL;
            let width = PANEL.min(self.outputs - first);
            for (block, rows) in x.pairs.chunks_exact((ROWS * depth).max(1)).enumerate() {
                let mut sums = [[0.0; PANEL]; ROWS];
                tile(&mut sums, rows, w, depth);
                let start = block * ROWS;
                for (row, sums) in sums.iter().enumerate().take(x.count - start) {
                    let at = (start + row) * self.outputs + first;
                    let out = &mut out[at..at + width];
                    match add {
                        true => out.iter_mut().zip(sums).for_each(|(y, sum)| *y += sum),
                        false => out.copy_from_slice(&sums[..width]),
                    }
                }
            }
        }
    }
}

impl Rows {
    /// Rounds the rows `x[count, inputs]`.
    pub(crate) fn set(&mut self, x: &[f32], inputs: usize) -> &Self {
        let (count, depth) = (x.len() / inputs, inputs.div_ceil(2));
        (self.count, self.inputs) = (count, inputs);
        self.pairs.resize(count.next_multiple_of(ROWS) * depth, [bf16::ZERO; 2]);
        self.pairs[count * depth..].fill([bf16::ZERO; 2]);
        for (x, pairs) in x.chunks_exact(inputs).zip(self.pairs.chunks_exact_mut(depth.max(1))) {
            round(x, pairs);
        }
        self
    }
}

/// Rounds one row to pairs, the nearest or even.
fn round(x: &[f32], pairs: &mut [[bf16; 2]]) {
    #[cfg(target_arch = "x86_64")]
    if available() {
        // SAFETY: the processor has the instructions.
        unsafe { x86::round(x, pairs) };
        return;
    }
    round_portable(x, pairs);
}

fn round_portable(x: &[f32], pairs: &mut [[bf16; 2]]) {
    for (x, pair) in x.chunks(2).zip(pairs) {
        *pair = [bf16::from_f32(x[0]), x.get(1).map_or(bf16::ZERO, |x| bf16::from_f32(*x))];
    }
}

/// The products of `ROWS` rows with a panel.
fn tile(sums: &mut [[f32; PANEL]; ROWS], x: &[[bf16; 2]], w: &[[bf16; 2]], depth: usize) {
    assert!(x.len() == ROWS * depth && w.len() == depth * PANEL, "a tile leaves its slices");
    #[cfg(target_arch = "x86_64")]
    if available() {
        // SAFETY: the processor has the instructions, and the slices have the sizes asserted above.
        unsafe { x86::tile(sums, x, w, depth) };
        return;
    }
    tile_portable(sums, x, w, depth);
}

fn tile_portable(sums: &mut [[f32; PANEL]; ROWS], x: &[[bf16; 2]], w: &[[bf16; 2]], depth: usize) {
    for (k, w) in w.chunks_exact(PANEL).enumerate() {
        for (row, sums) in sums.iter_mut().enumerate() {
            let [a, b] = x[row * depth + k].map(bf16::to_f32);
            for (sum, w) in sums.iter_mut().zip(w) {
                *sum += a * w[0].to_f32() + b * w[1].to_f32();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 1009.0 - 0.5).collect()
    }

    /// source: the definition of both products in f64, over values rounded by the `half` crate.
    #[test]
    fn products_of_halves_equal_the_definition_whichever_instructions_compute_them() {
        let half = |x: f32| bf16::from_f32(x).to_f64();
        for (rows, outputs, inputs) in [(1, 1, 1), (12, 32, 64), (29, 70, 33), (13, 33, 96)] {
            let (x, w) = (noise(rows * inputs, 1), noise(outputs * inputs, 2));
            let d_y = noise(rows * outputs, 3);
            let mut buffer = Rows::default();
            let mut y = vec![1.0; rows * outputs];
            Halves::forward(&w, inputs).multiply(&mut y, buffer.set(&x, inputs), true);
            let mut d_x = vec![1.0; rows * inputs];
            Halves::backward(&w, inputs).multiply(&mut d_x, buffer.set(&d_y, outputs), false);
            for row in 0..rows {
                for o in 0..outputs {
                    let sum: f64 = (0..inputs)
                        .map(|i| half(x[row * inputs + i]) * half(w[o * inputs + i]))
                        .sum();
                    assert!((f64::from(y[row * outputs + o]) - 1.0 - sum).abs() < 1e-5);
                }
                for i in 0..inputs {
                    let sum: f64 = (0..outputs)
                        .map(|o| half(d_y[row * outputs + o]) * half(w[o * inputs + i]))
                        .sum();
                    assert!((f64::from(d_x[row * inputs + i]) - sum).abs() < 1e-5);
                }
            }
        }
    }

    /// The portable forms give what the instructions give: rounding to the bit, sums nearly.
    #[test]
    fn portable_halves_equal_the_instructions() {
        let x: Vec<f32> = noise(12 * 77, 5).iter().map(|x| x * x * 1e3).collect();
        let (mut ours, mut theirs) = (vec![[bf16::ZERO; 2]; 39], vec![[bf16::ZERO; 2]; 39]);
        round(&x[..77], &mut ours);
        round_portable(&x[..77], &mut theirs);
        assert_eq!(ours, theirs);
        let mut rows = Rows::default();
        rows.set(&x, 77);
        let w = Halves::forward(&noise(32 * 77, 6), 77);
        let (mut ours, mut theirs) = ([[0.0; PANEL]; ROWS], [[0.0; PANEL]; ROWS]);
        tile(&mut ours, &rows.pairs, &w.pairs, 39);
        tile_portable(&mut theirs, &rows.pairs, &w.pairs, 39);
        for (a, b) in ours.as_flattened().iter().zip(theirs.as_flattened()) {
            assert!((a - b).abs() < 1e-2, "{a} {b}");
        }
    }
}
