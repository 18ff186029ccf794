//! What a pass over the rows of many texts takes apart and puts together again.

use super::Backend;
use super::convert::Rows;
use super::placed::Rotated;
use crate::error::{Error, Result};
use candle_core::Tensor;
use std::ops::Range;

impl Backend {
    /// Some of the rows that were rotated together.
    ///
    /// # Errors
    /// Rows that are not there, or that candle has turned.
    pub(crate) fn part(&self, rotated: &Rotated, rows: Range<usize>) -> Result<Rotated> {
        match (self, rotated) {
            (_, Rotated::Cpu(all)) => Ok(Rotated::Cpu(all.narrow(0, rows.start, rows.len())?)),
            #[cfg(feature = "gpu")]
            (Self::Gpu(gpu), Rotated::Gpu(all)) => Ok(Rotated::Gpu(gpu.part(all, rows)?)),
            _ => Err(Error::invalid(
                "texts are decoded together where rows do not depend on their pass",
            )),
        }
    }

    /// The rows `rows` of `x[_, width]`.
    ///
    /// # Errors
    /// When they are not there.
    pub(crate) fn rows(&self, x: &Rows, rows: Range<usize>) -> Result<Rows> {
        #[cfg(feature = "gpu")]
        if let Self::Gpu(gpu) = self {
            return gpu.joined(&[(x, rows)]);
        }
        Ok(Rows::Tensor(x.tensor()?.narrow(0, rows.start, rows.len())?))
    }

    /// All rows of `parts`, one part after the other.
    ///
    /// # Errors
    /// Parts of different widths, or none.
    pub(crate) fn joined(&self, parts: &[Rows]) -> Result<Rows> {
        #[cfg(feature = "gpu")]
        if let Self::Gpu(gpu) = self {
            return gpu.all_of(parts);
        }
        let parts = parts.iter().map(Rows::tensor).collect::<Result<Vec<_>>>()?;
        Ok(Rows::Tensor(Tensor::cat(&parts, 0)?))
    }
}
