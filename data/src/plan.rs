//! What can be skipped and drafted: windows, predictors, drafting, and plans in text.
//!
//! Letters of the paper are explained here once: `L` = layers of the model, `[s, e)` = [`SkipWindow`],
//! `beta = (e - s) / L` = [`SkipRatio`], `gamma` = [`Predictors`].

mod sublayers;

pub use sublayers::LayerSet;

use crate::{Error, Result, limits, shown};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Contiguous layers `[start, end)` left out while drafting (`[s, e)` in the paper). May be empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SkipWindow {
    start: usize,
    end: usize,
}

impl SkipWindow {
    /// The window `[start, end)`.
    ///
    /// # Errors
    /// When `end < start`, or there are no models of so many layers.
    pub fn new(start: usize, end: usize) -> Result<Self> {
        limits::within("the end of a skip window", end, &(0..=limits::LAYERS))?;
        if end < start {
            return Err(Error::invalid(format!(
                "a skip window ends at or after its start; found {start}..{end}"
            )));
        }
        Ok(Self { start, end })
    }

    /// The window of `skipped` layers in the middle of `layers`: it starts at
    /// `floor((layers - skipped) / 2)`.
    ///
    /// # Errors
    /// When `skipped >= layers` (a draft pass needs at least one layer).
    pub fn symmetric(layers: usize, skipped: usize) -> Result<Self> {
        if skipped >= layers {
            return Err(Error::invalid(format!(
                "cannot skip {skipped} of {layers} layers: a draft pass needs at least one"
            )));
        }
        let start = (layers - skipped) / 2;
        Self::new(start, start + skipped)
    }

    /// All symmetric windows of a model, from the empty one to the one that keeps one layer.
    pub fn all_symmetric(layers: usize) -> Vec<Self> {
        (0..layers.min(limits::LAYERS)).filter_map(|k| Self::symmetric(layers, k).ok()).collect()
    }

    /// All contiguous windows of a model that keep a layer: the empty one, then by length and start.
    pub fn all(layers: usize) -> Vec<Self> {
        let of_length =
            |k: usize| (0..=layers - k).map(move |start| Self { start, end: start + k });
        let empty = Self::symmetric(layers, 0).ok();
        empty.into_iter().chain((1..layers).flat_map(of_length)).collect()
    }

    /// First skipped layer.
    pub fn start(&self) -> usize {
        self.start
    }

    /// First layer after the skipped ones.
    pub fn end(&self) -> usize {
        self.end
    }

    /// Number of skipped layers (`k` in the paper).
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether nothing is skipped.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `layer` is skipped.
    pub fn contains(&self, layer: usize) -> bool {
        (self.start..self.end).contains(&layer)
    }

    /// The share of `layers` that is skipped.
    ///
    /// # Errors
    /// When the window does not fit into `layers` or leaves no layer.
    pub fn skip_ratio(&self, layers: usize) -> Result<SkipRatio> {
        if self.end > layers {
            return Err(Error::invalid(format!(
                "skip window {self} does not fit a model of {layers} layers"
            )));
        }
        SkipRatio::new(self.len() as f64 / layers as f64)
    }
}

impl fmt::Display for SkipWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

impl FromStr for SkipWindow {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::invalid(format!("expected a skip window such as 4..8, found '{}'", shown(text)))
        };
        let (start, end) = text.split_once("..").ok_or_else(bad)?;
        Self::new(start.parse().map_err(|_| bad())?, end.parse().map_err(|_| bad())?)
    }
}

/// The share of layers that a draft pass leaves out (`beta` in the paper), in `[0, 1)`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct SkipRatio(f64);

impl SkipRatio {
    /// A skip ratio.
    ///
    /// # Errors
    /// Outside `[0, 1)`.
    pub fn new(value: f64) -> Result<Self> {
        if (0.0..1.0).contains(&value) {
            Ok(Self(value))
        } else {
            Err(Error::invalid(format!("a skip ratio lies in [0, 1); found {value}")))
        }
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for SkipRatio {
    type Error = Error;
    fn try_from(value: f64) -> Result<Self> {
        Self::new(value)
    }
}

impl From<SkipRatio> for f64 {
    fn from(ratio: SkipRatio) -> f64 {
        ratio.0
    }
}

/// Tokens drafted in one iteration (`gamma` in the paper), at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "usize", into = "usize")]
pub struct Predictors(usize);

impl Predictors {
    /// The largest number accepted anywhere; far above any useful draft.
    pub const MAX: usize = 64;

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

/// What a draft pass leaves out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Skip {
    /// A contiguous window of whole layers.
    Window(SkipWindow),
    /// A free set of sub-layers.
    Set {
        /// The sub-layers.
        layers: Arc<LayerSet>,
    },
}

impl Skip {
    /// The window, when it is one.
    pub fn window(&self) -> Option<SkipWindow> {
        match self {
            Self::Window(window) => Some(*window),
            Self::Set { .. } => None,
        }
    }

    /// Whether a model of `layers` layers has what is left out, and something besides.
    ///
    /// # Errors
    /// Says what does not fit.
    pub fn check(&self, layers: usize) -> Result<()> {
        let last = match self {
            Self::Window(window) => window.end(),
            Self::Set { layers } => {
                layers.attention.iter().chain(&layers.mlp).map(|layer| layer + 1).max().unwrap_or(0)
            }
        };
        if last > layers {
            let message =
                format!("{self} skips layer {}; the model has layers 0..{layers}", last - 1);
            return Err(Error::invalid(message));
        }
        if (0..layers).all(|layer| self.skips_attention(layer) && self.skips_mlp(layer)) {
            return Err(Error::invalid(format!("{self} skips all of the {layers} layers")));
        }
        Ok(())
    }

    /// Whether the attention sub-layer of `layer` is left out.
    pub fn skips_attention(&self, layer: usize) -> bool {
        match self {
            Self::Window(window) => window.contains(layer),
            Self::Set { layers, .. } => layers.attention.binary_search(&layer).is_ok(),
        }
    }

    /// Whether the MLP sub-layer of `layer` is left out.
    pub fn skips_mlp(&self, layer: usize) -> bool {
        match self {
            Self::Window(window) => window.contains(layer),
            Self::Set { layers, .. } => layers.mlp.binary_search(&layer).is_ok(),
        }
    }
}

impl From<SkipWindow> for Skip {
    fn from(window: SkipWindow) -> Self {
        Self::Window(window)
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Window(window) => window.fmt(f),
            Self::Set { layers } => write!(f, "set={layers}"),
        }
    }
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

impl fmt::Display for DraftPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match self.drafting {
            Drafting::Simultaneous => "",
            Drafting::Sequential => "seq:",
        };
        write!(f, "{prefix}{}:{}", self.skip, self.predictors)
    }
}

/// A way to decode, as it is written in flags, tables and records.
///
/// `plain`; `stock` = plain decoding on candle's own matmul; `4..8:3`; `seq:4..8:3`; a free set of sub-layers
/// `set=attn-1+4..7-mlp-2:3`, `seq:set=attn-1-mlp-none:3`. Reading a plan opens no file: what a command line may
/// name in place of a set, [`Plan::with_sets`] looks up.
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
                "expected a plan such as plain, stock, 4..8:3, seq:4..8:3 or set=attn-1-mlp-2:3, found '{}'",
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
