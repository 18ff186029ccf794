//! What the driver makes of the products, checked before they are trusted.
//!
//! The order of a row's sums is written down, but a compiler may still choose for each pipeline
//! whether it rounds between a product and its sum. So whatever pipeline is made is run once on
//! small numbers and compared with the one for a single row, to the bit.

use crate::shader::TILE;
use crate::{Error, Gpu, Matrix, Result, Rows};
use s3d_data::Dtype;
use std::sync::atomic::Ordering;

/// Sizes of the product: some lanes have more to do than others, and the last outputs are no whole
/// group.
const INPUTS: usize = 224;
const OUTPUTS: usize = 6;

/// Finds out how products are right on a device that was just opened.
///
/// # Errors
/// When they are not.
pub(crate) fn settle(gpu: &Gpu) -> Result<()> {
    if let Err(Error::Wrong { .. }) = agrees(gpu, Dtype::F32, 5) {
        gpu.whole_tiles.store(true, Ordering::Relaxed);
    }
    let (matrix, x) = operands(gpu, Dtype::F32, 1)?;
    let found = gpu.matmul(&matrix, &x)?.read(gpu)?;
    for (o, &found) in found.iter().enumerate() {
        let product = |k: usize| f64::from(number(o * INPUTS + k)) * f64::from(activation(k));
        let right: f64 = (0..INPUTS).map(product).sum();
        if (f64::from(found) - right).abs() > 1e-4 {
            let what = format!("a product is {found}, expected {right}");
            return Err(Error::Wrong { adapter: gpu.adapter.name.clone(), what });
        }
    }
    Ok(())
}

/// Refuses a pipeline whose rows are not those of a pass of width 1.
///
/// # Errors
/// When a bit differs.
pub(crate) fn agrees(gpu: &Gpu, dtype: Dtype, rows: usize) -> Result<()> {
    if rows == 1 || gpu.whole_tiles.load(Ordering::Relaxed) {
        return Ok(());
    }
    let (matrix, x) = operands(gpu, dtype, rows)?;
    let together = gpu.matmul(&matrix, &x)?.read(gpu)?;
    let all = x.read(gpu)?;
    for (row, together) in all.chunks_exact(INPUTS).zip(together.chunks_exact(OUTPUTS)) {
        let alone = gpu.matmul(&matrix, &Rows::of(gpu, row, INPUTS)?)?.read(gpu)?;
        if alone.iter().zip(together).any(|(a, b)| a.to_bits() != b.to_bits()) {
            let what = format!("a row of {dtype} alone and among {rows} differ");
            return Err(Error::Wrong { adapter: gpu.adapter.name.clone(), what });
        }
    }
    Ok(())
}

/// A matrix and rows of numbers in -1..1 that no rounding leaves alone.
fn operands(gpu: &Gpu, dtype: Dtype, rows: usize) -> Result<(Matrix, Rows)> {
    let x: Vec<f32> = (0..rows.min(TILE) * INPUTS).map(activation).collect();
    let matrix = Matrix::of(gpu, dtype, INPUTS, &weights(dtype))?;
    Ok((matrix, Rows::of(gpu, &x, INPUTS)?))
}

fn weights(dtype: Dtype) -> Vec<u8> {
    let count = OUTPUTS * INPUTS;
    let scale = half::f16::from_f32(0.003).to_le_bytes();
    let codes = |block: usize, bytes: usize| {
        let code = move |i: usize| (number(block * bytes + i) * 127.0) as i8;
        scale.into_iter().chain((0..bytes).map(move |i| code(i).cast_unsigned()))
    };
    match dtype {
        Dtype::Q8_0 => (0..count / 32).flat_map(|block| codes(block, 32)).collect(),
        Dtype::Q4_0 => (0..count / 32).flat_map(|block| codes(block, 16)).collect(),
        Dtype::F16 => {
            (0..count).flat_map(|i| half::f16::from_f32(number(i)).to_le_bytes()).collect()
        }
        Dtype::Bf16 => {
            (0..count).flat_map(|i| half::bf16::from_f32(number(i)).to_le_bytes()).collect()
        }
        _ => (0..count).flat_map(|i| number(i).to_le_bytes()).collect(),
    }
}

/// The `i`-th weight: the fractions of multiples of the golden ratio lie anywhere.
fn number(i: usize) -> f32 {
    (i as f32 * 0.618_034).fract() * 2.0 - 1.0
}

fn activation(i: usize) -> f32 {
    number(7 * i + 3)
}
