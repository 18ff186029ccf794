//! How much of its list of tokens for drafts a model uses.

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// Fewest tokens that drafts are chosen from: of one there is nothing to choose.
pub(crate) const LEAST: usize = 2;

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
