//! What a graphics card says of itself while it works: clocks, power, temperature, and what holds
//! it back.

use crate::units::{Bytes, Hertz};
use serde::{Deserialize, Serialize};

/// A look at a card. What it does not tell is unknown.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CardState {
    /// Clock of its multiprocessors.
    pub hertz: Option<Hertz>,
    /// The highest that it can have.
    pub most_hertz: Option<Hertz>,
    /// Clock of its memory.
    pub memory_hertz: Option<Hertz>,
    /// Power drawn.
    pub watts: Option<f64>,
    /// Power that it may draw.
    pub most_watts: Option<f64>,
    /// Temperature.
    pub celsius: Option<f64>,
    /// Memory taken on it, by whomever.
    pub used_bytes: Option<Bytes>,
    /// What holds its clock down, in words; idling is no such thing.
    pub held_down_by: Vec<String>,
}
