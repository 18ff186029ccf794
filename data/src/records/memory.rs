//! What takes memory: rows of `memory.csv`.

use crate::error::Result;
use crate::limits::{self, within};
use serde::{Deserialize, Serialize};

/// Where a memory figure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Read from the system or the device.
    Measured,
    /// Computed from the shape.
    Computed,
}

/// A row of `memory.csv`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryRecord {
    /// `weights`, `kv_cache`, `activations`, `masks`, `program`, `peak`; on a card `driver` too: all that is taken
    /// there, whoever took it.
    pub item: String,
    /// The context it holds for, in tokens.
    pub context: usize,
    /// The widest pass it holds for.
    pub width: usize,
    /// Bytes.
    pub bytes: u64,
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
        within("bytes", self.bytes, &(0..=limits::BYTES))?;
        Ok(())
    }
}
