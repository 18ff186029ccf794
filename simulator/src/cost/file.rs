//! `costs.toml`: costs that people type, in seconds. This crate opens no file: the caller reads the
//! text into [`CostsFile`] and hands over the rows of the tables it names.
//!
//! ```text
//! [full]  fixed, per_token, per_cached_token        or   table = "F.csv"
//! [draft] the same, extra_tokens = 0, charge_when_empty = false
//! [step]  fixed = 0
//! ```

use crate::cost::law::{Affine, PassLaw};
use crate::cost::table::{CostRow, CostTable};
use crate::cost::typed::{DraftCost, TypedCosts};
use crate::error::{Error, Result, non_negative};
use s3d_data::Drafting;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostsFile {
    /// Full passes.
    pub full: FullSection,
    /// Draft passes; without it a draft pass costs the kept share of a full pass.
    pub draft: Option<DraftSection>,
    /// Once per prompt pass, plain step and iteration.
    #[serde(default)]
    pub step: StepSection,
}

/// `[full]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FullSection {
    /// Seconds per pass.
    pub fixed: Option<f64>,
    /// Seconds per token fed.
    pub per_token: Option<f64>,
    /// Seconds per token committed.
    pub per_cached_token: Option<f64>,
    /// `width,context,seconds` rows instead of a law; path relative to the file.
    pub table: Option<String>,
}

/// `[draft]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DraftSection {
    /// Seconds per pass.
    pub fixed: Option<f64>,
    /// Seconds per token fed.
    pub per_token: Option<f64>,
    /// Seconds per token committed.
    pub per_cached_token: Option<f64>,
    /// `width,context,seconds` rows instead of a law; path relative to the file.
    pub table: Option<String>,
    /// Tokens that a simultaneous pass feeds beside its drafts.
    #[serde(default)]
    pub extra_tokens: usize,
    /// Whether an iteration without drafts pays for one draft pass.
    #[serde(default)]
    pub charge_when_empty: bool,
}

/// `[step]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepSection {
    /// Seconds.
    #[serde(default)]
    pub fixed: f64,
}

impl CostsFile {
    /// Reads the `bytes` of the file at `path`.
    ///
    /// # Errors
    /// Text that is no such TOML: path and line are named.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| s3d_data::Error::malformed(path, "expected UTF-8 text"))?;
        let wrong = |e: toml::de::Error| {
            let before = e.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() as u64 + 1;
            s3d_data::Error::malformed_at(path, line, e.message())
        };
        Ok(toml::from_str(text).map_err(wrong)?)
    }

    /// The tables that the file names; the caller reads them.
    pub fn tables(&self) -> Vec<&str> {
        let draft = self.draft.as_ref().and_then(|draft| draft.table.as_deref());
        self.full.table.as_deref().into_iter().chain(draft).collect()
    }

    /// The cost model. `rows` gives the cells of a table by its name; `kept_share` is
    /// `1 - skip / layers`, needed only where there is no `[draft]`.
    ///
    /// # Errors
    /// A coefficient or step that is negative or not finite, a law beside a table, a section
    /// without either, `extra_tokens` with sequential drafting, no `[draft]` and no kept share, or
    /// whatever `rows` refuses.
    pub fn model(
        &self,
        drafting: Drafting,
        kept_share: Option<f64>,
        mut rows: impl FnMut(&str) -> Result<Vec<CostRow>>,
    ) -> Result<TypedCosts> {
        let step = non_negative("[step] fixed", self.step.fixed)?;
        let FullSection { fixed, per_token, per_cached_token, table } = &self.full;
        let full = law("[full]", [*fixed, *per_token, *per_cached_token], table, &mut rows)?;
        let draft = match (&self.draft, kept_share) {
            (Some(section), _) => section.cost(drafting, &mut rows)?,
            (None, Some(share)) => DraftCost::ShareOfFull(check_share(share)?),
            (None, None) => {
                let advice = "give --layers and --skip, or a [draft] section";
                return Err(Error::missing("draft cost in the costs file", advice));
            }
        };
        Ok(TypedCosts { full, draft, step })
    }
}

impl DraftSection {
    fn cost(
        &self,
        drafting: Drafting,
        rows: &mut impl FnMut(&str) -> Result<Vec<CostRow>>,
    ) -> Result<DraftCost> {
        if drafting == Drafting::Sequential && self.extra_tokens > 0 {
            return Err(Error::domain(
                "[draft] extra_tokens",
                "0 with sequential drafting, whose passes feed one token",
                self.extra_tokens,
            ));
        }
        let coefficients = [self.fixed, self.per_token, self.per_cached_token];
        Ok(DraftCost::Law {
            law: law("[draft]", coefficients, &self.table, rows)?,
            extra_tokens: self.extra_tokens,
            charge_when_empty: self.charge_when_empty,
        })
    }
}

fn check_share(share: f64) -> Result<f64> {
    if share > 0.0 && share <= 1.0 {
        Ok(share)
    } else {
        Err(Error::domain("share of layers kept", "a number in (0, 1]: skip < layers", share))
    }
}

fn law(
    section: &str,
    coefficients: [Option<f64>; 3],
    table: &Option<String>,
    rows: &mut impl FnMut(&str) -> Result<Vec<CostRow>>,
) -> Result<PassLaw> {
    let names = ["fixed", "per_token", "per_cached_token"];
    match (table, coefficients.iter().any(Option::is_some)) {
        (Some(_), true) => {
            Err(Error::domain(section, "a law or a table", "both in the same section"))
        }
        (None, false) => Err(Error::missing(
            format!("costs in {section}"),
            format!("give {}, or table", names.join(", ")),
        )),
        (Some(name), false) => Ok(PassLaw::Table(CostTable::new(&rows(name)?)?)),
        (None, true) => {
            for (name, value) in names.iter().zip(coefficients) {
                non_negative(&format!("{section} {name}"), value.unwrap_or(0.0))?;
            }
            let [fixed, per_token, per_cached] = coefficients.map(|c| c.unwrap_or(0.0));
            Ok(PassLaw::Affine(Affine::new(fixed, per_token, per_cached)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> std::result::Result<CostsFile, String> {
        CostsFile::parse(text.as_bytes(), Path::new("costs.toml")).map_err(|e| e.to_string())
    }

    fn model(text: &str, drafting: Drafting, share: Option<f64>) -> Result<TypedCosts> {
        let cells = [CostRow { width: 1, context: 8, seconds: 2.0 }];
        read(text).unwrap().model(drafting, share, |_| Ok(cells.to_vec()))
    }

    #[test]
    fn a_file_becomes_a_model() {
        let text = "[full]\nfixed = 10\nper_token = 1\nper_cached_token = 0.1\n[draft]\nfixed = \
            2\nextra_tokens = 1\n[step]\nfixed = 1";
        let costs = model(text, Drafting::Simultaneous, None).unwrap();
        assert!((costs.full.seconds(3, 4) - 13.4).abs() < 1e-12);
        assert_eq!(costs.draft_seconds(Drafting::Simultaneous, 2, 4, 1), 2.0);
        let text = "[full]\ntable = \"t.csv\"";
        assert_eq!(read(text).unwrap().tables(), ["t.csv"]);
        let costs = model(text, Drafting::Simultaneous, Some(0.5)).unwrap();
        assert_eq!(costs.draft_seconds(Drafting::Sequential, 2, 4, 1), 2.0);
    }

    #[test]
    fn nonsense_is_refused() {
        let message = read("[full]\nfixd = 1").unwrap_err();
        assert!(
            message.starts_with("costs.toml, line 2: ") && message.contains("fixd"),
            "{message}"
        );
        assert!(read("[ful]\nfixed = 1").is_err());
        assert!(read("[full]\nfixed = 1\n[draft]\nextra_tokens = -1").is_err());
        for (text, words) in [
            ("[full]\nfixed = -1", "[full] fixed: expected a finite number >= 0, found -1"),
            ("[full]\nfixed = nan", "found NaN"),
            ("[full]\nfixed = 1\ntable = 't.csv'", "a law or a table"),
            ("[full]", "no costs in [full]"),
            ("[full]\nfixed = 1\n[step]\nfixed = -2", "[step] fixed"),
            ("[full]\nfixed = 1", "--layers and --skip"),
        ] {
            let message = model(text, Drafting::Simultaneous, None).unwrap_err().to_string();
            assert!(message.contains(words), "{text}: {message}");
        }
        let text = "[full]\nfixed = 1\n[draft]\nfixed = 1\nextra_tokens = 1";
        let message = model(text, Drafting::Sequential, None).unwrap_err().to_string();
        assert!(message.contains("extra_tokens"), "{message}");
    }
}
