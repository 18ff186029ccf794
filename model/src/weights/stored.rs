//! A tensor in a file: read as `f32`, piece by piece, or as it is stored.

use super::numbers::NumberType;
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Bytes read at a time, about.
const PIECE: usize = 1 << 20;

/// A tensor as it is stored: blocks of one number type, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawTensor {
    /// How the numbers are stored.
    pub kind: NumberType,
    /// Rows and their numbers.
    pub shape: Vec<usize>,
    /// The blocks.
    pub bytes: Vec<u8>,
}

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
    pub fn values(&self) -> Result<Vec<f32>> {
        let count = self.bytes as usize / self.kind.block_bytes() * self.kind.block_numbers();
        let mut values = vec![0.0; count];
        let mut rest = &mut values[..];
        self.each_piece(|piece| {
            let count = piece.len() / self.kind.block_bytes() * self.kind.block_numbers();
            let (now, later) = std::mem::take(&mut rest).split_at_mut(count);
            self.kind.decode(piece, now);
            rest = later;
            self.check(now)
        })?;
        Ok(values)
    }

    /// The stored bytes, after a look at their values.
    pub fn raw(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(self.bytes as usize);
        let mut values = Vec::new();
        self.each_piece(|piece| {
            values.resize(piece.len() / self.kind.block_bytes() * self.kind.block_numbers(), 0.0);
            self.kind.decode(piece, &mut values);
            bytes.extend_from_slice(piece);
            self.check(&values)
        })?;
        Ok(bytes)
    }

    /// Calls `take` with whole blocks, one piece of the file after another.
    fn each_piece(&self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let io = |e| Error::io("read", self.path, e);
        let mut file = File::open(self.path).map_err(|e| Error::io("open", self.path, e))?;
        file.seek(SeekFrom::Start(self.start)).map_err(io)?;
        let piece = PIECE / self.kind.block_bytes() * self.kind.block_bytes();
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
