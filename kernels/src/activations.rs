//! Activations as codes: every block of 32 numbers of a row as integers of 8 bits and one scale.
//!
//! Products with codes are then exact sums of integers, block by block. A row is coded by itself,
//! so its codes do not depend on the rows beside it.

use crate::isa::Isa;
use crate::kernels::Kernels;
use crate::packed::BLOCK;

/// Numbers below this are zero: their scale could not be inverted.
const TINY: f32 = 1e-30;
/// 1.5 x 2^23: added to a number, it leaves the nearest integer, ties to even, in the lowest bits.
const ROUNDING: f32 = 12_582_912.0;

/// Rows of codes.
#[derive(Debug, Default)]
pub(crate) struct CodedRows {
    /// `[rows][blocks][BLOCK]`, -127 to 127.
    pub codes: Vec<i8>,
    /// `[rows][blocks]`.
    pub scales: Vec<f32>,
    /// Sums of the codes of each block, `[rows][blocks]`.
    pub sums: Vec<i32>,
}

impl CodedRows {
    /// Codes `x[rows, inputs]`, each row filled up with zeros to `blocks` blocks.
    pub(crate) fn new(kernels: &Kernels, x: &[f32], inputs: usize, blocks: usize) -> Self {
        let rows = x.len() / inputs.max(1);
        let mut coded = Self {
            codes: vec![0; rows * blocks * BLOCK],
            scales: vec![0.0; rows * blocks],
            sums: vec![0; rows * blocks],
        };
        let parts = Parts {
            codes: coded.codes.as_mut_ptr(),
            scales: coded.scales.as_mut_ptr(),
            sums: coded.sums.as_mut_ptr(),
        };
        kernels.run(rows, x.len(), &|row| {
            let x = &x[row * inputs..][..inputs];
            // SAFETY: the parts of this row, which this task alone writes.
            let row = unsafe { parts.row(row, blocks) };
            code_row(kernels.isa(), x, row);
        });
        coded
    }
}

/// The buffers of [`CodedRows`], shared by the tasks that fill them.
struct Parts {
    codes: *mut i8,
    scales: *mut f32,
    sums: *mut i32,
}

// SAFETY: each task writes the parts of its own row.
unsafe impl Sync for Parts {}

/// One row to be filled.
type Row<'a> = (&'a mut [i8], &'a mut [f32], &'a mut [i32]);

impl Parts {
    /// # Safety
    /// Nobody else uses this row, and it exists.
    unsafe fn row(&self, row: usize, blocks: usize) -> Row<'_> {
        // SAFETY: the caller's promise.
        unsafe {
            let codes = self.codes.add(row * blocks * BLOCK);
            (
                std::slice::from_raw_parts_mut(codes, blocks * BLOCK),
                std::slice::from_raw_parts_mut(self.scales.add(row * blocks), blocks),
                std::slice::from_raw_parts_mut(self.sums.add(row * blocks), blocks),
            )
        }
    }
}

fn code_row(isa: Isa, x: &[f32], row: Row<'_>) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Kernels` holds only what this machine has.
        Isa::Avx2 | Isa::Avx512 => unsafe { code_row_avx2(x, row) },
        _ => code_row_here(x, row),
    }
}

/// The same code, compiled for wider vectors; no operation in it may be fused or reordered, so the
/// bits are the same.
///
/// # Safety
/// The machine has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn code_row_avx2(x: &[f32], row: Row<'_>) {
    code_row_here(x, row);
}

#[inline(always)]
fn code_row_here(x: &[f32], (codes, scales, sums): Row<'_>) {
    let blocks = x.chunks_exact(BLOCK);
    let rest = blocks.remainder();
    let mut last = [0.0; BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    let filled = (!rest.is_empty()).then_some(&last[..]);
    let places = codes.chunks_exact_mut(BLOCK).zip(scales).zip(sums);
    for (x, ((codes, scale), sum)) in blocks.chain(filled).zip(places) {
        (*scale, *sum) = code_block(x, codes);
    }
}

/// Codes one block; returns its scale and the sum of its codes.
#[inline(always)]
fn code_block(x: &[f32], codes: &mut [i8]) -> (f32, i32) {
    let mut most = [0.0f32; 8];
    for x in x.chunks_exact(8) {
        for (most, x) in most.iter_mut().zip(x) {
            *most = if x.abs() > *most { x.abs() } else { *most };
        }
    }
    let most = most.into_iter().fold(0.0f32, f32::max);
    if most < TINY {
        return (0.0, 0);
    }
    let inverse = 127.0 / most;
    let mut sum = 0;
    for (code, x) in codes.iter_mut().zip(x) {
        let rounded = (x * inverse + ROUNDING).to_bits().wrapping_sub(ROUNDING.to_bits()) as i32;
        *code = rounded as i8;
        sum += rounded;
    }
    (most / 127.0, sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_numbers::numbers;

    #[test]
    fn codes_are_the_nearest_and_the_same_on_every_instruction_set() {
        let (rows, inputs, blocks) = (3, 75, 4);
        let x = numbers(1, rows * inputs);
        let plain = CodedRows::new(&Kernels::new(1, Isa::Portable), &x, inputs, blocks);
        for isa in Isa::available() {
            let coded = CodedRows::new(&Kernels::new(2, isa), &x, inputs, blocks);
            assert_eq!(coded.codes, plain.codes);
            assert_eq!((coded.scales, coded.sums), (plain.scales.clone(), plain.sums.clone()));
        }
        for (i, &code) in plain.codes.iter().enumerate() {
            let (row, k) = (i / (blocks * BLOCK), i % (blocks * BLOCK));
            let scale = plain.scales[row * blocks + k / BLOCK];
            let x = if k < inputs { x[row * inputs + k] } else { 0.0 };
            assert!((f32::from(code) * scale - x).abs() <= 0.501 * scale, "{code} {scale} {x}");
        }
        for (codes, &sum) in plain.codes.chunks_exact(BLOCK).zip(&plain.sums) {
            assert_eq!(codes.iter().map(|&c| i32::from(c)).sum::<i32>(), sum);
        }
    }

    #[test]
    fn ties_go_to_the_even_code_and_zeros_have_no_scale() {
        // source: 127 / 254 = 0.5, so 1 is code 0.5, 3 is 1.5, 5 is 2.5
        let mut x = [0.0; BLOCK];
        x[..4].copy_from_slice(&[254.0, 1.0, 3.0, -5.0]);
        let kernels = Kernels::new(1, Isa::detect());
        let coded = CodedRows::new(&kernels, &x, BLOCK, 1);
        assert_eq!(coded.codes[..4], [127, 0, 2, -2]);
        assert_eq!((coded.scales[0], coded.sums[0]), (2.0, 127));
        let zero = CodedRows::new(&kernels, &[0.0; BLOCK], BLOCK, 1);
        assert_eq!((zero.scales[0], zero.sums[0]), (0.0, 0));
    }
}
