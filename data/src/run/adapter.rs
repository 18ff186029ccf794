//! The Vulkan adapter that computed, as `run.json` describes it.

use serde::{Deserialize, Serialize};

/// A Vulkan adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adapter {
    /// Its name, in the driver's words.
    pub name: String,
    /// What reaches it: `vulkan`.
    pub backend: String,
    /// The driver and its version.
    pub driver: String,
    /// Whether the CPU plays the device: its times say nothing about a GPU.
    #[serde(default)]
    pub software: bool,
}
