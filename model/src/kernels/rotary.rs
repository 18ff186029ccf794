//! Rotary positions: angles of every position, and the rotation of rows.

use super::Kernels;
use super::elementwise::rotate;
use super::heads::HeadShape;
use super::matmul::share_rows;

/// Cosines and sines of every position, `[positions, head_dim / 2]`.
#[derive(Debug, Clone)]
pub struct Rotary {
    cosines: Vec<f32>,
    sines: Vec<f32>,
    half: usize,
}

impl Rotary {
    /// Angles `position * theta^(-2 i / head_dim)` (arXiv 2104.09864, eq. 15), in f64 until the end.
    pub fn new(head_dim: usize, theta: f64, positions: usize) -> Self {
        let half = head_dim / 2;
        let angle = |i: usize| {
            let frequency = theta.powf(-2.0 * (i % half) as f64 / head_dim as f64);
            (i / half) as f64 * frequency
        };
        let table = |f: fn(f64) -> f64| (0..positions * half).map(|i| f(angle(i)) as f32).collect();
        Self { cosines: table(f64::cos), sines: table(f64::sin), half }
    }

    /// Cosines of one position.
    pub fn cosines(&self, position: usize) -> &[f32] {
        &self.cosines[position * self.half..][..self.half]
    }

    /// Sines of one position.
    pub fn sines(&self, position: usize) -> &[f32] {
        &self.sines[position * self.half..][..self.half]
    }

    /// Positions that the table holds.
    pub fn positions(&self) -> usize {
        self.cosines.len() / self.half
    }
}

/// Rotates queries and keys of `qkv[rows, qkv_width]`, each row at its position; queries are also
/// divided by the square root of the head's channels.
pub fn rotate_rows(
    kernels: &Kernels,
    shape: HeadShape,
    rotary: &Rotary,
    qkv: &mut [f32],
    positions: &[usize],
) {
    assert_eq!(qkv.len(), shape.qkv_width() * positions.len(), "queries, keys and values");
    let scale = 1.0 / (shape.head_dim as f32).sqrt();
    let turning = (shape.heads + shape.kv_heads) * shape.head_dim;
    share_rows(kernels, qkv, shape.qkv_width(), &|r, row| {
        let (cosines, sines) = (rotary.cosines(positions[r]), rotary.sines(positions[r]));
        for (h, head) in row[..turning].chunks_exact_mut(shape.head_dim).enumerate() {
            let scale = if h < shape.heads { scale } else { 1.0 };
            rotate(kernels.isa(), head, cosines, sines, scale);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Isa, test_numbers as numbers};

    #[test]
    fn rotation_keeps_lengths_and_depends_on_distance_alone() {
        // source: R(m) q . R(n) k = q . R(n - m) k (arXiv 2104.09864, eq. 16)
        let shape = HeadShape { heads: 1, kv_heads: 1, head_dim: 8 };
        let kernels = Kernels::new(2, Isa::detect());
        let rotary = Rotary::new(8, 100.0, 64);
        let row = numbers(5, shape.qkv_width());
        let dot = |m: usize, n: usize| {
            let mut rows = [row.clone(), row.clone()].concat();
            rotate_rows(&kernels, shape, &rotary, &mut rows, &[m, n]);
            (0..8).map(|c| f64::from(rows[c]) * f64::from(rows[24 + 8 + c])).sum::<f64>()
        };
        assert!((dot(3, 5) - dot(40, 42)).abs() < 1e-5);
        assert!((dot(3, 5) - dot(3, 9)).abs() > 1e-3);
        let plain: f64 = (0..8).map(|c| f64::from(row[c]) * f64::from(row[8 + c])).sum();
        assert!((dot(7, 7) - plain / 8f64.sqrt()).abs() < 1e-5);
    }
}
