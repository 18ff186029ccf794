//! What is read of logits: every row, the most likely tokens, whether they are numbers at all.

use super::convert::Rows;
use super::cpu::numbers;
use crate::error::{Error, Result};
use candle_core::{D, Device, Storage, Tensor};
use s3d_kernels::elementwise::argmax;

/// Calls `read` with every row of `[rows, width]`, on the host.
///
/// # Errors
/// When the tensor is no matrix of `f32`.
pub(crate) fn for_each_row(matrix: &Rows, mut read: impl FnMut(&[f32])) -> Result<()> {
    let (_, width) = matrix.dims2()?;
    let host = matrix.to_device(&Device::Cpu)?;
    let (storage, layout) = host.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => {
            numbers(storage, layout)?.chunks_exact(width).for_each(&mut read);
            Ok(())
        }
        _ => Err(Error::invalid("a tensor on the host has host storage")),
    }
}

/// Refuses logits that are no numbers: whatever is chosen among them is no text. On a device they
/// are not looked at, which would make the pass wait.
pub(super) fn check_finite(logits: &Rows) -> Result<()> {
    if !logits.device().is_cpu() {
        return Ok(());
    }
    let mut finite = true;
    // Without an exit within a chunk, whose numbers are then looked at side by side.
    let whole = |chunk: &[f32]| chunk.iter().fold(true, |finite, x| finite & x.is_finite());
    for_each_row(logits, |row| finite &= row.chunks(256).all(whole))?;
    match finite {
        true => Ok(()),
        false => Err(Error::invalid(
            "the logits are not finite: numbers have overflowed within the model; try --dtype \
             f32 or bf16, or fetch the checkpoint again",
        )),
    }
}

/// The most likely token of each row of logits; the first of equals. On a device it is found there,
/// and reading it is the one time that a pass waits.
///
/// # Errors
/// When the tensor is no `[rows, vocab]` of `f32`.
pub fn argmax_rows(logits: &Tensor) -> Result<Vec<u32>> {
    if !logits.device().is_cpu() {
        return Ok(logits.argmax(D::Minus1)?.to_vec1::<u32>()?);
    }
    let mut tokens = Vec::new();
    for_each_row(logits, |row| tokens.push(argmax(row)))?;
    Ok(tokens)
}
