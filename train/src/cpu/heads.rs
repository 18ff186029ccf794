//! What queries, keys and values go through between their projection and the attention: biases,
//! norms of heads, rotation; forward and backward.

use super::ops::{Rotary, add_bias, add_bias_back, norm, norm_back};
use super::tape::HeadTape;
use crate::layout::{LayerRanges, Layout};
use std::ops::Range;

/// The heads of one layer. A row holds all query heads, then all key heads, then all value heads.
pub(crate) struct Heads<'w> {
    pub(super) weights: &'w [f32],
    pub(super) ranges: &'w LayerRanges,
    pub(super) rotary: &'w Rotary,
    pub(super) epsilon: f32,
    pub(super) queries: usize,
    pub(super) keys: usize,
    pub(super) width: usize,
}

impl Heads<'_> {
    fn stride(&self) -> usize {
        (self.queries + 2 * self.keys) * self.width
    }

    /// Heads that are normalised and rotated: all but the values'.
    fn turned(&self) -> usize {
        self.queries + self.keys
    }

    /// Makes rows that attend of the projections `qkv`; row i stands at `position(i)`.
    pub(crate) fn forward(
        &self,
        qkv: &mut [f32],
        tape: &mut HeadTape,
        position: impl Fn(usize) -> usize,
    ) {
        if let Some(bias) = &self.ranges.qkv_bias {
            add_bias(qkv, &self.weights[bias.clone()]);
        }
        if let Some(gains) = &self.ranges.head_norms {
            self.norm(qkv, tape, &self.weights[gains.clone()]);
        }
        self.rotate(qkv, position, 1.0);
    }

    /// Turns the gradient `d_qkv` of what [`Self::forward`] made into that of the projections, for
    /// the rows from `first` on; adds to `gradient` those of biases and gains, where they are
    /// trained.
    pub(crate) fn back(
        &self,
        layout: &Layout,
        d_qkv: &mut [f32],
        gradient: &mut [f32],
        (tape, first): (&HeadTape, usize),
        position: impl Fn(usize) -> usize,
    ) {
        let d_qkv = &mut d_qkv[first * self.stride()..];
        self.rotate(d_qkv, |row| position(first + row), -1.0);
        if let Some(gains) = &self.ranges.head_norms {
            let d_gains = layout.gradient(gradient, gains);
            self.norm_back(d_qkv, d_gains, (tape, first), &self.weights[gains.clone()]);
        }
        let bias = self.ranges.qkv_bias.as_ref();
        if let Some(d_bias) = bias.and_then(|bias| layout.gradient(gradient, bias)) {
            add_bias_back(d_bias, d_qkv);
        }
    }

    /// Rotates queries and keys, forward (1) or back (-1).
    fn rotate(&self, qkv: &mut [f32], position: impl Fn(usize) -> usize, sign: f32) {
        for (row, heads) in qkv.chunks_exact_mut(self.stride()).enumerate() {
            self.rotary.rotate(&mut heads[..self.turned() * self.width], position(row), sign);
        }
    }

    /// The heads that share a gain, and where in the gains it lies: queries, keys.
    fn parts(&self) -> [(Range<usize>, Range<usize>); 2] {
        let (queries, all, width) = (self.queries, self.turned(), self.width);
        [(0..queries, 0..width), (queries..all, width..2 * width)]
    }

    fn columns(&self, heads: &Range<usize>) -> Range<usize> {
        heads.start * self.width..heads.end * self.width
    }

    /// Normalises every query and key head.
    fn norm(&self, qkv: &mut [f32], tape: &mut HeadTape, gains: &[f32]) {
        let stride = self.stride();
        tape.projected.clear();
        tape.projected.extend_from_slice(qkv);
        tape.inverse.resize(qkv.len() / stride * self.turned(), 0.0);
        let rows = qkv.chunks_exact_mut(stride).zip(tape.projected.chunks_exact(stride));
        for ((y, x), inverse) in rows.zip(tape.inverse.chunks_exact_mut(self.turned())) {
            for (heads, gain) in self.parts() {
                let columns = self.columns(&heads);
                let (y, x) = (&mut y[columns.clone()], &x[columns]);
                norm(y, &mut inverse[heads], x, &gains[gain], self.epsilon);
            }
        }
    }

    /// Gradient of [`Self::norm`], in place, and added to `d_gains` where it is wanted.
    fn norm_back(
        &self,
        d_qkv: &mut [f32],
        mut d_gains: Option<&mut [f32]>,
        (tape, first): (&HeadTape, usize),
        gains: &[f32],
    ) {
        let (stride, turned) = (self.stride(), self.turned());
        let rows = tape.projected.chunks_exact(stride).zip(tape.inverse.chunks_exact(turned));
        for (d_row, (x, inverse)) in d_qkv.chunks_exact_mut(stride).zip(rows.skip(first)) {
            let d_normed = d_row[..turned * self.width].to_vec();
            d_row[..turned * self.width].fill(0.0);
            for (heads, gain) in self.parts() {
                let columns = self.columns(&heads);
                let (d_x, d_y) = (&mut d_row[columns.clone()], &d_normed[columns.clone()]);
                let d_gain = d_gains.as_deref_mut().map(|gains| &mut gains[gain.clone()]);
                norm_back(d_x, d_gain, d_y, &x[columns], &inverse[heads], &gains[gain]);
            }
        }
    }
}
