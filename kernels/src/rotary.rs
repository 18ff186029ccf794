//! Rotary positions: angles of every position, and the rotation of rows.

use crate::elementwise::rotate;
use crate::heads::HeadShape;
use crate::kernels::Kernels;
use crate::matmul::share_rows;
use std::sync::OnceLock;

/// Positions whose angles are computed together, when the first of them is needed: a model of a
/// million positions costs nothing until it reads a long text.
const PAGE: usize = 256;

/// Cosines and sines of every position, `[positions, pairs]`.
#[derive(Debug, Clone)]
pub struct Rotary {
    frequencies: Vec<f64>,
    scale: f64,
    positions: usize,
    /// Per page: cosines `[PAGE, pairs]`, then sines.
    pages: Vec<OnceLock<Box<[f32]>>>,
}

impl Rotary {
    /// Angles `position * frequency` (arXiv 2104.09864, eq. 15), in f64 until the end; cosines and
    /// sines are multiplied by `scale`.
    pub fn new(frequencies: Vec<f64>, scale: f64, positions: usize) -> Self {
        let pages = vec![OnceLock::new(); positions.div_ceil(PAGE)];
        Self { frequencies, scale, positions, pages }
    }

    /// Cosines of one position.
    pub fn cosines(&self, position: usize) -> &[f32] {
        let half = self.frequencies.len();
        &self.page(position)[position % PAGE * half..][..half]
    }

    /// Sines of one position.
    pub fn sines(&self, position: usize) -> &[f32] {
        let half = self.frequencies.len();
        &self.page(position)[(PAGE + position % PAGE) * half..][..half]
    }

    /// Pairs of channels that turn.
    pub fn pairs(&self) -> usize {
        self.frequencies.len()
    }

    /// Positions that there are angles for.
    pub fn positions(&self) -> usize {
        self.positions
    }

    fn page(&self, position: usize) -> &[f32] {
        let number = position / PAGE;
        self.pages[number].get_or_init(|| {
            let (half, start) = (self.frequencies.len(), number * PAGE);
            let angle = |i: usize| (start + i / half) as f64 * self.frequencies[i % half];
            let table = |f: fn(f64) -> f64| {
                (0..PAGE * half).map(move |i| (f(angle(i)) * self.scale) as f32)
            };
            table(f64::cos).chain(table(f64::sin)).collect()
        })
    }
}

/// Rotates queries and keys of `qkv[rows, qkv_width]`, each row at its position (the first channels
/// of each head, where there are fewer angles than pairs; none without angles); queries are also
/// divided by the square root of the head's channels.
pub fn rotate_rows(
    kernels: &Kernels,
    shape: HeadShape,
    rotary: Option<&Rotary>,
    qkv: &mut [f32],
    positions: &[usize],
) {
    assert_eq!(qkv.len(), shape.qkv_width() * positions.len(), "queries, keys and values");
    let scale = 1.0 / (shape.head_dim as f32).sqrt();
    let turning = (shape.heads + shape.kv_heads) * shape.head_dim;
    share_rows(kernels, qkv, shape.qkv_width(), &|r, row| {
        let (cosines, sines) = match rotary {
            Some(rotary) => (rotary.cosines(positions[r]), rotary.sines(positions[r])),
            None => (&[][..], &[][..]),
        };
        for (h, head) in row[..turning].chunks_exact_mut(shape.head_dim).enumerate() {
            let scale = if h < shape.heads { scale } else { 1.0 };
            rotate(kernels.isa(), head, cosines, sines, scale);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;
    use crate::test_numbers::numbers;

    #[test]
    fn rotation_keeps_lengths_and_depends_on_distance_alone() {
        // source: R(m) q . R(n) k = q . R(n - m) k (arXiv 2104.09864, eq. 16)
        let shape = HeadShape { heads: 1, kv_heads: 1, head_dim: 8 };
        let kernels = Kernels::new(2, Isa::detect());
        let frequencies = (0..4).map(|i| 100f64.powf(-f64::from(i) / 4.0)).collect();
        let rotary = Rotary::new(frequencies, 1.0, 64);
        let row = numbers(5, shape.qkv_width());
        let dot = |m: usize, n: usize| {
            let mut rows = [row.clone(), row.clone()].concat();
            rotate_rows(&kernels, shape, Some(&rotary), &mut rows, &[m, n]);
            (0..8).map(|c| f64::from(rows[c]) * f64::from(rows[24 + 8 + c])).sum::<f64>()
        };
        assert!((dot(3, 5) - dot(40, 42)).abs() < 1e-5);
        assert!((dot(3, 5) - dot(3, 9)).abs() > 1e-3);
        let plain: f64 = (0..8).map(|c| f64::from(row[c]) * f64::from(row[8 + c])).sum();
        assert!((dot(7, 7) - plain / 8f64.sqrt()).abs() < 1e-5);
    }

    #[test]
    fn channels_without_angles_are_scaled_alone() {
        let shape = HeadShape { heads: 1, kv_heads: 1, head_dim: 8 };
        let kernels = Kernels::new(1, Isa::detect());
        let row = numbers(5, shape.qkv_width());
        let scale = 1.0 / 8f32.sqrt();
        let turned = |rotary: Option<&Rotary>| {
            let mut turned = row.clone();
            rotate_rows(&kernels, shape, rotary, &mut turned, &[3]);
            turned
        };
        let partial = turned(Some(&Rotary::new(vec![0.5], 2.0, 64)));
        // source: pair (0, 1) turned by 3 x 0.5 and doubled; all else as it was, queries divided by
        // sqrt(8)
        let first = (row[0] * 1.5f32.cos() - row[1] * 1.5f32.sin()) * 2.0 * scale;
        assert!((partial[0] - first).abs() < 1e-6);
        let none = turned(None);
        assert_eq!(partial[2..8], none[2..8]);
        assert_eq!(partial[10..], row[10..]);
        assert!(none[..8].iter().zip(&row).all(|(found, x)| (found - x * scale).abs() < 1e-7));
        assert_eq!(none[8..], row[8..]);
    }
}
