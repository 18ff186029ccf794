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
    /// Rows that are not there, or not of the kernels.
    pub(crate) fn part(&self, rotated: &Rotated, rows: Range<usize>) -> Result<Rotated> {
        match rotated {
            Rotated::Cpu(all) => Ok(Rotated::Cpu(all.narrow(0, rows.start, rows.len())?)),
            _ => Err(Error::invalid("texts are decoded together by the kernels of the CPU alone")),
        }
    }

    /// The rows `rows` of `x[_, width]`.
    ///
    /// # Errors
    /// When they are not there.
    pub(crate) fn rows(&self, x: &Rows, rows: Range<usize>) -> Result<Rows> {
        Ok(Rows::Tensor(x.tensor()?.narrow(0, rows.start, rows.len())?))
    }

    /// All rows of `parts`, one part after the other.
    ///
    /// # Errors
    /// Parts of different widths, or none.
    pub(crate) fn joined(&self, parts: &[Rows]) -> Result<Rows> {
        let parts = parts.iter().map(Rows::tensor).collect::<Result<Vec<_>>>()?;
        Ok(Rows::Tensor(Tensor::cat(&parts, 0)?))
    }
}
