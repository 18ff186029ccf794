//! How drafts are made, and how many tokens an iteration drafts.

use crate::error::{Error, Result};
use crate::limits;
use crate::plan::skip::Skip;
use crate::quote::shown;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::str::FromStr;

/// Tokens drafted in one iteration (`gamma` in the paper), at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "usize", into = "usize")]
pub struct Predictors(usize);

impl Predictors {
    /// The largest number accepted anywhere; far above any useful draft.
    pub const MAX: usize = limits::PREDICTORS;

    /// A number that is known when the program is compiled.
    ///
    /// ```
    /// assert_eq!(s3d_data::Predictors::of::<8>().get(), 8);
    /// ```
    pub const fn of<const N: usize>() -> Self {
        const { assert!(1 <= N && N <= Self::MAX, "the number of predictors lies in 1..=64") };
        Self(N)
    }

    /// This number, or `most` where that is fewer; one at least.
    pub fn at_most(self, most: usize) -> Self {
        Self(self.0.min(most.max(1)))
    }

    /// A number of predictors.
    ///
    /// # Errors
    /// Outside `1..=64`.
    pub fn new(value: usize) -> Result<Self> {
        if (1..=Self::MAX).contains(&value) {
            Ok(Self(value))
        } else {
            Err(Error::invalid(format!(
                "the number of predictors lies in 1..={}; found {value}",
                Self::MAX
            )))
        }
    }

    /// The number.
    pub fn get(self) -> usize {
        self.0
    }
}

/// Reads the key `gamma_max`, the most predictors that were looked at, and names it where it is
/// wrong.
///
/// # Errors
/// Another number than [`Predictors::new`] takes.
pub(crate) fn gamma_max<'de, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<Predictors, D::Error> {
    let number = usize::deserialize(from)?;
    limits::within("gamma_max", number, &(1..=Predictors::MAX))
        .map(Predictors)
        .map_err(D::Error::custom)
}

impl TryFrom<usize> for Predictors {
    type Error = Error;
    fn try_from(value: usize) -> Result<Self> {
        Self::new(value)
    }
}

impl From<Predictors> for usize {
    fn from(predictors: Predictors) -> usize {
        predictors.0
    }
}

impl fmt::Display for Predictors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How drafts are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Drafting {
    /// One pass over the last token and `gamma - 1` mask tokens (S3D, arXiv 2405.20314).
    Simultaneous,
    /// `gamma` passes of width 1, each fed the draft before (Draft & Verify, arXiv 2309.08168).
    Sequential,
}

impl Drafting {
    /// Both draftings, in the order used everywhere.
    pub const ALL: [Self; 2] = [Self::Simultaneous, Self::Sequential];

    /// The word used in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Simultaneous => "simultaneous",
            Self::Sequential => "sequential",
        }
    }
}

impl fmt::Display for Drafting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Drafting {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "simultaneous" | "sim" => Ok(Self::Simultaneous),
            "sequential" | "seq" => Ok(Self::Sequential),
            _ => Err(Error::invalid(format!(
                "expected drafting 'simultaneous' or 'sequential', found '{}'",
                shown(text)
            ))),
        }
    }
}

/// A way to draft: how drafts are made, and what the passes that make them leave out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Draft {
    /// How drafts are made.
    pub drafting: Drafting,
    /// What a draft pass leaves out.
    pub skip: Skip,
}

/// A speculative plan: what to skip, how to draft, how many tokens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DraftPlan {
    /// How drafts are made.
    pub drafting: Drafting,
    /// What the draft pass leaves out.
    pub skip: Skip,
    /// Tokens drafted per iteration.
    pub predictors: Predictors,
}

impl DraftPlan {
    /// The plan without its number of tokens.
    pub fn draft(&self) -> Draft {
        Draft { drafting: self.drafting, skip: self.skip.clone() }
    }
}

impl fmt::Display for DraftPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match self.drafting {
            Drafting::Simultaneous => "",
            Drafting::Sequential => "seq:",
        };
        write!(f, "{prefix}{}:{}", self.skip, self.predictors)
    }
}
