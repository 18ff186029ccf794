//! The draft vocabulary: the tokens that drafts are chosen from, as a checkpoint lists them.
//!
//! Most of what a model writes uses few of its tokens (FR-Spec, arXiv 2502.14856). A draft that is
//! chosen from these alone needs only their rows of the head. Verification chooses from all, so
//! that the text is the same for any list; a token that is not listed is never drafted.

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// The tensor of the list: `u32` or `i32` ids, the most useful first.
pub const DRAFT_VOCABULARY: &str = "s3d.draft_vocabulary";

/// Fewest tokens: of one there is nothing to choose.
const LEAST: usize = 2;

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

    /// The first `count` of them, in the order of the vocabulary, in which equal logits are decided.
    pub(crate) fn first(&self, count: usize) -> Vec<u32> {
        let mut tokens = self.0[..count.min(self.0.len())].to_vec();
        tokens.sort_unstable();
        tokens
    }
}

/// How much of its draft vocabulary a model uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DraftOver {
    /// All tokens of the list; all of the vocabulary where there is no list.
    #[default]
    List,
    /// The first so many tokens of the list.
    First(usize),
    /// The whole vocabulary, whatever is listed.
    All,
}

impl DraftOver {
    /// Tokens that drafts are chosen from, of a list of so many; none: all of the vocabulary.
    ///
    /// # Errors
    /// More tokens than are listed.
    pub(crate) fn of(self, listed: Option<usize>) -> Result<Option<usize>> {
        match (self, listed) {
            (Self::All, _) => Ok(None),
            (Self::List, listed) => Ok(listed),
            (Self::First(count), Some(listed)) if count <= listed => Ok(Some(count)),
            (Self::First(count), Some(listed)) => Err(Error::invalid(format!(
                "this model lists {listed} tokens for drafts; expected {LEAST} to {listed}, or all \
                 for the whole vocabulary; found {count}"
            ))),
            (Self::First(count), None) => Err(Error::invalid(format!(
                "this model lists no tokens for drafts, found {count}; leave the flag out, or make a \
                 list with s3d draft-vocabulary"
            ))),
        }
    }
}

/// `8000` or `all`.
impl FromStr for DraftOver {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.parse() {
            _ if text == "all" => Ok(Self::All),
            Ok(count) if count >= LEAST => Ok(Self::First(count)),
            _ => Err(format!("expected a number of tokens from {LEAST} on, or all")),
        }
    }
}

impl fmt::Display for DraftOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List => f.write_str("as listed"),
            Self::First(count) => write!(f, "{count}"),
            Self::All => f.write_str("all"),
        }
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

    #[test]
    fn a_list_is_used_whole_in_part_or_not_at_all() {
        let of = |text: &str, listed| text.parse::<DraftOver>().unwrap().of(listed);
        assert_eq!(of("all", Some(8)).unwrap(), None);
        assert_eq!(of("5", Some(8)).unwrap(), Some(5));
        assert_eq!(DraftOver::List.of(Some(8)).unwrap(), Some(8));
        assert_eq!(DraftOver::List.of(None).unwrap(), None);
        assert!(of("9", Some(8)).unwrap_err().to_string().contains("expected 2 to 8"));
        assert!(of("9", None).unwrap_err().to_string().contains("lists no tokens"));
        for bad in ["1", "0", "-3", "ALL", "", "99999999999999999999999"] {
            assert!(bad.parse::<DraftOver>().is_err(), "{bad}");
        }
    }
}
