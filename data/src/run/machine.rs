//! The machine that measured, as `run.json` describes it.

use crate::error::Result;
use crate::limits::{self, within};
use crate::run::adapter::Adapter;
use crate::run::card_state::CardState;
use crate::units::{Bytes, BytesPerSecond, FlopsPerSecond};
use serde::{Deserialize, Serialize};

/// One cache of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// 1, 2, 3.
    pub level: u8,
    /// `Data`, `Instruction` or `Unified`.
    pub kind: String,
    /// Size of one instance.
    pub bytes: Bytes,
}

/// The machine that measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Processor or card, in the system's words.
    pub model: String,
    /// Logical cores of the machine.
    pub cores: usize,
    /// Physical memory.
    pub memory_bytes: Bytes,
    /// Its caches, as seen by the first core.
    pub caches: Vec<Cache>,
    /// Instruction set that the kernels use, such as `avx2+fma`.
    pub features: String,
    /// Operating system and kernel.
    pub system: String,
    /// Frequency governor, where it is readable.
    pub governor: Option<String>,
    /// Best streaming read bandwidth measured with the run's threads.
    pub read_bytes_per_s: Option<BytesPerSecond>,
    /// Multiply-add rate measured with the run's threads (a multiply-add counts as two).
    pub flops_per_s: Option<FlopsPerSecond>,
    /// One-minute load when the run began.
    pub load: Option<f64>,
    /// The state of the card when the run began, where one computes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<CardState>,
    /// The Vulkan adapter, where one computes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<Adapter>,
}

impl Machine {
    /// A machine of which no more is known than what it is called and how much memory it has.
    pub fn named(model: impl Into<String>, memory_bytes: Bytes) -> Self {
        Self {
            model: model.into(),
            cores: 0,
            memory_bytes,
            caches: Vec::new(),
            features: String::new(),
            system: String::new(),
            governor: None,
            read_bytes_per_s: None,
            flops_per_s: None,
            load: None,
            card: None,
            adapter: None,
        }
    }

    /// Size of the largest cache, 0 where none is known.
    pub fn last_level_cache(&self) -> Bytes {
        self.caches.iter().map(|cache| cache.bytes).max().unwrap_or_default()
    }
}

impl Machine {
    pub(crate) fn check(&self) -> Result<()> {
        within("cores", self.cores, &(0..=1 << 20))?;
        within("memory_bytes", self.memory_bytes.0, &(0..=limits::BYTES))?;
        for cache in &self.caches {
            within("bytes", cache.bytes.0, &(0..=limits::BYTES))?;
        }
        within("read_bytes_per_s", self.read_bytes_per_s.unwrap_or_default().0, &limits::RATE)?;
        within("flops_per_s", self.flops_per_s.unwrap_or_default().0, &limits::RATE)?;
        within("load", self.load.unwrap_or(0.0), &limits::RATE)?;
        Ok(())
    }
}
