//! Attention over the cache, as two more products of the register tile.
//!
//! Keys are stored in panels of 16 positions and values in panels of 16 channels, so scores are
//! `q K^T` and outputs `p V` with the tile of `crate::tile`: over positions, too, every sum runs
//! in rising order in one accumulator. Where a key comes from makes no difference to a bit: from
//! the cache (positions before a block of rows) or from the block itself (its own rows, causally).

use crate::elementwise::softmax_numerators;
use crate::heads::{HeadShape, write_key, write_value};
use crate::kernels::Kernels;
use crate::matmul::Shared;
use crate::panels::{LANES, panel_count};
use crate::tile::multiply;
use crate::tile::operands::Operands;
use std::cell::RefCell;

/// Consecutive rows at consecutive positions. They see what the cache holds before the first of
/// them, and each other causally.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// First row.
    pub row: usize,
    /// Number of rows.
    pub rows: usize,
    /// Position of the first row.
    pub position: usize,
}

/// One attention sub-layer to compute.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a> {
    /// Sizes.
    pub shape: HeadShape,
    /// Rotated rows `[rows, qkv_width]`.
    pub qkv: &'a [f32],
    /// The cache's keys `[kv_heads][capacity / LANES][head_dim][LANES]`.
    pub keys: &'a [f32],
    /// The cache's values `[kv_heads][head_dim / LANES][capacity][LANES]`.
    pub values: &'a [f32],
    /// Positions that the cache has room for.
    pub capacity: usize,
    /// The rows, in blocks.
    pub blocks: &'a [Block],
}

impl Attention<'_> {
    /// Multiply-adds, about.
    fn work(&self) -> usize {
        let seen = |block: &Block| block.rows * (block.position + block.rows);
        2 * self.shape.out_width() * self.blocks.iter().map(seen).sum::<usize>()
    }
}

/// Buffers of one task.
#[derive(Debug, Default)]
struct Scratch {
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    scores: Vec<f32>,
    own_scores: Vec<f32>,
    out: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Computes the attention output `out[rows, out_width]`.
pub fn attend(kernels: &Kernels, attention: &Attention<'_>, out: &mut [f32]) {
    let (shape, capacity) = (attention.shape, attention.capacity);
    assert!(capacity.is_multiple_of(LANES), "capacity in whole panels");
    assert_eq!(attention.keys.len(), shape.key_len(capacity), "keys");
    assert_eq!(attention.values.len(), shape.value_len(capacity), "values");
    for block in attention.blocks {
        assert!(block.position <= capacity, "a block sees the cache before its position");
        assert!((block.row + block.rows) * shape.qkv_width() <= attention.qkv.len(), "rows");
        assert!((block.row + block.rows) * shape.out_width() <= out.len(), "outputs");
    }
    let shared = Shared(out.as_mut_ptr());
    kernels.run(attention.blocks.len() * shape.kv_heads, attention.work(), &|task| {
        let (block, kv) = (attention.blocks[task / shape.kv_heads], task % shape.kv_heads);
        SCRATCH.with_borrow_mut(|scratch| {
            let head = HeadTask { kernels, attention, block, kv };
            head.prepare(scratch);
            head.scores(scratch);
            head.outputs(scratch, shared);
        });
    });
}

/// The queries of one block that share a key-value head.
struct HeadTask<'a> {
    kernels: &'a Kernels,
    attention: &'a Attention<'a>,
    block: Block,
    kv: usize,
}

impl HeadTask<'_> {
    /// Query heads per key-value head.
    fn group(&self) -> usize {
        self.attention.shape.heads / self.attention.shape.kv_heads
    }

    /// Query vectors: each row's, head by head.
    fn queries(&self) -> usize {
        self.block.rows * self.group()
    }

    /// Numbers from one query's scores to the next: room for the cached and the own keys.
    fn score_row(&self) -> usize {
        (self.block.position + self.block.rows).next_multiple_of(LANES) + LANES
    }

    /// Row `r` of the block.
    fn row(&self, r: usize) -> &[f32] {
        let width = self.attention.shape.qkv_width();
        &self.attention.qkv[(self.block.row + r) * width..][..width]
    }

    /// Copies queries together and the block's own keys and values into panels.
    fn prepare(&self, scratch: &mut Scratch) {
        let (shape, rows) = (self.attention.shape, self.block.rows);
        let own = rows.next_multiple_of(LANES);
        let channels = panel_count(shape.head_dim) * LANES;
        scratch.queries.clear();
        scratch.keys.resize(own * shape.head_dim, 0.0);
        scratch.values.resize(rows * channels, 0.0);
        scratch.scores.resize(self.queries() * self.score_row(), 0.0);
        scratch.own_scores.resize(self.queries() * own, 0.0);
        scratch.out.resize(self.queries() * channels, 0.0);
        for r in 0..rows {
            let width = self.group() * shape.head_dim;
            scratch.queries.extend_from_slice(&self.row(r)[self.kv * width..][..width]);
            let (key, value) = shape.key_and_value(self.row(r), self.kv);
            write_key(&mut scratch.keys, key, r);
            write_value(&mut scratch.values, rows, value, r);
        }
    }

    /// Scores of every query with every key it sees.
    fn scores(&self, scratch: &mut Scratch) {
        let (head_dim, position) = (self.attention.shape.head_dim, self.block.position);
        let own = self.block.rows.next_multiple_of(LANES);
        let cached = Operands {
            x: scratch.queries.as_ptr(),
            x_row: head_dim,
            w: self.attention.keys[self.kv * self.attention.capacity * head_dim..].as_ptr(),
            w_panel: head_dim * LANES,
            depth: head_dim,
            out: scratch.scores.as_mut_ptr(),
            out_row: self.score_row(),
            resume: false,
            interleaved: false,
            prefetch: false,
        };
        let (w, out, out_row) = (scratch.keys.as_ptr(), scratch.own_scores.as_mut_ptr(), own);
        let isa = self.kernels.isa();
        // SAFETY: `attend` checked the cache's sizes and `prepare` made room for whole panels.
        unsafe {
            multiply(isa, self.queries(), panel_count(position), cached);
            let own_keys = Operands { w, out, out_row, ..cached };
            multiply(isa, self.queries(), panel_count(self.block.rows), own_keys);
        }
        for q in 0..self.queries() {
            let seen = q / self.group() + 1;
            scratch.scores[q * self.score_row() + position..][..seen]
                .copy_from_slice(&scratch.own_scores[q * own..][..seen]);
        }
    }

    /// Softmax and the weighted sum of the values.
    fn outputs(&self, scratch: &mut Scratch, out: Shared) {
        let (shape, position) = (self.attention.shape, self.block.position);
        let (isa, panels) = (self.kernels.isa(), panel_count(shape.head_dim));
        let (score_row, channels) = (self.score_row(), panels * LANES);
        let mut sums = [0.0; 8];
        for first in (0..self.queries()).step_by(sums.len()) {
            let count = sums.len().min(self.queries() - first);
            for (q, sum) in (first..).zip(&mut sums[..count]) {
                let seen = position + q / self.group() + 1;
                *sum = softmax_numerators(isa, &mut scratch.scores[q * score_row..][..seen]);
            }
            let head = self.kv * self.attention.capacity * channels;
            let cached = Operands {
                x: scratch.scores[first * score_row..].as_ptr(),
                x_row: score_row,
                w: self.attention.values[head..].as_ptr(),
                w_panel: self.attention.capacity * LANES,
                depth: position,
                out: scratch.out.as_mut_ptr(),
                out_row: channels,
                resume: false,
                interleaved: false,
                prefetch: false,
            };
            // SAFETY: as in `scores`; the queries `first..first + count` fit into `scratch.out`.
            unsafe { multiply(isa, count, panels, cached) };
            for (q, &sum) in sums[..count].iter().enumerate() {
                let weighted = &mut scratch.out[q * channels..][..channels];
                let own = Operands {
                    x: scratch.scores[(first + q) * score_row + position..].as_ptr(),
                    w: scratch.values.as_ptr(),
                    w_panel: self.block.rows * LANES,
                    depth: (first + q) / self.group() + 1,
                    out: weighted.as_mut_ptr(),
                    resume: true,
                    ..cached
                };
                // SAFETY: as above, one query, the own keys it sees.
                unsafe { multiply(isa, 1, panels, own) };
                self.store(first + q, weighted, sum, out);
            }
        }
    }

    /// Divides one query's weighted sum and puts it into its place.
    fn store(&self, query: usize, weighted: &[f32], sum: f32, out: Shared) {
        let shape = self.attention.shape;
        let (r, head) = (query / self.group(), self.kv * self.group() + query % self.group());
        let start = (self.block.row + r) * shape.out_width() + head * shape.head_dim;
        // SAFETY: this row and head belong to this task alone and lie inside (see `attend`).
        let out = unsafe { out.slice(start, shape.head_dim) };
        let scale = 1.0 / sum;
        for (out, weighted) in out.iter_mut().zip(weighted) {
            *out = weighted * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::{append_keys, append_values};
    use crate::isa::Isa;
    use crate::test_numbers::numbers;

    const SHAPE: HeadShape = HeadShape { heads: 6, kv_heads: 2, head_dim: 10 };
    const CAPACITY: usize = 64;

    /// Attention of `rows` over positions from `position` on, with everything before in the cache.
    fn run(kernels: &Kernels, qkv: &[f32], position: usize, rows: usize) -> Vec<f32> {
        let width = SHAPE.qkv_width();
        let mut keys = vec![0.0; SHAPE.key_len(CAPACITY)];
        let mut values = vec![0.0; SHAPE.value_len(CAPACITY)];
        append_keys(SHAPE, &qkv[..position * width], &mut keys, CAPACITY, 0);
        append_values(SHAPE, &qkv[..position * width], &mut values, CAPACITY, 0);
        let attention = Attention {
            shape: SHAPE,
            qkv: &qkv[position * width..][..rows * width],
            keys: &keys,
            values: &values,
            capacity: CAPACITY,
            blocks: &[Block { row: 0, rows, position }],
        };
        let mut out = vec![f32::NAN; rows * SHAPE.out_width()];
        attend(kernels, &attention, &mut out);
        out
    }

    #[test]
    fn a_row_has_the_same_bits_from_cached_and_from_own_keys() {
        let qkv = numbers(1, 50 * SHAPE.qkv_width());
        let reference = run(&Kernels::new(1, Isa::Portable), &qkv, 0, 50);
        for isa in Isa::available() {
            let kernels = Kernels::new(2, isa);
            for (position, rows) in [(0, 50), (0, 1), (49, 1), (17, 5), (32, 9), (31, 19), (16, 2)]
            {
                let out = run(&kernels, &qkv, position, rows);
                let expected = &reference[position * SHAPE.out_width()..][..out.len()];
                assert_eq!(out, expected, "{isa:?} {position} {rows}");
            }
        }
    }

    #[test]
    fn attention_is_the_definition() {
        // source: softmax(q k) v in f64 with plain loops
        let qkv = numbers(1, 20 * SHAPE.qkv_width());
        let out = run(&Kernels::new(1, Isa::detect()), &qkv, 13, 7);
        let at = |position: usize, head: usize, c: usize| {
            f64::from(qkv[position * SHAPE.qkv_width() + head * SHAPE.head_dim + c])
        };
        for (i, &found) in out.iter().enumerate() {
            let (position, head, c) = (13 + i / 60, i % 60 / 10, i % 10);
            let kv = head / 3;
            let weights: Vec<f64> = (0..=position)
                .map(|p| {
                    (0..10).map(|c| at(position, head, c) * at(p, 6 + kv, c)).sum::<f64>().exp()
                })
                .collect();
            let total: f64 = weights.iter().sum();
            let exact: f64 = (0..=position).map(|p| weights[p] * at(p, 8 + kv, c)).sum();
            assert!((exact / total - f64::from(found)).abs() < 1e-5);
        }
    }
}
