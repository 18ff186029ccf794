//! Prepared passes of fixed shape over the buffers of one cache, with which they live and end.

use crate::device::graph::Recording;
use crate::error::Result;
use candle_core::Tensor;
use s3d_data::Skip;
use std::collections::HashMap;
use std::ops::Range;

/// What makes two passes the same work.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PassShape {
    pub rows: usize,
    /// Positions of the cache that are looked at.
    pub positions: usize,
    pub skip: Option<Skip>,
    pub adapted: bool,
}

/// The passes of fixed shape over one cache.
#[derive(Debug, Default)]
pub(crate) struct Passes(pub HashMap<PassShape, Pass>);

/// One of them.
#[derive(Debug)]
pub(crate) struct Pass {
    pub inputs: Inputs,
    /// `[rows, vocab]` or `[rows, draft vocabulary]`, written by the pass.
    pub logits: Tensor,
    pub recording: Option<Box<dyn Recording>>,
}

/// What a pass brings from the host.
#[derive(Debug)]
pub(crate) struct Inputs {
    /// Embeddings, cosines, sines, mask, one behind the other.
    pub numbers: Tensor,
    /// Where keys and values are written, `[rows]`.
    pub places: Tensor,
}

impl Inputs {
    /// Takes over what `other` holds, in place.
    pub(crate) fn fill(&self, other: &Self) -> Result<()> {
        self.numbers.slice_set(&other.numbers, 0, 0)?;
        Ok(self.places.slice_set(&other.places, 0, 0)?)
    }

    /// Part of the numbers as a matrix of `rows` rows.
    pub(crate) fn part(&self, range: Range<usize>, rows: usize) -> Result<Tensor> {
        let columns = range.len() / rows;
        Ok(self.numbers.narrow(0, range.start, range.len())?.reshape((rows, columns))?)
    }
}
