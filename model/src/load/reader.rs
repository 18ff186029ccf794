//! Reads the weights of a model from their source, matrix by matrix or in bands, and remembers which.

use crate::linear::BAND;
use crate::raw::Matrix;
use crate::weights::WeightSource;
use crate::{Error, Result};
use s3d_data::Dtype;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;

/// A source, and the names that it was asked for.
pub struct Reader<'s> {
    source: &'s dyn WeightSource,
    asked: RefCell<BTreeSet<String>>,
}

impl<'s> Reader<'s> {
    pub fn new(source: &'s dyn WeightSource) -> Self {
        Self { source, asked: RefCell::default() }
    }

    /// Rows that a matrix is read by: bands, so that it needs no second copy in memory, or all of them
    /// where the source cannot give bands.
    pub fn band(&self, name: &str, shape: [usize; 2], dtype: Dtype) -> Result<usize> {
        self.ask(name);
        let bands = self.source.rows(name, shape, 0..0, dtype)?.is_some();
        Ok(if bands { BAND } else { shape[0] })
    }

    /// A band of a matrix of `shape` in the file, as [`Self::band`] says; or all of it.
    pub fn read(
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
        band.ok_or_else(|| Error::invalid(format!("'{name}' can only be read whole")))
    }

    /// Remembers that a name was asked for.
    fn ask(&self, name: &str) {
        self.asked.borrow_mut().insert(name.to_string());
    }

    /// A whole matrix, as it is stored where that is as wanted.
    pub fn matrix(&self, name: &str, shape: [usize; 2], wanted: Dtype) -> Result<Matrix> {
        self.ask(name);
        self.source.matrix(name, shape, wanted)
    }

    /// A tensor of the source.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.ask(name);
        self.source.tensor(name, shape)
    }

    /// Refuses weights of layers that nothing asked for: a model without them is another model.
    pub fn check_all_used(&self) -> Result<()> {
        let asked = self.asked.borrow();
        let names = self.source.names();
        let left = names.iter().find(|name| {
            let idle = name.ends_with("rotary_emb.inv_freq");
            let ours =
                name.starts_with("model.layers.") || name.starts_with(crate::adapter::PREFIX);
            ours && !idle && !asked.contains(*name)
        });
        match left {
            None => Ok(()),
            Some(name) => Err(Error::invalid(format!(
                "the checkpoint holds '{name}', which its configuration does not call for; is it of another architecture, or of more layers?"
            ))),
        }
    }
}
