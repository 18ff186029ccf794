//! From how many starts of a process the end-to-end blocks of a run come.

use crate::error::Result;
use crate::limits::{self, within};
use serde::{Deserialize, Serialize};

/// The starts of a process behind the end-to-end blocks of a run. A process keeps its memory layout
/// from start to end, which makes all its passes faster or slower: blocks of one start agree better
/// than two starts do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Starts {
    /// Starts that decoded end-to-end blocks; after a merge those of all shards.
    pub count: usize,
    /// Relative standard deviation, from start to start, of what an iteration of a plan costs in
    /// plain steps; none where it cannot be told.
    pub spread: Option<f64>,
    /// Degrees of freedom behind `spread`: all plans share the plain decoding of a start, so there
    /// is one less than there are starts.
    pub degrees_of_freedom: usize,
    /// Why there are fewer than were wanted; none where there are as many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fewer_because: Option<String>,
}

impl Starts {
    pub(crate) fn check(&self) -> Result<()> {
        within("starts", self.count, &(0..=limits::STARTS))?;
        within("spread", self.spread.unwrap_or(0.0), &(0.0..=1e6))?;
        within("degrees_of_freedom", self.degrees_of_freedom, &(0..=limits::STARTS))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_that_cannot_be_is_refused() {
        let of = |spread: f64| Starts { spread: Some(spread), ..Starts::default() }.check();
        assert!(of(0.03).is_ok() && Starts::default().check().is_ok());
        for spread in [-0.1, f64::NAN, f64::INFINITY] {
            assert!(of(spread).is_err(), "{spread}");
        }
    }
}
