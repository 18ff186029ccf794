//! Logits that leave a pass, and what is read of them: every row, the most likely tokens, whether
//! they are numbers at all.

use super::cpu::numbers;
use crate::error::{Error, Result};
use candle_core::{D, Device, Storage, Tensor};
use s3d_kernels::elementwise::argmax;
use std::ops::Range;

/// Logits of a pass, `[rows, columns]` of `f32`, where they were computed.
#[derive(Debug, Clone)]
pub struct Logits(Place);

/// Where logits are.
#[derive(Debug, Clone)]
enum Place {
    /// On the CPU, or on a card of candle's.
    Tensor(Tensor),
    /// On a Vulkan device.
    #[cfg(feature = "gpu")]
    Gpu(s3d_gpu::Rows, crate::device::Gpu),
}

#[cfg(test)]
impl Logits {
    /// These numbers, so many in a row.
    pub(crate) fn of(numbers: &[f32], columns: usize) -> Self {
        let shape = (numbers.len() / columns, columns);
        Tensor::from_slice(numbers, shape, &Device::Cpu).map_or_else(|e| panic!("{e}"), Self::from)
    }
}

impl From<Tensor> for Logits {
    fn from(logits: Tensor) -> Self {
        Self(Place::Tensor(logits))
    }
}

impl Logits {
    /// Those of rows on a Vulkan device, which stay there.
    #[cfg(feature = "gpu")]
    pub(super) fn on_gpu(rows: s3d_gpu::Rows, gpu: crate::device::Gpu) -> Self {
        Self(Place::Gpu(rows, gpu))
    }

    /// How many each row has.
    ///
    /// # Errors
    /// When they are no matrix.
    pub fn columns(&self) -> Result<usize> {
        match &self.0 {
            Place::Tensor(logits) => Ok(logits.dims2()?.1),
            #[cfg(feature = "gpu")]
            Place::Gpu(logits, _) => Ok(logits.width()),
        }
    }

    /// All of them, on the host.
    ///
    /// # Errors
    /// When they are no `[rows, columns]` of `f32`, or the device fails.
    pub fn to_rows(&self) -> Result<Vec<Vec<f32>>> {
        let mut rows = Vec::new();
        for_each_row(self, |row| rows.push(row.to_vec()))?;
        Ok(rows)
    }

    /// Those of some rows.
    ///
    /// # Errors
    /// When they are not there.
    pub(crate) fn part(&self, rows: Range<usize>) -> Result<Self> {
        #[cfg(feature = "gpu")]
        if let Place::Gpu(all, gpu) = &self.0 {
            return Ok(Self::on_gpu(s3d_gpu::Rows::joined(gpu, &[(all, rows)])?, gpu.clone()));
        }
        Ok(self.tensor()?.narrow(0, rows.start, rows.len())?.into())
    }

    /// The tensor that the kernels or candle computed.
    ///
    /// # Errors
    /// Where another backend did.
    pub(crate) fn tensor(&self) -> Result<&Tensor> {
        match &self.0 {
            Place::Tensor(logits) => Ok(logits),
            #[cfg(feature = "gpu")]
            Place::Gpu(..) => Err(Error::foreign()),
        }
    }
}

/// Calls `read` with every row of logits, on the host.
///
/// # Errors
/// When they are no `[rows, columns]` of `f32`, or the device fails.
pub(crate) fn for_each_row(logits: &Logits, mut read: impl FnMut(&[f32])) -> Result<()> {
    let columns = logits.columns()?;
    on_host(logits, |all| {
        all.chunks_exact(columns).for_each(&mut read);
        Ok(())
    })
}

/// Has `read` read all logits, row after row, on the host.
///
/// # Errors
/// As [`for_each_row`]; what `read` refuses.
pub(crate) fn on_host<T>(logits: &Logits, read: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    #[cfg(feature = "gpu")]
    if let Place::Gpu(rows, gpu) = &logits.0 {
        return read(&rows.read(gpu)?);
    }
    let matrix = logits.tensor()?;
    let host = matrix.to_device(&Device::Cpu)?;
    let (storage, layout) = host.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => read(numbers(storage, layout)?),
        _ => Err(Error::invalid("a tensor on the host has host storage")),
    }
}

/// Refuses logits that are no numbers: whatever is chosen among them is no text. On a device they
/// are not looked at, which would make the pass wait.
pub(super) fn check_finite(logits: &Logits) -> Result<()> {
    if !logits.tensor()?.device().is_cpu() {
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
/// When they are no `[rows, columns]` of `f32`, or the device fails.
pub fn argmax_rows(logits: &Logits) -> Result<Vec<u32>> {
    #[cfg(feature = "gpu")]
    if let Place::Gpu(rows, gpu) = &logits.0 {
        return Ok(gpu.arg_max(rows)?);
    }
    let matrix = logits.tensor()?;
    if !matrix.device().is_cpu() {
        return Ok(matrix.argmax(D::Minus1)?.to_vec1::<u32>()?);
    }
    let mut tokens = Vec::new();
    for_each_row(logits, |row| tokens.push(argmax(row)))?;
    Ok(tokens)
}
