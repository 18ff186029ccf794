//! The draft head: the rows of the head that belong to the draft vocabulary, packed once as a
//! second, smaller head. A draft pass multiplies by it alone.
//!
//! Each row is the head's, bit by bit, and a row's sums have one order, so that a draft logit is
//! that of the whole head.

use crate::backend::linear::Linear;
use crate::decode::sample::Distribution;

/// Some rows of the head.
#[derive(Debug, Clone)]
pub(crate) struct DraftHead {
    /// `[hidden]` to `[draft vocabulary]`.
    pub rows: Linear,
    /// The token of each row, ascending.
    pub tokens: Vec<u32>,
}

/// Which tokens the columns of draft logits stand for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns<'m> {
    /// The token of each column; none: all of the vocabulary.
    listed: Option<&'m [u32]>,
    vocab: usize,
}

impl<'m> Columns<'m> {
    /// The columns of the tokens `listed`, or of all of a vocabulary of `vocab` tokens.
    pub(crate) fn new(listed: Option<&'m [u32]>, vocab: usize) -> Self {
        Self { listed, vocab }
    }

    /// The token of a column.
    pub(crate) fn token(self, column: u32) -> u32 {
        let listed = self.listed.and_then(|tokens| tokens.get(column as usize));
        listed.copied().unwrap_or(column)
    }

    /// The column of a token; none where it is not listed.
    pub(crate) fn column(self, token: u32) -> Option<usize> {
        match self.listed {
            None => Some(token as usize),
            Some(tokens) => tokens.binary_search(&token).ok(),
        }
    }

    /// A distribution over columns as one over the vocabulary.
    pub(crate) fn spread(self, columns: Distribution) -> Distribution {
        match self.listed {
            None => columns,
            Some(tokens) => columns.spread(tokens, self.vocab),
        }
    }
}
