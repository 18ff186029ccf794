//! Reads the weights of a model from their source, matrix by matrix or in bands, and remembers
//! which.

use crate::error::{Error, Result};
use crate::weights::draft_vocabulary::{DRAFT_VOCABULARY, DraftVocabulary};
use crate::weights::encoded::BAND;
use crate::weights::encoded::Matrix;
use crate::weights::source::{HEAD, WeightSource};
use s3d_data::Dtype;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;

/// A source, and the names that it was asked for.
pub(super) struct Reader<'s> {
    source: &'s dyn WeightSource,
    asked: RefCell<BTreeSet<String>>,
}

impl<'s> Reader<'s> {
    pub(super) fn new(source: &'s dyn WeightSource) -> Self {
        Self { source, asked: RefCell::default() }
    }

    /// Rows that a matrix is read by: bands, so that it needs no second copy in memory, or all of
    /// them where the source cannot give bands.
    pub(super) fn band(&self, name: &str, shape: [usize; 2], dtype: Dtype) -> Result<usize> {
        self.ask(name);
        let bands = self.source.rows(name, shape, 0..0, dtype)?.is_some();
        Ok(if bands { BAND } else { shape[0] })
    }

    /// A band of a matrix of `shape` in the file, as [`Self::band`] says; or all of it.
    pub(super) fn read(
        &self,
        name: &str,
        shape: [usize; 2],
        rows: Range<usize>,
        dtype: Dtype,
    ) -> Result<Matrix> {
        self.ask(name);
        if rows == (0..shape[0]) {
            return self.matrix(name, shape, dtype);
        }
        let band = self.source.rows(name, shape, rows, dtype)?;
        let band =
            band.ok_or_else(|| Error::invalid(format!("'{name}' can only be read whole")))?;
        check_range(name, &band, dtype)?;
        Ok(band)
    }

    /// Remembers that a name was asked for.
    fn ask(&self, name: &str) {
        self.asked.borrow_mut().insert(name.to_string());
    }

    /// A whole matrix, as it is stored where that is as wanted.
    pub(super) fn matrix(&self, name: &str, shape: [usize; 2], wanted: Dtype) -> Result<Matrix> {
        self.ask(name);
        let matrix = self.source.matrix(name, shape, wanted)?;
        check_range(name, &matrix, wanted)?;
        Ok(matrix)
    }

    /// A tensor of the source.
    pub(super) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.ask(name);
        self.source.tensor(name, shape)
    }

    /// The tokens that drafts are chosen from.
    pub(super) fn draft_vocabulary(&self, count: usize, vocab: usize) -> Result<DraftVocabulary> {
        self.ask(DRAFT_VOCABULARY);
        self.source.draft_vocabulary(count, vocab)
    }

    /// Refuses weights that nothing asked for: a model without them is another model. A head beside
    /// a `tied` one is its copy (see [`crate::weights::checkpoint`]), and frequencies are computed.
    pub(super) fn check_all_used(&self, tied: bool) -> Result<()> {
        let asked = self.asked.borrow();
        let names = self.source.names();
        let idle = |name: &str| name.ends_with("rotary_emb.inv_freq") || tied && name == HEAD;
        // The first by name: files list their tensors in any order.
        let left = names.iter().filter(|name| !idle(name) && !asked.contains(*name)).min();
        match left {
            None => Ok(()),
            Some(name) => Err(Error::invalid(format!(
                "the checkpoint holds '{}', which its configuration does not call for; is it of \
                 another architecture, or of more layers?",
                name.chars().take(80).collect::<String>().escape_debug()
            ))),
        }
    }
}

/// Refuses a number that is too large for the type it is to be held in, where it would become
/// infinite: for a half or the scale of a block, which is one.
pub(super) fn check_range(name: &str, matrix: &Matrix, dtype: Dtype) -> Result<()> {
    // From here on, a half rounds to infinity.
    const HALF: f32 = 65_520.0;
    let Matrix::F32(numbers) = matrix else { return Ok(()) };
    let below = match dtype {
        Dtype::F16 => HALF,
        Dtype::Q8_0 => HALF * 127.0,
        Dtype::Q4_0 => HALF * 8.0,
        Dtype::Q4K => HALF * 63.0 * 7.0,
        Dtype::Bf16 => half::bf16::MAX.to_f32(),
        _ => return Ok(()),
    };
    let most = numbers.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    match most < below {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "tensor '{name}' holds a weight of size {most}, too large for {dtype}; load it as {} \
             (--dtype)",
            if dtype == Dtype::Bf16 { Dtype::F32 } else { Dtype::Bf16 }
        ))),
    }
}
