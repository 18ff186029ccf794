//! What can be skipped and drafted: windows, predictors, drafting, and plans in text.
//!
//! Letters of the paper are explained here once: `L` = layers of the model, `[s, e)` =
//! [`SkipWindow`],
//! `beta = (e - s) / L` = [`SkipRatio`], `gamma` = [`Predictors`].

mod draft;
mod skip;
mod sublayers;
mod window;

pub(crate) use draft::gamma_max;
pub use draft::{Draft, DraftPlan, Drafting, Predictors};
pub use skip::Skip;
pub use sublayers::LayerSet;
pub use window::{SkipRatio, SkipWindow};

use crate::error::{Error, Result};
use crate::quote::shown;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A way to decode, as it is written in flags, tables and records.
///
/// `plain`; `stock` = plain decoding on candle's own matmul; `4..8:3`; `seq:4..8:3`; a free set of
/// sub-layers
/// `set=attn-1+4..7-mlp-2:3`, `seq:set=attn-1-mlp-none:3`. Reading a plan opens no file: what a
/// command line may name in place of a set, [`Plan::with_sets`] looks up.
///
/// ```
/// let plan: s3d_data::Plan = "seq:4..8:3".parse()?;
/// assert_eq!(plan.to_string(), "seq:4..8:3");
/// # Ok::<(), s3d_data::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Plan {
    /// Plain greedy decoding.
    Plain,
    /// Plain decoding on candle's own matmul.
    Stock,
    /// Self-speculative decoding.
    Speculate(DraftPlan),
}

impl Plan {
    /// The simultaneous or sequential plan that skips `window` and drafts `predictors` tokens.
    pub fn window(drafting: Drafting, window: SkipWindow, predictors: Predictors) -> Self {
        Self::Speculate(DraftPlan { drafting, skip: window.into(), predictors })
    }

    /// Reads a plan; `set` says which sub-layers the text behind `set=` means.
    ///
    /// # Errors
    /// Another form, or whatever `set` refuses.
    pub fn with_sets(text: &str, set: impl FnOnce(&str) -> Result<LayerSet>) -> Result<Self> {
        match text {
            "plain" => return Ok(Self::Plain),
            "stock" => return Ok(Self::Stock),
            _ => {}
        }
        let (drafting, rest) = match text.strip_prefix("seq:") {
            Some(rest) => (Drafting::Sequential, rest),
            None => (Drafting::Simultaneous, text),
        };
        let bad = || {
            Error::invalid(format!(
                "expected a plan such as plain, stock, 4..8:3, seq:4..8:3 or set=attn-1-mlp-2:3, \
                 found '{}'",
                shown(text)
            ))
        };
        let (skip, predictors) = rest.rsplit_once(':').ok_or_else(bad)?;
        let predictors = Predictors::new(predictors.parse().map_err(|_| bad())?)?;
        let skip = match skip.strip_prefix("set=") {
            Some(text) => Skip::Set { layers: Arc::new(set(text)?) },
            None => Skip::Window(skip.parse().map_err(|_| bad())?),
        };
        Ok(Self::Speculate(DraftPlan { drafting, skip, predictors }))
    }

    /// The speculative plan, when it is one.
    pub fn draft(&self) -> Option<&DraftPlan> {
        match self {
            Self::Speculate(plan) => Some(plan),
            Self::Plain | Self::Stock => None,
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("plain"),
            Self::Stock => f.write_str("stock"),
            Self::Speculate(plan) => plan.fmt(f),
        }
    }
}

impl FromStr for Plan {
    type Err = Error;

    /// Reads a plan as records hold it: a free set stands in it, written out.
    fn from_str(text: &str) -> Result<Self> {
        Self::with_sets(text, str::parse)
    }
}

impl TryFrom<String> for Plan {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Plan> for String {
    fn from(plan: Plan) -> String {
        plan.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn symmetric_windows_start_at_the_floor() {
        // source: cost-model, section 1: symmetric(k) starts at floor((L - k) / 2)
        assert_eq!(SkipWindow::symmetric(12, 5).unwrap().to_string(), "3..8");
        assert_eq!(SkipWindow::symmetric(10, 4).unwrap().to_string(), "3..7");
        assert!(SkipWindow::symmetric(12, 12).is_err());
        assert_eq!(SkipWindow::all_symmetric(12).len(), 12);
        // source: by hand: 12 + 11 + ... + 2 windows of 1 to 11 layers, and the empty one
        let all = SkipWindow::all(12);
        assert_eq!(all.len(), 78);
        assert!(SkipWindow::all_symmetric(12).iter().all(|window| all.contains(window)));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in
            ["", "plane", "4..8", "8..4:3", "4..8:0", "4..8:x", "seq:4:3", "4..8:-1", "4..8:99"]
        {
            assert!(bad.parse::<Plan>().is_err(), "{bad}");
        }
        assert!(SkipRatio::new(1.0).is_err() && SkipRatio::new(f64::NAN).is_err());
    }

    #[test]
    fn reading_a_plan_opens_no_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), r#"{"attention": [1, 2, 3], "mlp": [0]}"#).unwrap();
        let text = format!("seq:set={}:3", file.path().display());
        let message = text.parse::<Plan>().unwrap_err().to_string();
        assert!(message.contains("expected a set such as attn-"), "{message}");
        assert!(serde_json::from_value::<Plan>(text.clone().into()).is_err());
        // Who asks for it by name gets the set, which is then written out.
        let plan = Plan::with_sets(&text, LayerSet::load).unwrap();
        assert_eq!(plan.to_string(), "seq:set=attn-1..4-mlp-0:3");
        assert_eq!(plan.to_string().parse::<Plan>().unwrap(), plan);
    }

    #[test]
    fn a_skip_fits_or_says_why_not() {
        let skip = |text: &str| text.parse::<Plan>().unwrap().draft().unwrap().skip.clone();
        assert!(skip("set=attn-0..4-mlp-1..4:2").check(4).is_ok());
        assert!(skip("set=attn-0..4-mlp-0..4:2").check(4).unwrap_err().to_string().contains("all"));
        let beyond = skip("set=attn-4-mlp-none:2").check(4).unwrap_err().to_string();
        assert!(beyond.contains("skips layer 4; the model has layers 0..4"), "{beyond}");
        assert!(skip("2..5:2").check(4).is_err() && skip("2..4:2").check(4).is_ok());
    }

    proptest! {
        #[test]
        fn plans_read_back(start in 0usize..40, len in 0usize..40, gamma in 1usize..20, seq: bool) {
            let drafting = Drafting::ALL[usize::from(seq)];
            let window = SkipWindow::new(start, start + len).unwrap();
            let plan = Plan::window(drafting, window, Predictors::new(gamma).unwrap());
            prop_assert_eq!(plan.to_string().parse::<Plan>().unwrap(), plan);
        }
    }
}
