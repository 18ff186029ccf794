//! A window of layers to skip, and the share of the model that it is.

use crate::error::{Error, Result};
use crate::limits;
use crate::quote::shown;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

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

    /// All contiguous windows of a model that keep a layer: the empty one, then by length and
    /// start.
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
