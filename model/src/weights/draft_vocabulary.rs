//! The draft vocabulary: the tokens that drafts are chosen from, as a checkpoint lists them.
//!
//! Most of what a model writes uses few of its tokens (FR-Spec, arXiv 2502.14856). A draft that is
//! chosen from these alone needs only their rows of the head. Verification chooses from all, so
//! that the text is the same for any list; a token that is not listed is never drafted.

use crate::config::draft_over::LEAST;
use crate::error::{Error, Result};

/// The tensor of the list: `u32` or `i32` ids, the most useful first.
pub const DRAFT_VOCABULARY: &str = "s3d.draft_vocabulary";

/// Tokens of a vocabulary, the most useful first, no two alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftVocabulary(Vec<u32>);

impl DraftVocabulary {
    /// A list as it was read, of a vocabulary of `vocab` tokens.
    ///
    /// # Errors
    /// Fewer than two tokens, one twice, or one that is not in the vocabulary.
    pub fn new(ids: &[i64], vocab: usize) -> std::result::Result<Self, String> {
        let bad = |what: String| {
            Err(format!(
                "tensor '{DRAFT_VOCABULARY}' {what}; make the list anew with s3d draft-vocabulary"
            ))
        };
        if ids.len() < LEAST {
            return bad(format!("holds {} tokens, expected at least {LEAST}", ids.len()));
        }
        let mut seen = vec![false; vocab];
        let mut tokens = Vec::with_capacity(ids.len());
        for &id in ids {
            let Some(seen) = usize::try_from(id).ok().and_then(|id| seen.get_mut(id)) else {
                return bad(format!("holds token {id}, expected 0 to {}", vocab.max(1) - 1));
            };
            if std::mem::replace(seen, true) {
                return bad(format!("holds token {id} twice"));
            }
            tokens.push(id as u32);
        }
        Ok(Self(tokens))
    }

    /// The `size` tokens that texts use most, which `counts[vocab]` says: first those of `always`,
    /// whatever their count; then by count, and of equal ones the lower id, which in most
    /// vocabularies is the older and more usual token.
    ///
    /// # Errors
    /// A size that is below two or above the vocabulary's.
    pub fn most_frequent(counts: &[u64], always: &[u32], size: usize) -> Result<Self> {
        let vocab = counts.len();
        if !(LEAST..=vocab).contains(&size) {
            return Err(Error::invalid(format!(
                "a draft vocabulary has {LEAST} to {vocab} tokens (the vocabulary's); found {size}"
            )));
        }
        let mut order: Vec<u32> = (0..vocab as u32).collect();
        order
            .sort_by_key(|&id| (!always.contains(&id), std::cmp::Reverse(counts[id as usize]), id));
        order.truncate(size);
        Ok(Self(order))
    }

    /// The tokens, the most useful first.
    pub fn ids(&self) -> &[u32] {
        &self.0
    }

    /// The tokens as the tensor of a file holds them: `u32`, in their order.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|id| id.to_le_bytes()).collect()
    }

    /// The first `count` of them, in the order of the vocabulary, in which equal logits are
    /// decided.
    pub(crate) fn first(&self, count: usize) -> Vec<u32> {
        let mut tokens = self.0[..count.min(self.0.len())].to_vec();
        tokens.sort_unstable();
        tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_tokens_come_first_and_end_tokens_before_them() {
        // source: by hand
        let counts = [0, 5, 9, 5, 0, 1];
        let of = |size| DraftVocabulary::most_frequent(&counts, &[4], size).unwrap().0;
        assert_eq!(of(4), [4, 2, 1, 3]);
        assert_eq!(of(6), [4, 2, 1, 3, 5, 0]);
        for size in [0, 1, 7] {
            let error = DraftVocabulary::most_frequent(&counts, &[], size).unwrap_err();
            assert!(error.to_string().contains(&format!("found {size}")), "{error}");
        }
    }

    #[test]
    fn lists_that_name_no_token_or_one_twice_are_refused() {
        let refusal = |ids: &[i64]| DraftVocabulary::new(ids, 10).unwrap_err();
        assert!(refusal(&[]).contains("holds 0 tokens"));
        assert!(refusal(&[3]).contains("holds 1 tokens"));
        assert!(refusal(&[3, 10]).contains("token 10, expected 0 to 9"));
        assert!(refusal(&[3, -1]).contains("token -1"));
        assert!(refusal(&[3, 4, 3]).contains("token 3 twice"));
        let list = DraftVocabulary::new(&[7, 2, 9], 10).unwrap();
        assert_eq!((list.ids(), list.first(2)), (&[7, 2, 9][..], vec![2, 7]));
    }
}
