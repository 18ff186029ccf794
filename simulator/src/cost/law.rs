//! The time of a pass, by the tokens fed to it (`width`, `w`) and the tokens committed when it
//! starts, the one being fed counted in (`context`, `n`).
//!
//! Laws: affine `fixed + per_token w + per_cached_token n`; a bilinear table; the maximum of a
//! memory-bound and a compute-bound regime; a law capped by the roofline (Williams, Waterman,
//! Patterson, CACM 52(4), 2009: no pass is faster than its bytes over the bandwidth or its
//! operations over the multiply-add rate). Which law a machine follows is decided on left-out
//! cells (see [`mod@crate::fit`]).

use crate::cost::table::CostTable;
use crate::error::{Result, non_negative};

/// `fixed + per_token * width + per_cached_token * context`, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Affine {
    fixed: f64,
    per_token: f64,
    per_cached_token: f64,
}

impl Affine {
    /// The law with these coefficients, in seconds, per token fed, per token committed.
    ///
    /// # Errors
    /// A coefficient that is negative or not finite.
    pub fn new(fixed: f64, per_token: f64, per_cached_token: f64) -> Result<Self> {
        Ok(Self {
            fixed: non_negative("fixed", fixed)?,
            per_token: non_negative("per_token", per_token)?,
            per_cached_token: non_negative("per_cached_token", per_cached_token)?,
        })
    }

    /// The same time for every pass.
    pub(crate) fn constant(fixed: f64) -> Self {
        Self { fixed, ..Self::default() }
    }

    /// `[fixed, per_token, per_cached_token]`.
    pub(crate) fn coefficients(&self) -> [f64; 3] {
        [self.fixed, self.per_token, self.per_cached_token]
    }

    /// Seconds of a pass.
    pub fn seconds(&self, width: usize, context: usize) -> f64 {
        self.fixed + self.per_token * width as f64 + self.per_cached_token * context as f64
    }
}

/// A lower bound on the time of a pass from a machine's two rates (roofline).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roofline {
    /// Seconds to stream the weights once: bytes over bandwidth.
    pub stream: f64,
    /// Seconds to stream one cached token's keys and values.
    pub stream_per_cached_token: f64,
    /// Seconds of arithmetic per token fed: operations over rate.
    pub compute_per_token: f64,
}

impl Roofline {
    /// The larger of the two bounds.
    pub fn seconds(&self, width: usize, context: usize) -> f64 {
        let memory = self.stream + self.stream_per_cached_token * context as f64;
        memory.max(self.compute_per_token * width as f64)
    }
}

/// How the time of a pass follows from its width and context.
#[derive(Debug, Clone, PartialEq)]
pub enum PassLaw {
    /// One plane.
    Affine(Affine),
    /// Measured cells.
    Table(CostTable),
    /// The slower of two regimes: memory-bound (flat in width) and compute-bound.
    TwoRegime {
        /// The memory-bound plane; its `per_token` is usually 0.
        memory: Affine,
        /// The compute-bound plane.
        compute: Affine,
    },
    /// A plane that is never faster than the machine allows.
    RooflineCapped {
        /// The plane.
        law: Affine,
        /// The bound.
        roofline: Roofline,
    },
}

impl PassLaw {
    /// Seconds of a pass over `width` tokens at `context` committed tokens.
    pub fn seconds(&self, width: usize, context: usize) -> f64 {
        match self {
            Self::Affine(law) => law.seconds(width, context),
            Self::Table(table) => table.seconds(width, context),
            Self::TwoRegime { memory, compute } => {
                memory.seconds(width, context).max(compute.seconds(width, context))
            }
            Self::RooflineCapped { law, roofline } => {
                law.seconds(width, context).max(roofline.seconds(width, context))
            }
        }
    }

    /// Whether the answer lies outside what was measured; laws that people typed never say so.
    pub(crate) fn extrapolates(&self, width: usize, context: usize) -> bool {
        match self {
            Self::Table(table) => table.extrapolates(width, context),
            _ => false,
        }
    }

    /// Seconds per token of context, where the law is affine.
    pub(crate) fn context_slope(&self) -> Option<f64> {
        match self {
            Self::Affine(law) => Some(law.per_cached_token),
            _ => None,
        }
    }

    /// The word used in records.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Affine(_) => "affine",
            Self::Table(_) => "table",
            Self::TwoRegime { .. } => "two-regime",
            Self::RooflineCapped { .. } => "roofline",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_regimes_and_the_roofline_take_the_slower() {
        let plane = |a, b| Affine::new(a, b, 0.0).unwrap();
        let law = PassLaw::TwoRegime { memory: plane(2.0, 0.0), compute: plane(1.0, 0.25) };
        assert_eq!([1, 4, 8].map(|w| law.seconds(w, 9)), [2.0, 2.0, 3.0]);
        let roofline =
            Roofline { stream: 1.5, stream_per_cached_token: 0.0, compute_per_token: 0.5 };
        let law = PassLaw::RooflineCapped { law: plane(1.0, 0.25), roofline };
        assert_eq!([1, 4, 8].map(|w| law.seconds(w, 9)), [1.5, 2.0, 4.0]);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Affine::new(f64::NAN, 0.0, 0.0).is_err());
        assert!(Affine::new(1.0, -0.1, 0.0).is_err());
    }
}
