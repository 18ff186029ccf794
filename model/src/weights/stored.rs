//! A tensor in a file: read as `f32`, piece by piece, or as it is stored.

use super::numbers::decode;
use crate::kernels::row_bytes;
use crate::raw::{Matrix, RawTensor};
use crate::{Error, Result};
use s3d_data::Dtype;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Bytes read at a time, about.
const PIECE: usize = 1 << 20;

/// Where the numbers of a tensor stand.
pub(super) struct Stored<'f> {
    pub path: &'f Path,
    pub name: &'f str,
    pub dtype: Dtype,
    /// First byte.
    pub start: u64,
    pub bytes: u64,
}

impl Stored<'_> {
    /// The values. Only one piece of the stored form is in memory at a time.
    pub fn values(&self) -> Result<Vec<f32>> {
        let mut values = vec![0.0; self.weights(self.bytes as usize)];
        let mut rest = &mut values[..];
        self.each_piece(|piece| {
            let (now, later) = std::mem::take(&mut rest).split_at_mut(self.weights(piece.len()));
            decode(self.dtype, piece, now);
            rest = later;
            self.check(now)
        })?;
        Ok(values)
    }

    /// The same tensor, cut to some of its rows of `columns` numbers.
    pub fn rows(self, rows: Range<usize>, columns: usize) -> Self {
        let row = row_bytes(self.dtype, columns) as u64;
        let start = self.start + rows.start as u64 * row;
        Self { start, bytes: rows.len() as u64 * row, ..self }
    }

    /// A matrix of rows of `columns` weights: as it is stored where that is as `wanted`, else as
    /// numbers.
    pub fn matrix(&self, columns: usize, wanted: Dtype) -> Result<Matrix> {
        let whole_blocks = columns.is_multiple_of(self.dtype.block_weights());
        let known = Dtype::ENGINE.contains(&wanted) && wanted != Dtype::F32;
        if self.dtype != wanted || !known || !whole_blocks {
            return self.values().map(Matrix::F32);
        }
        let bytes = self.raw()?;
        let rows = bytes.len() / row_bytes(wanted, columns).max(1);
        Ok(Matrix::Raw(RawTensor::new(wanted, [rows, columns], bytes)?))
    }

    /// The stored bytes, after a look at their values.
    fn raw(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(self.bytes as usize);
        let mut values = Vec::new();
        self.each_piece(|piece| {
            values.resize(self.weights(piece.len()), 0.0);
            decode(self.dtype, piece, &mut values);
            bytes.extend_from_slice(piece);
            self.check(&values)
        })?;
        Ok(bytes)
    }

    /// Bytes of one block.
    fn block(&self) -> usize {
        self.dtype.block_bytes().unwrap_or(1)
    }

    /// Weights in so many bytes.
    fn weights(&self, bytes: usize) -> usize {
        bytes / self.block() * self.dtype.block_weights()
    }

    /// Calls `take` with whole blocks, one piece of the file after another.
    fn each_piece(&self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let io = |e| Error::io("read", self.path, e);
        let mut file = File::open(self.path).map_err(|e| Error::io("open", self.path, e))?;
        file.seek(SeekFrom::Start(self.start)).map_err(io)?;
        let piece = PIECE / self.block() * self.block();
        let mut buffer = vec![0; piece.min(self.bytes as usize)];
        let mut left = self.bytes as usize;
        while left > 0 {
            let now = left.min(buffer.len());
            file.read_exact(&mut buffer[..now]).map_err(io)?;
            take(&buffer[..now])?;
            left -= now;
        }
        Ok(())
    }

    fn check(&self, values: &[f32]) -> Result<()> {
        match values.iter().find(|x| !x.is_finite()) {
            None => Ok(()),
            Some(x) => Err(Error::malformed(
                self.path,
                format!(
                    "tensor '{}' holds {x}; expected finite numbers: fetch or train the checkpoint again",
                    self.name
                ),
            )),
        }
    }
}

/// SHA-256 over the content of files, one after another, as hexadecimal digits.
pub(super) fn hash_files<'p>(paths: impl Iterator<Item = &'p PathBuf>) -> Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; PIECE];
    for path in paths {
        let mut file = File::open(path).map_err(|e| Error::io("open", path, e))?;
        loop {
            match file.read(&mut buffer).map_err(|e| Error::io("read", path, e))? {
                0 => break,
                count => hash.update(&buffer[..count]),
            }
        }
    }
    Ok(hexadecimal(&hash.finalize()))
}

/// Bytes as hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
