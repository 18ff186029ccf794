//! Grouped-query attention of the training layout, forward and backward.
//!
//! Rows 0..text are the text itself: row i sees keys 0..=i. After them come groups of draft rows,
//! one group per anchor t: a draft row sees the full-depth keys of the text *before* t, and the
//! rows of its own group up to itself; never token t's own full-depth key, exactly as when
//! drafting.

use super::matmul::{Matrix, Write, multiply};
use super::ops::{add_scaled, dot, softmax};
use pulp::Arch;
use std::ops::Range;

/// Who sees whom, and how rows are laid out. A row of `qkv` holds all query heads, then all key
/// heads, then all value heads.
#[derive(Clone, Copy)]
pub(crate) struct Geometry<'a> {
    /// Text rows.
    pub text: usize,
    /// Rows of one draft group.
    pub group: usize,
    /// Text position of each group's first row, ascending, at least 1.
    pub anchors: &'a [usize],
    pub heads: usize,
    pub kv_heads: usize,
    pub head_width: usize,
}

/// Rows that are multiplied together with the same number of keys.
struct Block {
    rows: Range<usize>,
    keys: usize,
}

/// Rows of a block: small enough that little work is spent on keys that no row of it sees.
const BLOCK_ROWS: usize = 64;

impl Geometry<'_> {
    /// Text rows and draft rows.
    pub(crate) fn rows(&self) -> usize {
        self.text + self.anchors.len() * self.group
    }

    /// Length of a row of probabilities: text keys, then the keys of the own group.
    pub(crate) fn reach(&self) -> usize {
        self.text + self.group
    }

    /// Length of a row of queries, keys and values.
    pub(crate) fn stride(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head_width
    }

    /// Rotary position of a row.
    pub(crate) fn position(&self, row: usize) -> usize {
        match row.checked_sub(self.text) {
            None => row,
            Some(draft) => self.anchors[draft / self.group] + draft % self.group,
        }
    }

    /// Text keys that a row sees.
    pub(crate) fn limit(&self, row: usize) -> usize {
        match row.checked_sub(self.text) {
            None => row + 1,
            Some(draft) => self.anchors[draft / self.group],
        }
    }

    /// First row of the group of a draft row, and the row's place in it.
    pub(crate) fn group_of(&self, row: usize) -> Option<(usize, usize)> {
        let place = row.checked_sub(self.text)? % self.group;
        Some((row - place, place))
    }

    fn blocks(&self, rows: usize) -> Vec<Block> {
        let cut = |from: usize, to: usize| {
            (from..to).step_by(BLOCK_ROWS).map(move |start| start..(start + BLOCK_ROWS).min(to))
        };
        cut(0, self.text)
            .chain(cut(self.text, rows))
            .map(|rows| Block { keys: self.limit(rows.end - 1), rows })
            .collect()
    }

    /// Columns of `qkv` where the query, key and value of query head `head` begin.
    pub(crate) fn columns(&self, head: usize) -> (usize, usize, usize) {
        let shared = head * self.kv_heads / self.heads;
        (
            head * self.head_width,
            (self.heads + shared) * self.head_width,
            (self.heads + self.kv_heads + shared) * self.head_width,
        )
    }

    pub(crate) fn scale(&self) -> f32 {
        1.0 / (self.head_width as f32).sqrt()
    }

    /// `rows` rows of one head, from `first` on.
    fn head<'m>(&self, qkv: &'m [f32], first: usize, rows: usize, column: usize) -> Matrix<'m> {
        let stride = self.stride();
        Matrix::new(&qkv[first * stride + column..], rows, self.head_width, stride)
    }

    /// One head of one row.
    fn vector<'m>(&self, qkv: &'m [f32], row: usize, column: usize) -> &'m [f32] {
        &qkv[row * self.stride() + column..][..self.head_width]
    }
}

/// Attention of the first `rows` rows. `out`: [rows, heads head_width]; `probabilities`: [heads,
/// rows, reach], kept for the backward pass.
pub(crate) fn attend(
    out: &mut [f32],
    probabilities: &mut [f32],
    qkv: &[f32],
    geometry: &Geometry,
    rows: usize,
) {
    let (reach, width) = (geometry.reach(), geometry.head_width);
    let out_stride = geometry.heads * width;
    for head in 0..geometry.heads {
        let (q, k, v) = geometry.columns(head);
        let p = &mut probabilities[head * rows * reach..][..rows * reach];
        for Block { rows: r, keys } in geometry.blocks(rows) {
            let (start, count) = (r.start, r.len());
            let queries = geometry.head(qkv, start, count, q);
            let seen = geometry.head(qkv, 0, keys, k).t();
            multiply(
                &mut p[start * reach..],
                reach,
                Write::Replace,
                geometry.scale(),
                queries,
                seen,
            );
            Arch::new().dispatch(|| {
                for row in r.clone() {
                    normalise(&mut p[row * reach..][..reach], qkv, geometry, row, keys, (q, k));
                }
            });
            let weights = Matrix::new(&p[start * reach..], count, keys, reach);
            let values = geometry.head(qkv, 0, keys, v);
            let out = &mut out[start * out_stride + head * width..];
            multiply(out, out_stride, Write::Replace, 1.0, weights, values);
            for row in r {
                let Some((first, place)) = geometry.group_of(row) else { continue };
                let out = &mut out[(row - start) * out_stride..][..width];
                for i in 0..=place {
                    let weight = p[row * reach + geometry.text + i];
                    add_scaled(out, weight, geometry.vector(qkv, first + i, v));
                }
            }
        }
    }
}

/// Turns the scores of one row into probabilities; a draft row first gets the scores of its group.
#[inline(always)]
fn normalise(
    p: &mut [f32],
    qkv: &[f32],
    geometry: &Geometry,
    row: usize,
    keys: usize,
    (q, k): (usize, usize),
) {
    let (text, group) = p.split_at_mut(geometry.text);
    let mut own = 0;
    if let Some((first, place)) = geometry.group_of(row) {
        own = place + 1;
        let query = geometry.vector(qkv, row, q);
        for (i, score) in group[..own].iter_mut().enumerate() {
            *score = geometry.scale() * dot(query, geometry.vector(qkv, first + i, k));
        }
    }
    let (seen, unseen) = text[..keys].split_at_mut(geometry.limit(row));
    softmax(seen, &mut group[..own]);
    unseen.fill(0.0);
}

/// What [`attend`] read and wrote, with the gradient of its output.
pub(crate) struct Attended<'a> {
    pub qkv: &'a [f32],
    pub probabilities: &'a [f32],
    pub out: &'a [f32],
    pub d_out: &'a [f32],
}

/// Gradient of [`attend`] into `d_qkv` (overwritten) for the rows from `first` on: 0, or the first
/// draft row, and then the text is a constant. `scratch` holds at least 64 * text values.
pub(crate) fn attend_back(
    d_qkv: &mut [f32],
    scratch: &mut [f32],
    done: &Attended,
    geometry: &Geometry,
    [first, rows]: [usize; 2],
) {
    d_qkv.fill(0.0);
    for head in 0..geometry.heads {
        for block in geometry.blocks(rows) {
            if block.rows.start < first {
                continue;
            }
            text_back(d_qkv, scratch, done, geometry, [first, rows], head, &block);
            if block.rows.start >= geometry.text {
                Arch::new().dispatch(|| {
                    for row in block.rows.clone() {
                        group_back(d_qkv, done, geometry, rows, head, row);
                    }
                });
            }
        }
    }
}

/// The part of the gradient that goes to text keys and values.
fn text_back(
    d_qkv: &mut [f32],
    scratch: &mut [f32],
    done: &Attended,
    geometry: &Geometry,
    [first, rows]: [usize; 2],
    head: usize,
    Block { rows: r, keys }: &Block,
) {
    let (reach, width, stride) = (geometry.reach(), geometry.head_width, geometry.stride());
    let (keys, start, count, out_stride) = (*keys, r.start, r.len(), geometry.heads * width);
    let (q, k, v) = geometry.columns(head);
    let p = &done.probabilities[(head * rows + start) * reach..];
    let at = start * out_stride + head * width;
    let d_out = Matrix::new(&done.d_out[at..], count, width, out_stride);
    let scores = &mut scratch[..count * keys];
    multiply(scores, keys, Write::Replace, 1.0, d_out, geometry.head(done.qkv, 0, keys, v).t());
    Arch::new().dispatch(|| {
        for (i, d) in scores.chunks_exact_mut(keys).enumerate() {
            let row = at + i * out_stride..at + i * out_stride + width;
            let mean = dot(&done.d_out[row.clone()], &done.out[row]);
            for (d, p) in d.iter_mut().zip(&p[i * reach..]) {
                *d = (*d - mean) * p * geometry.scale();
            }
        }
    });
    let scores = Matrix::new(scores, count, keys, keys);
    let queries = geometry.head(done.qkv, start, count, q);
    let seen = geometry.head(done.qkv, 0, keys, k);
    multiply(&mut d_qkv[start * stride + q..], stride, Write::Replace, 1.0, scores, seen);
    if first > 0 {
        return;
    }
    multiply(&mut d_qkv[k..], stride, Write::Add, 1.0, scores.t(), queries);
    let weights = Matrix::new(p, count, keys, reach);
    multiply(&mut d_qkv[v..], stride, Write::Add, 1.0, weights.t(), d_out);
}

/// The part of a draft row's gradient that goes to the keys and values of its own group.
#[inline(always)]
fn group_back(
    d_qkv: &mut [f32],
    done: &Attended,
    geometry: &Geometry,
    rows: usize,
    head: usize,
    row: usize,
) {
    let Some((first, place)) = geometry.group_of(row) else { return };
    let (width, stride) = (geometry.head_width, geometry.stride());
    let (q, k, v) = geometry.columns(head);
    let at = (row * geometry.heads + head) * width;
    let d_out = &done.d_out[at..][..width];
    let mean = dot(d_out, &done.out[at..][..width]);
    for i in 0..=place {
        let weight = done.probabilities[(head * rows + row) * geometry.reach() + geometry.text + i];
        let d_weight = dot(d_out, geometry.vector(done.qkv, first + i, v));
        let d_score = weight * (d_weight - mean) * geometry.scale();
        let key = geometry.vector(done.qkv, first + i, k);
        let query = geometry.vector(done.qkv, row, q);
        add_scaled(&mut d_qkv[row * stride + q..][..width], d_score, key);
        add_scaled(&mut d_qkv[(first + i) * stride + k..][..width], d_score, query);
        add_scaled(&mut d_qkv[(first + i) * stride + v..][..width], weight, d_out);
    }
}
