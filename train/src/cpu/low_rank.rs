//! Low-rank adapters in training: `y += scale (x A^T) B^T`, forward and backward.

use super::matmul::{Matrix, Write, linear, multiply};
use crate::layout::{AdapterRanges, Layout};
use s3d_model::ModelConfig;
use s3d_model::config::Part;

/// One adapter with its numbers.
pub(crate) struct LowRank<'w> {
    a: &'w [f32],
    b: &'w [f32],
    ranges: &'w AdapterRanges,
    rank: usize,
    scale: f32,
}

impl<'w> LowRank<'w> {
    /// The adapter of `part` in `layer`, if the model has adapters.
    pub(crate) fn of(
        layout: &'w Layout,
        config: &ModelConfig,
        weights: &'w [f32],
        layer: usize,
        part: Part,
    ) -> Option<Self> {
        let (ranges, config) = (&layout.adapters.get(layer)?[part as usize], config.adapters()?);
        let (a, b) = (&weights[ranges.a.clone()], &weights[ranges.b.clone()]);
        Some(Self { a, b, ranges, rank: config.rank, scale: config.scale() })
    }

    fn inputs(&self) -> usize {
        self.a.len() / self.rank
    }

    fn outputs(&self) -> usize {
        self.b.len() / self.rank
    }

    /// `x A^T`.
    fn inner(&self, x: &[f32]) -> Vec<f32> {
        let mut inner = vec![0.0; x.len() / self.inputs() * self.rank];
        linear(&mut inner, x, self.a, self.inputs(), Write::Replace);
        inner
    }

    /// Adds what the adapter makes of the rows `x` to the rows `y`.
    pub(crate) fn add(&self, y: &mut [f32], x: &[f32]) {
        let inner = self.inner(x);
        let (inner, b) = (Matrix::dense(&inner, self.rank), Matrix::dense(self.b, self.rank));
        multiply(y, self.outputs(), Write::Add, self.scale, inner, b.t());
    }

    /// Gradients of [`Self::add`]: added to `d_x`, and to the adapter's own in `gradient`.
    pub(crate) fn back(
        &self,
        layout: &Layout,
        d_x: &mut [f32],
        gradient: &mut [f32],
        d_y: &[f32],
        x: &[f32],
    ) {
        let (inputs, outputs, rank) = (self.inputs(), self.outputs(), self.rank);
        let (inner, d_y) = (self.inner(x), Matrix::dense(d_y, outputs));
        let mut d_inner = vec![0.0; inner.len()];
        let b = Matrix::dense(self.b, rank);
        multiply(&mut d_inner, rank, Write::Replace, self.scale, d_y, b);
        if let Some(d_b) = layout.gradient(gradient, &self.ranges.b) {
            multiply(d_b, rank, Write::Add, self.scale, d_y.t(), Matrix::dense(&inner, rank));
        }
        let d_inner = Matrix::dense(&d_inner, rank);
        if let Some(d_a) = layout.gradient(gradient, &self.ranges.a) {
            multiply(d_a, inputs, Write::Add, 1.0, d_inner.t(), Matrix::dense(x, inputs));
        }
        multiply(d_x, inputs, Write::Add, 1.0, d_inner, Matrix::dense(self.a, inputs));
    }
}
