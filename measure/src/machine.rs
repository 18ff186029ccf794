//! The machine that measures: the computer, and the card in it.

pub mod card;
mod describe;

pub use describe::*;
