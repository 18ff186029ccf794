//! The paper's hyper-parameters in the ideal case: how far to skip and how many tokens to draft, by
//! how well the model is trained for skipping. Simultaneous drafting, equal acceptance of all
//! drafts.

use crate::cost::improvement::ideal_improvement;
use crate::error::Result;
use crate::tokens::curves::{AcceptanceCurve, AcceptanceRate, Family};
use s3d_data::{Drafting, SkipRatio};

/// Steps of the skip ratio, of 1.
const STEPS: u32 = 100;

/// Centre of the one family that has one.
const CENTRE: f64 = 0.8;

/// A curve of `family` with the training parameter `training` and no ceiling, with its value at
/// skip ratios from 0 to just below 1.
#[derive(Debug, Clone, PartialEq)]
pub struct IdealCurve {
    /// `(skip ratio, acceptance)`.
    pub points: Vec<(SkipRatio, AcceptanceRate)>,
}

/// The best skip ratio at one number of drafts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Optimum {
    /// The ratio; of equal gains the smallest.
    pub ratio: SkipRatio,
    /// Acceptance there.
    pub rate: AcceptanceRate,
    /// The ideal improvement factor there.
    pub gain: f64,
}

impl IdealCurve {
    /// The curve.
    ///
    /// # Errors
    /// A family that needs measured points, or a parameter outside its domain.
    pub fn new(family: Family, training: f64) -> Result<Self> {
        let parameters: &[f64] =
            if family == Family::Logistic { &[CENTRE, training] } else { &[training] };
        let curve = AcceptanceCurve::new(family, parameters, 1.0)?;
        let point = |step| {
            let ratio = SkipRatio::new(f64::from(step) / f64::from(STEPS))?;
            Ok((ratio, curve.rate(ratio)))
        };
        Ok(Self { points: (0..STEPS).map(point).collect::<Result<_>>()? })
    }

    /// `(skip ratio, ideal improvement factor)` with `predictors` drafts.
    pub fn improvement(&self, predictors: usize) -> Vec<(SkipRatio, f64)> {
        let gain = |&(ratio, rate): &(SkipRatio, AcceptanceRate)| {
            let rates = vec![rate; predictors];
            (ratio, ideal_improvement(Drafting::Simultaneous, ratio, &rates))
        };
        self.points.iter().map(gain).collect()
    }

    /// Where the improvement with `predictors` drafts is largest.
    pub fn optimum(&self, predictors: usize) -> Option<Optimum> {
        let gains = self.improvement(predictors);
        let all = self.points.iter().zip(gains).rev(); // the last maximum is taken
        let best = all.max_by(|a, b| a.1.1.total_cmp(&b.1.1))?;
        let (&(ratio, rate), (_, gain)) = best;
        Some(Optimum { ratio, rate, gain })
    }
}
