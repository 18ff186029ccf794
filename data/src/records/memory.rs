//! What takes memory: rows of `memory.csv`.

use crate::error::Result;
use crate::limits::{self, within};
use crate::units::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where a memory figure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Read from the system or the device.
    Measured,
    /// Computed from the shape.
    Computed,
}

/// What takes memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryItem {
    /// Weights, embeddings included.
    Weights,
    /// Keys and values of the context.
    KvCache,
    /// What a pass holds at once.
    Activations,
    /// Mask embeddings.
    Masks,
    /// The program itself, before it has loaded a model.
    Program,
    /// All that is held at most.
    Peak,
    /// On a card: all that is taken there, whoever took it.
    Driver,
}

impl MemoryItem {
    /// The word used in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::KvCache => "kv_cache",
            Self::Activations => "activations",
            Self::Masks => "masks",
            Self::Program => "program",
            Self::Peak => "peak",
            Self::Driver => "driver",
        }
    }
}

impl fmt::Display for MemoryItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A row of `memory.csv`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryRecord {
    /// What takes it.
    pub item: MemoryItem,
    /// The context it holds for, in tokens.
    pub context: usize,
    /// The widest pass it holds for.
    pub width: usize,
    /// Bytes.
    pub bytes: Bytes,
    /// Measured or computed.
    pub origin: Origin,
}

impl MemoryRecord {
    /// Whether such a row can be.
    ///
    /// # Errors
    /// Names the column.
    pub fn check(&self) -> Result<()> {
        within("context", self.context, &(0..=limits::TOKENS))?;
        within("width", self.width, &(0..=limits::TOKENS))?;
        within("bytes", self.bytes.0, &(0..=limits::BYTES))?;
        Ok(())
    }
}
