//! Kinds of what is concluded: curves of acceptance, laws of pass times, bounds of regret.

use crate::error::{Error, Result};
use crate::quote::shown;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The families of curves, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// `1 - beta^U`
    Power,
    /// `(1 - beta^U)^(1/U)`
    Superellipse,
    /// `(1 - exp(-U (1 - beta))) / (1 - exp(-U))`
    Exponential,
    /// `exp(-beta / U)`; not 0 at `beta = 1`: for interpolation only
    Decay,
    /// A sigmoid in `beta`, scaled to 1 and 0 at the ends; centre and slope free
    Logistic,
    /// The best falling curve through the data, linear between measured points
    Isotonic,
}

impl Family {
    /// All families, in the order of reports.
    pub const ALL: [Self; 6] = [
        Self::Power,
        Self::Superellipse,
        Self::Exponential,
        Self::Decay,
        Self::Logistic,
        Self::Isotonic,
    ];

    /// The word used in records and flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Superellipse => "superellipse",
            Self::Exponential => "exponential",
            Self::Decay => "decay",
            Self::Logistic => "logistic",
            Self::Isotonic => "isotonic",
        }
    }

    /// Names of its shape parameters, the ceiling not counted; none for isotonic.
    pub fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Logistic => &["centre", "slope"],
            Self::Isotonic => &[],
            _ => &["u"],
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Family {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|family| family.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::invalid(format!("curve: expected one of {names}, found '{}'", shown(text)))
        })
    }
}

/// The kinds of laws for the time of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LawKind {
    /// `a + b w + c n`; of a draft pass `a + b w + kept (c + d w)`.
    Affine,
    /// The timed passes themselves, linear between widths and contexts.
    Table,
    /// Reading the weights or multiplying by them, whichever takes longer; both fitted.
    TwoRegime,
    /// The same of the machine's measured rates.
    Roofline,
    /// Linear between neighbouring numbers of kept layers and widths.
    Interpolation,
    /// The sum of timed sub-layers.
    Components,
}

impl LawKind {
    /// The word used in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Affine => "affine",
            Self::Table => "table",
            Self::TwoRegime => "two-regime",
            Self::Roofline => "roofline",
            Self::Interpolation => "interpolation",
            Self::Components => "components",
        }
    }
}

/// How a bound on the regret was obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegretBasis {
    /// By measuring every plan, and the best of them once more.
    Sweep,
    /// By a bootstrap over predicted plans.
    Bootstrap,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_records_read_back() {
        // source: fit.json and recommendation.json of schema 1
        for family in Family::ALL {
            let text = format!("\"{family}\"");
            assert_eq!(serde_json::to_string(&family).unwrap(), text);
            assert_eq!(serde_json::from_str::<Family>(&text).unwrap(), family);
            assert_eq!(family.name().parse::<Family>().unwrap(), family);
        }
        let laws = ["affine", "table", "two-regime", "roofline", "interpolation", "components"];
        for law in laws {
            let read: LawKind = serde_json::from_str(&format!("\"{law}\"")).unwrap();
            assert_eq!(read.name(), law);
        }
        assert_eq!(serde_json::to_string(&RegretBasis::Sweep).unwrap(), "\"sweep\"");
        assert!("line".parse::<Family>().unwrap_err().to_string().contains("found 'line'"));
    }
}
