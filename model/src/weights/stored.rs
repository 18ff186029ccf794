//! A tensor in a file: read as `f32`, piece by piece, or as it is stored.

use super::blocks::decode;
use crate::error::{Error, Result};
use crate::weights::encoded::{Matrix, RawTensor};
use s3d_data::Dtype;
use s3d_kernels::codes::number_type::NumberType;
use s3d_kernels::packed::row_bytes;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Bytes looked at together, about.
const PIECE: usize = 1 << 22;

/// Where the numbers of a tensor stand.
pub(super) struct Stored<'f> {
    pub path: &'f Path,
    pub name: &'f str,
    pub kind: NumberType,
    /// First byte.
    pub start: u64,
    pub bytes: u64,
}

impl Stored<'_> {
    /// The values. Only one piece of the stored form is in memory at a time.
    pub(super) fn values(&self) -> Result<Vec<f32>> {
        let mut values = vec![0.0; self.weights(self.bytes as usize)];
        let mut rest = &mut values[..];
        self.each_piece(|piece| {
            let (now, later) = std::mem::take(&mut rest).split_at_mut(self.weights(piece.len()));
            decode(self.kind, piece, now);
            rest = later;
            self.check(now)
        })?;
        Ok(values)
    }

    /// The same tensor, cut to some of its rows of `columns` numbers.
    pub(super) fn rows(self, rows: Range<usize>, columns: usize) -> Self {
        let row = self.kind.row_bytes(columns as u64).unwrap_or(0);
        let start = self.start + rows.start as u64 * row;
        Self { start, bytes: rows.len() as u64 * row, ..self }
    }

    /// A matrix of rows of `columns` weights: as it is stored where that is as `wanted`, else as
    /// numbers.
    pub(super) fn matrix(&self, columns: usize, wanted: Dtype) -> Result<Matrix> {
        let whole_blocks = columns.is_multiple_of(self.kind.block_weights());
        let known = Dtype::ENGINE.contains(&wanted) && wanted != Dtype::F32;
        if !self.kind.is(wanted) || !known || !whole_blocks {
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
            decode(self.kind, piece, &mut values);
            bytes.extend_from_slice(piece);
            self.check(&values)
        })?;
        Ok(bytes)
    }

    /// The stored bytes as they are.
    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(self.bytes as usize);
        self.each_piece(|piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Bytes of one block.
    fn block(&self) -> usize {
        self.kind.block_bytes()
    }

    /// Weights in so many bytes.
    fn weights(&self, bytes: usize) -> usize {
        bytes / self.block() * self.kind.block_weights()
    }

    /// Calls `take` with whole blocks, one piece of the file after another. Pieces are read and not
    /// mapped: a file that gets shorter meanwhile is an error, and not the end of the program.
    fn each_piece(&self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut file = File::open(self.path).map_err(|e| Error::io("open", self.path, e))?;
        let mut seek = |at| file.seek(at).map_err(|e| Error::io("read", self.path, e));
        let end = self.start + self.bytes;
        let found = seek(SeekFrom::End(0))?;
        if found < end {
            return Err(self.shorter(found));
        }
        seek(SeekFrom::Start(self.start))?;
        let piece = (PIECE / self.block() * self.block()) as u64;
        let mut buffer = vec![0; piece.min(self.bytes) as usize];
        let mut rest = self.bytes;
        while rest > 0 {
            let now = &mut buffer[..piece.min(rest) as usize];
            file.read_exact(now).map_err(|e| match e.kind() {
                ErrorKind::UnexpectedEof => self.shorter(end - rest),
                _ => Error::io("read", self.path, e),
            })?;
            take(now)?;
            rest -= now.len() as u64;
        }
        Ok(())
    }

    fn shorter(&self, found: u64) -> Error {
        let end = self.start + self.bytes;
        let message = format!(
            "tensor '{}' ends at byte {end}, the file at {found}: fetch it again",
            self.name
        );
        Error::malformed(self.path, message)
    }

    fn check(&self, values: &[f32]) -> Result<()> {
        match values.iter().find(|x| !x.is_finite()) {
            None => Ok(()),
            Some(x) => Err(Error::malformed(
                self.path,
                format!(
                    "tensor '{}' holds {x}; expected finite numbers: fetch or train the \
                     checkpoint again",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_file_wherever_they_begin_and_a_shortened_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weights");
        // Numbers that tell their place, behind a header whose length divides no page; more than
        // two pieces.
        let count = 2 * PIECE / 4 + 77;
        let numbers: Vec<f32> = (0..count).map(|i| i as f32).collect();
        let stored: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        std::fs::write(&path, [&[9; 1237][..], &stored].concat()).unwrap();
        let (name, kind, bytes) = ("t", NumberType::F32, stored.len() as u64);
        let tensor = || Stored { path: &path, name, kind, start: 1237, bytes };
        assert!(tensor().values().unwrap() == numbers);
        let part = tensor().rows(2..9, 7).values().unwrap();
        assert_eq!(part, numbers[14..63]);
        // Shorter after it was opened: refused wherever the new end is.
        for length in [1236 + bytes, 1237 + PIECE as u64, 1237, 5, 0] {
            File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
            let error = tensor().values().unwrap_err().to_string();
            assert!(error.contains(&format!("the file at {length}")), "{error}");
        }
    }
}
