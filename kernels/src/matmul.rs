//! `y[rows, out] = x[rows, in] W^T` over packed panels, for one row as for a thousand.
//!
//! Few rows: the threads share the panels, and each streams its weights through the cache once
//! while all rows ride along. Many rows: blocks of rows are interleaved so that they stay in the
//! cache, and each panel is used for a whole block. The order of additions is that of the tile in
//! both cases. Weights in codes ([`crate::codes`]) take the rows as codes too, and stream alike.

use crate::activations::CodedRows;
use crate::kernels::Kernels;

use crate::codes;
use crate::codes::operands::CodedOperands;
use crate::elementwise::swiglu;
use crate::number::Number;
use crate::packed::{BLOCK, Code, Packed, Panels};
use crate::panels::{LANES, panel_count};
use crate::tile::multiply;
use crate::tile::operands::Operands;
use std::cell::RefCell;

/// Panels whose results are finished together.
const BUNDLE: usize = 4;
/// Tasks per thread of a region: enough that a late thread delays little.
const TASKS_PER_THREAD: usize = 6;
/// Most rows of one block in the cache.
const BLOCK_ROWS: usize = 96;
/// Rows of the tallest tile.
const TILE_ROWS: usize = 12;

/// What becomes of the products.
#[derive(Debug, Clone, Copy)]
pub enum Finish<'a> {
    /// They are the result: `y[rows, out]`.
    Store,
    /// They are added to `[rows, out]` numbers: a residual connection.
    Add(&'a [f32]),
    /// Panels alternate between gate and up projection; `y[rows, out / 2]` is SwiGLU of both.
    SwiGlu,
}

/// A product to compute.
#[derive(Debug, Clone, Copy)]
pub struct Product<'a> {
    /// Activations `[rows, inputs]`.
    pub x: &'a [f32],
    /// Rows of activations.
    pub rows: usize,
    /// Weights; their rows are the outputs before finishing.
    pub w: &'a Packed,
    /// What becomes of the products.
    pub finish: Finish<'a>,
}

thread_local! {
    /// Interleaved rows of the present block.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// A pointer that the tasks of one region may share.
#[derive(Clone, Copy)]
pub(super) struct Shared(pub(super) *mut f32);

// SAFETY: the tasks of a region write disjoint parts; each use says which.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

impl Shared {
    /// The numbers `start..start + len`.
    ///
    /// # Safety
    /// They lie inside the buffer and nobody else touches them meanwhile.
    #[expect(clippy::mut_from_ref, reason = "the safety section makes the caller exclusive")]
    pub(super) unsafe fn slice(&self, start: usize, len: usize) -> &mut [f32] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }
}

/// Computes `rows[r]` of `[rows, width]` numbers with `row(r, numbers)`, the threads sharing many
/// rows.
pub fn share_rows(
    kernels: &Kernels,
    rows: &mut [f32],
    width: usize,
    row: &(dyn Fn(usize, &mut [f32]) + Sync),
) {
    const ROWS_PER_TASK: usize = 16;
    let count = rows.len() / width.max(1);
    let (shared, shared_len) = (Shared(rows.as_mut_ptr()), rows.len());
    kernels.run(count.div_ceil(ROWS_PER_TASK), 4 * shared_len, &|task| {
        for r in task * ROWS_PER_TASK..count.min((task + 1) * ROWS_PER_TASK) {
            // SAFETY: row `r` lies inside and belongs to this task alone.
            row(r, unsafe { shared.slice(r * width, width) });
        }
    });
}

impl Product<'_> {
    /// Numbers in one row of the result.
    pub fn width(&self) -> usize {
        match self.finish {
            Finish::SwiGlu => self.w.outputs() / 2,
            Finish::Store | Finish::Add(_) => self.w.outputs(),
        }
    }

    fn inputs(&self) -> usize {
        self.w.inputs()
    }

    /// Panics unless the slices have the sizes that the product speaks of.
    fn check(&self, y: &[f32]) {
        assert_eq!(self.x.len(), self.rows * self.inputs(), "activations");
        assert_eq!(y.len(), self.rows * self.width(), "result");
        match self.finish {
            Finish::Add(to) => assert_eq!(to.len(), y.len(), "residual"),
            Finish::SwiGlu => {
                assert!(self.w.outputs().is_multiple_of(2 * LANES), "paired panels");
            }
            Finish::Store => {}
        }
    }

    /// Multiply-adds.
    fn work(&self) -> usize {
        self.rows * self.panel_count() * LANES * self.inputs()
    }

    fn panel_count(&self) -> usize {
        panel_count(self.w.outputs())
    }

    /// Bundles of panels.
    fn bundles(&self) -> usize {
        self.panel_count().div_ceil(BUNDLE)
    }

    /// Panels of bundle `bundle`.
    fn panels(&self, bundle: usize) -> usize {
        BUNDLE.min(self.panel_count() - bundle * BUNDLE)
    }
}

/// Computes `product` into `y[rows, width]`.
pub fn matmul(kernels: &Kernels, product: &Product<'_>, y: &mut [f32]) {
    product.check(y);
    let y = Shared(y.as_mut_ptr());
    match product.w.panels() {
        Panels::F32(w) => plain(kernels, product, w, y),
        Panels::F16(w) => plain(kernels, product, w, y),
        Panels::Bf16(w) => plain(kernels, product, w, y),
        Panels::Coded(code, w) => in_codes(kernels, product, code, w, y),
    }
}

/// Weights that stand alone.
fn plain<N: Number>(kernels: &Kernels, product: &Product<'_>, w: &[N], y: Shared) {
    let count = product.panel_count() * LANES * product.inputs();
    assert_eq!(size_of_val(w), product.w.panel_bytes() * product.panel_count(), "weights");
    assert!(w.len() >= count, "weights");
    if product.rows <= TILE_ROWS {
        narrow(kernels, product, w, y);
    } else {
        wide(kernels, product, w, y);
    }
}

/// Tasks of a region over bundles.
fn bundle_tasks(kernels: &Kernels, product: &Product<'_>) -> usize {
    product.bundles().min(kernels.threads() * TASKS_PER_THREAD)
}

/// Few rows: the threads share the bundles.
fn narrow<N: Number>(kernels: &Kernels, product: &Product<'_>, w: &[N], y: Shared) {
    let (bundles, tasks) = (product.bundles(), bundle_tasks(kernels, product));
    let w_panel = product.w.panel_bytes() / size_of::<N>();
    kernels.run(tasks, product.work(), &|task| {
        for bundle in bundles * task / tasks..bundles * (task + 1) / tasks {
            let mut sums = [0.0; TILE_ROWS * BUNDLE * LANES];
            let operands = Operands {
                x: product.x.as_ptr(),
                x_row: product.inputs(),
                w: w[bundle * BUNDLE * w_panel..].as_ptr(),
                w_panel,
                depth: product.inputs(),
                out: sums.as_mut_ptr(),
                out_row: BUNDLE * LANES,
                resume: false,
                interleaved: false,
                prefetch: true,
            };
            // SAFETY: sizes were checked; `sums` holds a bundle of the most rows; `Kernels` knows
            // its instruction set.
            unsafe { multiply(kernels.isa(), product.rows, product.panels(bundle), operands) };
            finish(kernels, product, bundle, 0, &sums[..product.rows * BUNDLE * LANES], y);
        }
    });
}

/// Weights in codes: the threads share the bundles, whatever the number of rows; a bundle stays in
/// the cache while the rows pass by.
fn in_codes(kernels: &Kernels, product: &Product<'_>, code: Code, w: &[u8], y: Shared) {
    let blocks = product.inputs().div_ceil(code.unit()) * code.blocks();
    let w_panel = blocks / code.blocks() * code.unit_bytes();
    assert_eq!(w.len(), w_panel * product.panel_count(), "weights");
    let x = CodedRows::new(kernels, product.x, product.inputs(), blocks);
    let (bundles, tasks) = (product.bundles(), bundle_tasks(kernels, product));
    kernels.run(tasks, product.work(), &|task| {
        for bundle in bundles * task / tasks..bundles * (task + 1) / tasks {
            for row in (0..product.rows).step_by(TILE_ROWS) {
                let rows = TILE_ROWS.min(product.rows - row);
                let mut sums = [0.0; TILE_ROWS * BUNDLE * LANES];
                let operands = CodedOperands {
                    code,
                    x: x.codes[row * blocks * BLOCK..].as_ptr(),
                    scales: x.scales[row * blocks..].as_ptr(),
                    sums: x.sums[row * blocks..].as_ptr(),
                    blocks,
                    w: w[bundle * BUNDLE * w_panel..].as_ptr(),
                    w_panel,
                    out: sums.as_mut_ptr(),
                    out_row: BUNDLE * LANES,
                };
                // SAFETY: sizes were checked; `sums` holds a bundle of the most rows; `Kernels`
                // knows its instruction set.
                unsafe { codes::multiply(kernels.isa(), rows, product.panels(bundle), operands) };
                finish(kernels, product, bundle, row, &sums[..rows * BUNDLE * LANES], y);
            }
        }
    });
}

/// Many rows: tasks are blocks of rows times ranges of bundles.
fn wide<N: Number>(kernels: &Kernels, product: &Product<'_>, w: &[N], y: Shared) {
    let tile = kernels.isa().max_rows();
    let blocks = product.rows.div_ceil(BLOCK_ROWS).max(kernels.threads().min(product.rows / tile));
    let bundles = product.bundles();
    let ranges = (kernels.threads() * TASKS_PER_THREAD).div_ceil(blocks).min(bundles);
    kernels.run(blocks * ranges, product.work(), &|task| {
        let (block, range) = (task / ranges, task % ranges);
        let rows = product.rows * block / blocks..product.rows * (block + 1) / blocks;
        let range = bundles * range / ranges..bundles * (range + 1) / ranges;
        SCRATCH.with_borrow_mut(|scratch| block_of(kernels, product, w, rows, range, scratch, y));
    });
}

/// The rows `rows` times the bundles `bundles`.
fn block_of<N: Number>(
    kernels: &Kernels,
    product: &Product<'_>,
    w: &[N],
    rows: std::ops::Range<usize>,
    bundles: std::ops::Range<usize>,
    scratch: &mut Vec<f32>,
    y: Shared,
) {
    let (inputs, count) = (product.inputs(), rows.len());
    let w_panel = product.w.panel_bytes() / size_of::<N>();
    let tiles = count.div_ceil(kernels.isa().max_rows());
    let tile_rows = |tile: usize| count * tile / tiles..count * (tile + 1) / tiles;
    scratch.resize(count * inputs, 0.0);
    for tile in 0..tiles {
        let tile = tile_rows(tile);
        let from = &product.x[(rows.start + tile.start) * inputs..][..tile.len() * inputs];
        interleave(from, inputs, &mut scratch[tile.start * inputs..tile.end * inputs]);
    }
    for bundle in bundles {
        for tile in 0..tiles {
            let tile = tile_rows(tile);
            let mut sums = [0.0; TILE_ROWS * BUNDLE * LANES];
            let operands = Operands {
                x: scratch[tile.start * inputs..].as_ptr(),
                x_row: tile.len(),
                w: w[bundle * BUNDLE * w_panel..].as_ptr(),
                w_panel,
                depth: inputs,
                out: sums.as_mut_ptr(),
                out_row: BUNDLE * LANES,
                resume: false,
                interleaved: true,
                prefetch: false,
            };
            // SAFETY: sizes were checked; the scratch holds the interleaved rows of this tile.
            unsafe { multiply(kernels.isa(), tile.len(), product.panels(bundle), operands) };
            let sums = &sums[..tile.len() * BUNDLE * LANES];
            finish(kernels, product, bundle, rows.start + tile.start, sums, y);
        }
    }
}

/// `[rows, inputs]` to `[inputs, rows]`.
fn interleave(rows: &[f32], inputs: usize, into: &mut [f32]) {
    let count = rows.len() / inputs.max(1);
    for (r, row) in rows.chunks_exact(inputs.max(1)).enumerate() {
        for (k, &x) in row.iter().enumerate() {
            into[k * count + r] = x;
        }
    }
}

/// Finishes one bundle of some rows: `sums` is `[rows, BUNDLE * LANES]`, the first being
/// `first_row`.
fn finish(
    kernels: &Kernels,
    product: &Product<'_>,
    bundle: usize,
    first_row: usize,
    sums: &[f32],
    y: Shared,
) {
    let width = product.width();
    let span = if matches!(product.finish, Finish::SwiGlu) { BUNDLE / 2 } else { BUNDLE } * LANES;
    let column = bundle * span;
    let len = span.min(width - column);
    for (r, sums) in sums.chunks_exact(BUNDLE * LANES).enumerate() {
        let start = (first_row + r) * width + column;
        // SAFETY: this task alone owns these rows of this bundle, which lie inside the result.
        let y = unsafe { y.slice(start, len) };
        match product.finish {
            Finish::Store => y.copy_from_slice(&sums[..len]),
            Finish::Add(to) => {
                for ((y, sum), to) in y.iter_mut().zip(sums).zip(&to[start..]) {
                    *y = sum + to;
                }
            }
            Finish::SwiGlu => {
                for (y, pair) in y.chunks_exact_mut(LANES).zip(sums.chunks_exact(2 * LANES)) {
                    swiglu(kernels.isa(), &pair[..LANES], &pair[LANES..], y);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::decode::decode;
    use crate::codes::number_type::NumberType;
    use crate::isa::Isa;
    use crate::test_numbers::numbers;
    use half::{bf16, f16};
    use s3d_data::Dtype;

    /// Writes a row as a file holds it: numbers as they are, blocks with codes drawn from the bits
    /// of the numbers and scales that keep all values within -1..1.
    fn raw_row(dtype: Dtype, numbers: &[f32], raw: &mut [u8]) {
        let scale = |block: &mut [u8], x: f32| {
            block[..2].copy_from_slice(&f16::from_f32(x).to_le_bytes());
        };
        let blocks = raw.chunks_exact_mut(dtype.block_bytes().unwrap());
        for (raw, x) in blocks.zip(numbers.chunks(dtype.block_weights())) {
            if dtype.is_quantized() {
                let bits = x.iter().flat_map(|x| x.to_bits().to_le_bytes()).cycle();
                raw.iter_mut().zip(bits).for_each(|(byte, bits)| *byte = bits);
            }
            match dtype {
                Dtype::F16 => raw.copy_from_slice(&f16::from_f32(x[0]).to_le_bytes()),
                Dtype::Bf16 => raw.copy_from_slice(&bf16::from_f32(x[0]).to_le_bytes()),
                Dtype::Q8_0 => scale(raw, 1.0 / 128.0),
                Dtype::Q4_0 => scale(raw, 1.0 / 8.0),
                Dtype::Q4K => {
                    scale(raw, 1.0 / 1000.0);
                    scale(&mut raw[2..], 1.0 / 128.0);
                }
                _ => raw.copy_from_slice(&x[0].to_le_bytes()),
            }
        }
    }

    /// `[out][inputs]` numbers as weights in `dtype`.
    fn packed_from(dtype: Dtype, w: &[f32], out: usize, inputs: usize) -> Packed {
        Packed::pack(dtype, out, inputs, |o, raw| raw_row(dtype, &w[o * inputs..][..inputs], raw))
    }

    /// `out * inputs` seeded weights in `dtype`.
    fn packed(dtype: Dtype, out: usize, inputs: usize) -> Packed {
        packed_from(dtype, &numbers(2, out * inputs), out, inputs)
    }

    /// The weights as they are meant, `[out][inputs]`.
    fn meant(w: &Packed) -> Vec<f32> {
        let mut all = Vec::new();
        for o in 0..w.outputs() {
            let mut raw = vec![0; crate::packed::row_bytes(w.dtype(), w.inputs())];
            w.unpack(o, &mut raw);
            let mut row = vec![0.0; w.inputs().next_multiple_of(w.dtype().block_weights())];
            assert!(decode(NumberType::of(w.dtype()).unwrap(), &raw, &mut row));
            all.extend(&row[..w.inputs()]);
        }
        all
    }

    fn product(kernels: &Kernels, rows: usize, w: &Packed, kind: usize) -> Vec<f32> {
        let (x, to) = (numbers(1, rows * w.inputs()), numbers(3, rows * w.outputs()));
        let finish = [Finish::Store, Finish::Add(&to), Finish::SwiGlu][kind];
        let product = Product { x: &x, rows, w, finish };
        let mut y = vec![f32::NAN; rows * product.width()];
        matmul(kernels, &product, &mut y);
        y
    }

    #[test]
    fn a_row_has_the_same_bits_at_every_width_thread_count_and_instruction_set() {
        let plain = Kernels::new(1, Isa::Portable);
        let shapes = [(40, 33, 0), (600, 128, 1), (160, 48, 2)];
        for (dtype, (out, inputs, kind)) in
            Dtype::ENGINE.into_iter().flat_map(|dtype| shapes.map(|shape| (dtype, shape)))
        {
            let w = packed(dtype, out, inputs);
            let reference = product(&plain, 60, &w, kind);
            for (isa, threads) in Isa::available().into_iter().flat_map(|i| [(i, 1), (i, 3)]) {
                let kernels = Kernels::new(threads, isa);
                for rows in [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 25, 60] {
                    let y = product(&kernels, rows, &w, kind);
                    let same = y == reference[..y.len()];
                    assert!(
                        same,
                        "{dtype} {isa:?}, {threads} threads, {rows} rows of {out} x {inputs}"
                    );
                }
            }
        }
    }

    #[test]
    fn halves_have_the_bits_of_the_numbers_they_stand_for() {
        let kernels = Kernels::new(2, Isa::detect());
        for dtype in [Dtype::F16, Dtype::Bf16] {
            let w = packed(dtype, 200, 96);
            let wide = packed_from(Dtype::F32, &meant(&w), 200, 96);
            for rows in [1, 5, 20] {
                assert_eq!(product(&kernels, rows, &w, 0), product(&kernels, rows, &wide, 0));
            }
        }
    }

    #[test]
    fn the_three_finishes_agree_with_the_naive_product() {
        // source: the definition, in f64, over the weights as they are meant. Where activations are
        // coded, each is off by at most half a step of 1 / 127 of the largest of its block (1
        // here).
        let (rows, out, inputs) = (3, 64, 256);
        let kernels = Kernels::new(2, Isa::detect());
        let (x, to) = (numbers(1, rows * inputs), numbers(3, rows * out));
        for dtype in Dtype::ENGINE {
            let w = packed(dtype, out, inputs);
            let weights = meant(&w);
            let weight = |o: usize, k: usize| f64::from(weights[o * inputs + k]);
            let dot = |r: usize, o: usize| -> f64 {
                (0..inputs).map(|k| f64::from(x[r * inputs + k]) * weight(o, k)).sum()
            };
            let slack = |o: usize| -> f64 {
                let coded = dtype.is_quantized();
                let sum: f64 = (0..inputs).map(|k| weight(o, k).abs()).sum();
                if coded { sum / 254.0 } else { 0.0 }
            };
            let close = |found: f32, exact: f64, slack: f64| {
                assert!((f64::from(found) - exact).abs() < slack + 1e-4, "{dtype} {found} {exact}");
            };
            for (i, y) in product(&kernels, rows, &w, 0).into_iter().enumerate() {
                close(y, dot(i / out, i % out), slack(i % out));
            }
            for (i, y) in product(&kernels, rows, &w, 1).into_iter().enumerate() {
                close(y, dot(i / out, i % out) + f64::from(to[i]), slack(i % out));
            }
            let products = product(&kernels, rows, &w, 0);
            for (i, y) in product(&kernels, rows, &w, 2).into_iter().enumerate() {
                let (r, c) = (i / (out / 2), i % (out / 2));
                let o = c / LANES * 2 * LANES + c % LANES;
                let [gate, up] = [o, o + LANES].map(|o| f64::from(products[r * out + o]));
                close(y, gate / (1.0 + (-gate).exp()) * up, 1e-4 * up.abs());
            }
        }
    }
}
