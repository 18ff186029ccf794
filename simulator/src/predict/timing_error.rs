//! By what the measured cost of a plan may be off, together with that of other plans.

use std::collections::BTreeMap;

/// By what the logarithm of a plan's cost may be off: standard deviations of parts that are
/// independent of each other. Plans of the same blocks and starts share some.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TimingError {
    /// Parts of generations, in the order in which all plans of a fit have them.
    pub parts: Vec<f64>,
    /// What each start of a process adds.
    pub by_start: BTreeMap<usize, f64>,
}

impl TimingError {
    /// How much it varies together with `other`; with itself, its variance.
    pub fn covariance(&self, other: &Self) -> f64 {
        let parts = self.parts.iter().zip(&other.parts).map(|(own, other)| own * other);
        let starts = self.by_start.iter();
        let starts = starts.filter_map(|(start, own)| Some(own * other.by_start.get(start)?));
        parts.sum::<f64>() + starts.sum::<f64>()
    }
}
