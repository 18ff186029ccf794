//! The rows a pass starts from: tokens, and masks that stand for tokens not yet drafted.

use super::Backend;
use super::convert::Rows;
use super::linear::Linear;
use crate::error::{Error, Result};
use crate::weights::encoded::{RawTensor, decode_row};

/// What one row of a pass stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    /// A token of the vocabulary.
    Token(u32),
    /// Mask `i` (from 0) predicts the token `i + 2` places after the last real token.
    Mask(usize),
}

/// Embeddings of tokens and masks.
#[derive(Debug, Clone)]
pub(crate) struct Embedding {
    /// `[vocab, hidden]` row by row, in the memory of the host; nothing where the head's matrix
    /// serves.
    pub(crate) tokens: Option<RawTensor>,
    /// `[masks, hidden]`.
    pub(crate) masks: Vec<f32>,
    pub(crate) vocab: usize,
    pub(crate) hidden: usize,
}

impl Embedding {
    /// Trained masks.
    pub(crate) fn mask_count(&self) -> usize {
        self.masks.len() / self.hidden
    }

    /// The embeddings of `rows`, `[rows, hidden]`, where `backend` computes; `head` is the matrix
    /// of a tied model. They are looked up on the host, whose memory holds the table, and go up in
    /// one piece.
    ///
    /// # Errors
    /// When a token or mask does not exist.
    pub(crate) fn look_up(&self, rows: &[Row], head: &Linear, backend: &Backend) -> Result<Rows> {
        let found = self.look_up_here(rows, head)?;
        backend.upload(found, self.hidden)
    }

    /// [`Self::look_up`], on the host.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn look_up_here(&self, rows: &[Row], head: &Linear) -> Result<Vec<f32>> {
        let mut found = vec![0.0; rows.len() * self.hidden];
        for (row, into) in rows.iter().zip(found.chunks_exact_mut(self.hidden)) {
            match *row {
                Row::Token(token) if (token as usize) < self.vocab => match &self.tokens {
                    Some(matrix) => {
                        decode_row(matrix.dtype, matrix.row(token as usize), into);
                    }
                    None => head.read_rows(&[token], into)?,
                },
                Row::Mask(mask) if mask < self.mask_count() => {
                    into.copy_from_slice(&self.masks[mask * self.hidden..][..self.hidden]);
                }
                Row::Token(token) => return Err(self.no_token(token)),
                Row::Mask(mask) => return Err(self.no_mask(mask)),
            }
        }
        Ok(found)
    }

    fn no_token(&self, token: u32) -> Error {
        Error::invalid(format!("token {token} is outside the vocabulary of {}", self.vocab))
    }

    fn no_mask(&self, mask: usize) -> Error {
        Error::invalid(format!(
            "mask {} was asked for, the model has {}; draft fewer tokens, or sequentially",
            mask + 1,
            self.mask_count()
        ))
    }
}
