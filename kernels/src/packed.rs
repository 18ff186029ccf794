//! A weight matrix in panels, in any number type: the layout that the products stream.
//!
//! Numbers that stand alone lie as [`crate::panels`] says. Blocks with a scale keep their codes,
//! bit by bit, but in another order: a unit of a panel holds 64 inputs (256 for q4_k) of 16
//! outputs, and in it a vector of 64 bytes holds 4 consecutive inputs of each output, so that one
//! unpacking of the codes serves all rows of a pass. Scales follow the codes of their unit.
//!
//! | type | unit | codes | then |
//! |---|---|---|---|
//! | q8_0 | 64 inputs, 1088 bytes | 16 vectors, sign bit flipped | 2 x 16 scales (f16) |
//! | q4_0 | 64 inputs, 576 bytes | 8 vectors, inputs `k` and `k + 16` of a block share a byte | 2 x 16 scales (f16) |
//! | q4_k | 256 inputs, 2368 bytes | 32 vectors, likewise | 8 x 16 scales and 8 x 16 minima (a byte each), 16 + 16 factors (f16) |

use crate::codes::decode::q4k_scales;
use crate::pages::Pages;
use crate::panels::{LANES, panel_count};
use half::{bf16, f16};
use rayon::prelude::*;
use s3d_data::Dtype;
use std::ops::Range;

/// Weights of one block with a scale, and of one block of activations.
pub(crate) const BLOCK: usize = 32;

/// A cache line: the alignment of panels.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// `W[outputs, inputs]` in panels.
#[derive(Debug)]
pub struct Packed {
    dtype: Dtype,
    outputs: usize,
    inputs: usize,
    panel_bytes: usize,
    lines: Pages<Line>,
}

/// The panels of a matrix, as the products take them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Panels<'w> {
    /// `[panels][inputs][LANES]`.
    F32(&'w [f32]),
    /// The same in halves.
    F16(&'w [f16]),
    /// The same in halves with the exponent of `f32`.
    Bf16(&'w [bf16]),
    /// Units of codes and scales.
    Coded(Code, &'w [u8]),
}

/// How codes with scales are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// Blocks of q8_0.
    Q8_0,
    /// Blocks of q4_0.
    Q4_0,
    /// Blocks of q4_k.
    Q4K,
}

impl Code {
    /// The layout of a number type, if it is one of codes that the kernels know.
    pub(crate) fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::Q8_0 => Some(Self::Q8_0),
            Dtype::Q4_0 => Some(Self::Q4_0),
            Dtype::Q4K => Some(Self::Q4K),
            _ => None,
        }
    }

    /// Inputs of one unit.
    pub(crate) const fn unit(self) -> usize {
        self.blocks() * BLOCK
    }

    /// Blocks of activations that one unit meets.
    pub(crate) const fn blocks(self) -> usize {
        match self {
            Self::Q8_0 | Self::Q4_0 => 2,
            Self::Q4K => 8,
        }
    }

    /// Bytes of the codes of 32 inputs of 16 outputs.
    pub(crate) const fn block_codes(self) -> usize {
        match self {
            Self::Q8_0 => BLOCK * LANES,
            Self::Q4_0 | Self::Q4K => BLOCK * LANES / 2,
        }
    }

    /// Bytes of one unit, a whole number of cache lines.
    pub(crate) const fn unit_bytes(self) -> usize {
        let scales = match self {
            Self::Q8_0 | Self::Q4_0 => 4 * LANES,
            Self::Q4K => 16 * LANES + 4 * LANES,
        };
        self.blocks() * self.block_codes() + scales
    }

    /// What was added to a code so that it is not negative.
    pub(crate) const fn offset(self) -> i32 {
        match self {
            Self::Q8_0 => 128,
            Self::Q4_0 => 8,
            Self::Q4K => 0,
        }
    }
}

impl Packed {
    /// Packs `W[outputs, inputs]` given row by row: `row(o, bytes)` writes row `o` as a file of
    /// this type holds it, in [`row_bytes`] bytes. A row that is left alone stays zero.
    ///
    /// # Panics
    /// For a type that the kernels do not know; callers choose from [`Dtype::ENGINE`].
    pub fn pack(
        dtype: Dtype,
        outputs: usize,
        inputs: usize,
        row: impl Fn(usize, &mut [u8]) + Sync,
    ) -> Self {
        let mut packed = Self::zeros(dtype, outputs, inputs);
        packed.fill(0..outputs, row);
        packed
    }

    /// A matrix of zeros, to be [filled](Self::fill).
    pub fn zeros(dtype: Dtype, outputs: usize, inputs: usize) -> Self {
        let panel_bytes = match Code::of(dtype) {
            Some(code) => inputs.div_ceil(code.unit()) * code.unit_bytes(),
            None => row_bytes(dtype, inputs) * LANES,
        };
        let panel_lines = panel_bytes.div_ceil(size_of::<Line>());
        let lines = Pages::filled(panel_count(outputs) * panel_lines, Line([0; 64]));
        Self { dtype, outputs, inputs, panel_bytes: panel_lines * size_of::<Line>(), lines }
    }

    /// Packs the rows `band`, given as to [`Self::pack`]. A band begins with a panel.
    pub fn fill(&mut self, band: Range<usize>, row: impl Fn(usize, &mut [u8]) + Sync) {
        let (dtype, outputs) = (self.dtype, band.end.min(self.outputs));
        let raw = row_bytes(dtype, self.inputs);
        let panel_lines = (self.panel_bytes / size_of::<Line>()).max(1);
        let panels = band.start / LANES..panel_count(outputs);
        let lines = self.lines.get_mut(panels.start * panel_lines..panels.end * panel_lines);
        let lines = lines.unwrap_or_default().par_chunks_mut(panel_lines).enumerate();
        lines.for_each(|(panel, lines)| {
            let panel = panels.start + panel;
            let mut rows = vec![0; raw * LANES];
            let lanes = LANES.min(outputs - panel * LANES);
            for (lane, bytes) in rows.chunks_exact_mut(raw.max(1)).enumerate().take(lanes) {
                row(panel * LANES + lane, bytes);
            }
            let panel = bytes_mut(lines);
            for (lane, bytes) in rows.chunks_exact(raw.max(1)).enumerate().take(lanes) {
                write_lane(dtype, bytes, lane, panel);
            }
        });
    }

    /// The number type.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Rows of the matrix.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns of the matrix.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Bytes held, and read by one product.
    pub fn bytes(&self) -> u64 {
        size_of_val(&self.lines[..]) as u64
    }

    /// From one panel to the next, in bytes.
    pub(crate) fn panel_bytes(&self) -> usize {
        self.panel_bytes
    }

    /// The panels.
    pub(crate) fn panels(&self) -> Panels<'_> {
        let bytes = bytes(&self.lines);
        // SAFETY: lines are aligned to 64 bytes, and every bit pattern is a number.
        unsafe {
            match (Code::of(self.dtype), self.dtype) {
                (Some(code), _) => Panels::Coded(code, bytes),
                (None, Dtype::F16) => Panels::F16(bytes.align_to().1),
                (None, Dtype::Bf16) => Panels::Bf16(bytes.align_to().1),
                (None, _) => Panels::F32(bytes.align_to().1),
            }
        }
    }

    /// Writes row `o` into `raw`, of [`row_bytes`] bytes, as a file of this type holds it.
    pub fn unpack(&self, o: usize, raw: &mut [u8]) {
        let panel = &bytes(&self.lines)[o / LANES * self.panel_bytes..][..self.panel_bytes];
        read_lane(self.dtype, panel, o % LANES, raw);
    }
}

/// Bytes of a row of `inputs` weights in a file, the last block filled up.
pub fn row_bytes(dtype: Dtype, inputs: usize) -> usize {
    inputs.div_ceil(dtype.block_weights()) * dtype.block_bytes().unwrap_or(0)
}

fn bytes(lines: &[Line]) -> &[u8] {
    // SAFETY: a line is 64 bytes without padding.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), size_of_val(lines)) }
}

fn bytes_mut(lines: &mut [Line]) -> &mut [u8] {
    // SAFETY: a line is 64 bytes without padding, and every bit pattern is one.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), size_of_val(lines)) }
}

/// Puts one row, as a file holds it, into its lane of a panel.
fn write_lane(dtype: Dtype, raw: &[u8], lane: usize, panel: &mut [u8]) {
    let Some(code) = Code::of(dtype) else {
        let size = dtype.block_bytes().unwrap_or(1);
        for (k, number) in raw.chunks_exact(size).enumerate() {
            panel[(k * LANES + lane) * size..][..size].copy_from_slice(number);
        }
        return;
    };
    let per_unit = code.unit() / dtype.block_weights();
    for (block, raw) in raw.chunks_exact(dtype.block_bytes().unwrap_or(1)).enumerate() {
        let unit = &mut panel[block / per_unit * code.unit_bytes()..][..code.unit_bytes()];
        let (codes, scales) = unit.split_at_mut(code.blocks() * code.block_codes());
        if code == Code::Q4K {
            write_q4k(raw, lane, codes, scales);
            continue;
        }
        let place = block % per_unit;
        let codes = &mut codes[place * code.block_codes()..][..code.block_codes()];
        let flip = if code == Code::Q8_0 { 0x80 } else { 0 };
        for (four, vector) in raw[2..].chunks_exact(4).zip(codes.chunks_exact_mut(4 * LANES)) {
            for (byte, four) in vector[4 * lane..][..4].iter_mut().zip(four) {
                *byte = four ^ flip;
            }
        }
        scales[(place * LANES + lane) * 2..][..2].copy_from_slice(&raw[..2]);
    }
}

/// The inverse of [`write_lane`].
fn read_lane(dtype: Dtype, panel: &[u8], lane: usize, raw: &mut [u8]) {
    let Some(code) = Code::of(dtype) else {
        let size = dtype.block_bytes().unwrap_or(1);
        for (k, number) in raw.chunks_exact_mut(size).enumerate() {
            number.copy_from_slice(&panel[(k * LANES + lane) * size..][..size]);
        }
        return;
    };
    let per_unit = code.unit() / dtype.block_weights();
    for (block, raw) in raw.chunks_exact_mut(dtype.block_bytes().unwrap_or(1)).enumerate() {
        let unit = &panel[block / per_unit * code.unit_bytes()..][..code.unit_bytes()];
        let (codes, scales) = unit.split_at(code.blocks() * code.block_codes());
        if code == Code::Q4K {
            read_q4k(codes, scales, lane, raw);
            continue;
        }
        let place = block % per_unit;
        let codes = &codes[place * code.block_codes()..][..code.block_codes()];
        let flip = if code == Code::Q8_0 { 0x80 } else { 0 };
        for (four, vector) in raw[2..].chunks_exact_mut(4).zip(codes.chunks_exact(4 * LANES)) {
            for (four, byte) in four.iter_mut().zip(&vector[4 * lane..][..4]) {
                *four = byte ^ flip;
            }
        }
        raw[..2].copy_from_slice(&scales[(place * LANES + lane) * 2..][..2]);
    }
}

/// Where scales, minima and the two factors of q4_k begin behind the codes of a unit.
const Q4K_PARTS: [usize; 4] = [0, 8 * LANES, 16 * LANES, 18 * LANES];

/// One block of q4_k into its lane. In the file 32 bytes hold two sub-blocks, the first in the
/// lower halves; here 16 bytes hold one, its first 16 weights in the lower halves.
fn write_q4k(raw: &[u8], lane: usize, codes: &mut [u8], scales: &mut [u8]) {
    for sub in 0..8 {
        let code = |i: usize| raw[16 + sub / 2 * BLOCK + i] >> (sub % 2 * 4) & 15;
        let codes = &mut codes[sub * BLOCK * LANES / 2..][..BLOCK * LANES / 2];
        for i in 0..BLOCK / 2 {
            codes[i / 4 * 4 * LANES + 4 * lane + i % 4] = code(i) | code(i + 16) << 4;
        }
        let (scale, minimum) = q4k_scales(sub, &raw[4..16]);
        scales[Q4K_PARTS[0] + sub * LANES + lane] = scale;
        scales[Q4K_PARTS[1] + sub * LANES + lane] = minimum;
    }
    scales[Q4K_PARTS[2] + 2 * lane..][..2].copy_from_slice(&raw[..2]);
    scales[Q4K_PARTS[3] + 2 * lane..][..2].copy_from_slice(&raw[2..4]);
}

/// The inverse of [`write_q4k`].
fn read_q4k(codes: &[u8], scales: &[u8], lane: usize, raw: &mut [u8]) {
    raw.fill(0);
    for sub in 0..8 {
        let codes = &codes[sub * BLOCK * LANES / 2..][..BLOCK * LANES / 2];
        for i in 0..BLOCK / 2 {
            let pair = codes[i / 4 * 4 * LANES + 4 * lane + i % 4];
            raw[16 + sub / 2 * BLOCK + i] |= (pair & 15) << (sub % 2 * 4);
            raw[16 + sub / 2 * BLOCK + i + 16] |= (pair >> 4) << (sub % 2 * 4);
        }
        let scale = scales[Q4K_PARTS[0] + sub * LANES + lane];
        let minimum = scales[Q4K_PARTS[1] + sub * LANES + lane];
        let packed = &mut raw[4..16];
        if sub < 4 {
            packed[sub] |= scale;
            packed[sub + 4] |= minimum;
        } else {
            packed[sub + 4] |= scale & 15 | (minimum & 15) << 4;
            packed[sub - 4] |= scale >> 4 << 6;
            packed[sub] |= minimum >> 4 << 6;
        }
    }
    raw[..2].copy_from_slice(&scales[Q4K_PARTS[2] + 2 * lane..][..2]);
    raw[2..4].copy_from_slice(&scales[Q4K_PARTS[3] + 2 * lane..][..2]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_to_the_bit() {
        for dtype in Dtype::ENGINE {
            for (outputs, inputs) in [(19, 256), (16, 768), (40, 96), (3, 33)] {
                let raw = row_bytes(dtype, inputs);
                let byte = |o: usize, i: usize| (o * 131 + i * 37 + i / 251) as u8;
                let packed = Packed::pack(dtype, outputs, inputs, |o, bytes| {
                    bytes.iter_mut().enumerate().for_each(|(i, b)| *b = byte(o, i));
                });
                for o in 0..outputs {
                    let mut found = vec![0; raw];
                    packed.unpack(o, &mut found);
                    let expected: Vec<u8> = (0..raw).map(|i| byte(o, i)).collect();
                    assert_eq!(found, expected, "{dtype} {outputs} x {inputs}, row {o}");
                }
            }
        }
    }

    #[test]
    fn a_packed_matrix_is_hardly_larger_than_its_file() {
        for dtype in Dtype::ENGINE {
            let packed = Packed::pack(dtype, 64, 2048, |_, _| {});
            let excess = packed.bytes() as f64 / dtype.bytes(64 * 2048);
            assert!((1.0..1.03).contains(&excess), "{dtype}: {excess}");
        }
    }
}
