//! Positions where two ways to compute disagree: rows of `near_ties.csv`.

use crate::error::Result;
use crate::limits::{self, within};
use crate::store;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A position whose top-1 token differs between two ways to compute it: a row of `near_ties.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NearTie {
    /// The prompt's name.
    pub id: String,
    /// Output position, from 0.
    pub position: usize,
    /// First way, such as `f32 width 1`.
    pub first: String,
    /// Second way.
    pub second: String,
    /// Token chosen by the first way.
    pub first_token: u32,
    /// Token chosen by the second way.
    pub second_token: u32,
    /// Gap between the two tokens' logits by the first way.
    pub logit_gap: f64,
}

impl NearTie {
    /// Whether such a row can be.
    ///
    /// # Errors
    /// Names the column.
    pub fn check(&self) -> Result<()> {
        within("position", self.position, &(0..=limits::TOKENS))?;
        within("logit_gap", self.logit_gap, &(0.0..=f64::from(f32::MAX)))?;
        Ok(())
    }
}

/// Writes the near-tie ledger; with no row it still holds its header, which says that none was
/// seen.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn save_near_ties(path: &Path, rows: &[NearTie]) -> Result<()> {
    if rows.is_empty() {
        let header = "id,position,first,second,first_token,second_token,logit_gap\n";
        return store::save_atomically(path, header.as_bytes());
    }
    store::save_csv(path, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn words_that_begin_a_formula_read_back_through_csv() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("near_ties.csv");
        let tie = NearTie {
            id: "=cmd".into(),
            position: 1,
            first: "-x".into(),
            second: "'+y".into(),
            first_token: 1,
            second_token: 2,
            logit_gap: 0.5,
        };
        save_near_ties(&path, std::slice::from_ref(&tie)).unwrap();
        assert!(fs::read_to_string(&path).unwrap().contains("\n'=cmd,1,'-x,''+y,1,2,0.5\n"));
        assert_eq!(store::load_csv::<NearTie>(&path).unwrap(), [tie]);
    }
}
