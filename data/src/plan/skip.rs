//! What a draft pass leaves out: a window of layers, or a free set of sub-layers.

use crate::error::{Error, Result};
use crate::plan::sublayers::LayerSet;
use crate::plan::window::SkipWindow;
use std::fmt;
use std::sync::Arc;

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
