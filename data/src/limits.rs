//! Bounds of the numbers that are read, from flags and from files: far above anything that is
//! measured, and low enough that nothing which is counted, listed or allocated by them can fill the
//! memory.

use crate::error::{Error, Result};
use std::fmt::Display;
use std::ops::RangeInclusive;

/// Decoder layers of a model.
pub const LAYERS: usize = 4096;
/// Tokens: of a context, a prompt, a text, a pass.
pub const TOKENS: usize = 1 << 22;
/// Predictors of a plan (gamma).
pub const PREDICTORS: usize = 64;
/// Widths of a model: its residual stream, its MLP, all of its heads together.
pub const WIDTH: usize = 1 << 20;
/// Temperatures that tokens are drawn at: far beyond it all tokens are equally likely.
pub(crate) const TEMPERATURE: f64 = 1e3;
/// Entries of a vocabulary.
pub const VOCAB: usize = 1 << 24;
/// Experts of a layer.
pub const EXPERTS: usize = 4096;
/// Texts decoded together.
pub const BATCH: usize = 1 << 16;
/// Parts that a measurement is divided into, and machines of a merged run.
pub(crate) const SHARDS: usize = 4096;
/// Blocks of a schedule, and places in a block.
pub const BLOCKS: usize = 1_000_000_000;
/// Starts of a process.
pub const STARTS: usize = 1_000_000;
/// Prompts.
pub const PROMPTS: usize = 1_000_000;
/// Bytes of a memory (an exbibyte).
pub(crate) const BYTES: u64 = 1 << 60;
/// Seconds of a whole pass or generation: from less than a processor needs for anything to a month.
pub(crate) const PASS_SECONDS: RangeInclusive<f64> = 1e-9..=2.6e6;
/// Seconds of a part of a pass, which may be a difference of two times.
pub(crate) const PART_SECONDS: RangeInclusive<f64> = -2.6e6..=2.6e6;
/// Seconds spent: from none to three centuries.
pub(crate) const SPENT_SECONDS: RangeInclusive<f64> = 0.0..=1e10;
/// Rates: bytes, operations or cycles per second.
pub const RATE: RangeInclusive<f64> = 0.0..=1e30;

/// `value`, if it lies in `range`; a number that is none (NaN) lies nowhere.
///
/// # Errors
/// Names `what`, the range and what was found.
pub fn within<T: PartialOrd + Display>(
    what: &str,
    value: T,
    range: &RangeInclusive<T>,
) -> Result<T> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (low, high) = (range.start(), range.end());
    Err(Error::invalid(format!("{what}: expected {low} to {high}, found {value}")))
}
