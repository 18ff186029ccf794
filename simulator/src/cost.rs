//! The time of a pass, by the tokens fed to it (`width`, `w`) and the tokens committed when it
//! starts, the one being fed counted in (`context`, `n`); and what an iteration adds up to.
//!
//! Laws: affine `fixed + per_token w + per_cached_token n`; a bilinear table; the maximum of a
//! memory-bound and a compute-bound regime; a law capped by the roofline (Williams, Waterman,
//! Patterson, CACM 52(4), 2009: no pass is faster than its bytes over the bandwidth or its
//! operations over the multiply-add rate). Which law a machine follows is decided on left-out
//! cells (see [`mod@crate::fit`]).

pub mod derive;
pub mod file;
pub mod improvement;
pub mod memory;
pub mod pass_times;
pub mod summary;
mod table;
pub mod what_if;

pub use table::{CostCell, CostTable};

use crate::error::{Result, non_negative};
use s3d_data::Drafting;

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

    /// `[fixed, per_token, per_cached_token]`.
    pub fn coefficients(&self) -> [f64; 3] {
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
    pub fn extrapolates(&self, width: usize, context: usize) -> bool {
        match self {
            Self::Table(table) => table.extrapolates(width, context),
            _ => false,
        }
    }

    fn context_slope(&self) -> Option<f64> {
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

/// What drafting costs.
#[derive(Debug, Clone, PartialEq)]
pub enum DraftCost {
    /// Its own law.
    Law {
        /// Time of one draft pass.
        law: PassLaw,
        /// Tokens that a simultaneous pass feeds beside its `gamma`.
        extra_tokens: usize,
        /// Whether an iteration without drafts pays for one (empty) draft pass.
        charge_when_empty: bool,
    },
    /// This share of a full pass: `1 - beta`.
    ShareOfFull(f64),
}

/// The times of everything that decoding does.
#[derive(Debug, Clone, PartialEq)]
pub struct CostModel {
    /// Full passes: prompt, plain steps, verification.
    pub full: PassLaw,
    /// Draft passes.
    pub draft: DraftCost,
    /// Once per prompt pass, plain step and iteration (`t_step`), in seconds.
    pub step: f64,
}

impl CostModel {
    /// The ideal case in full passes: a full pass costs 1, a draft pass the share of layers kept.
    pub fn ideal(kept_share: f64) -> Self {
        let full = PassLaw::Affine(Affine { fixed: 1.0, per_token: 0.0, per_cached_token: 0.0 });
        Self { full, draft: DraftCost::ShareOfFull(kept_share), step: 0.0 }
    }

    /// Seconds to draft `drafts` tokens at `context` for `batch` texts at once.
    ///
    /// Simultaneous: one pass of `drafts + extra_tokens`. Sequential: `drafts` passes of one token
    /// at growing context. Without drafts nothing, or one pass where an empty one is charged.
    pub fn draft_seconds(
        &self,
        drafting: Drafting,
        drafts: usize,
        context: usize,
        batch: usize,
    ) -> f64 {
        let (law, extra, charge_when_empty, share) = match &self.draft {
            DraftCost::Law { law, extra_tokens, charge_when_empty } => {
                (law, *extra_tokens, *charge_when_empty, 1.0)
            }
            DraftCost::ShareOfFull(share) => (&self.full, 0, false, *share),
        };
        let pass = |width: usize, context: usize| law.seconds(batch * width, batch * context);
        match (drafting, drafts) {
            (_, 0) if !charge_when_empty => 0.0,
            (Drafting::Simultaneous, _) | (_, 0) => share * pass(drafts + extra, context),
            (Drafting::Sequential, _) => {
                share * (0..drafts).map(|i| pass(1, context + i)).sum::<f64>()
            }
        }
    }

    /// Whether any of its times comes from a table, beyond which it would extrapolate.
    pub(crate) fn has_table(&self) -> bool {
        let table = |law: &PassLaw| matches!(law, PassLaw::Table(_));
        table(&self.full) || matches!(&self.draft, DraftCost::Law { law, .. } if table(law))
    }

    /// Whether drafting `drafts` tokens and verifying them at `context` leaves the measured cells.
    pub fn extrapolates(
        &self,
        drafting: Drafting,
        drafts: usize,
        context: usize,
        batch: usize,
    ) -> bool {
        let (law, extra) = match &self.draft {
            DraftCost::Law { law, extra_tokens, .. } => (law, *extra_tokens),
            DraftCost::ShareOfFull(_) => (&self.full, 0),
        };
        let (width, last) = match drafting {
            Drafting::Simultaneous => (drafts + extra, context),
            Drafting::Sequential => (1, context + drafts.saturating_sub(1)),
        };
        self.full.extrapolates(batch * (drafts + 1), batch * context)
            || (drafts > 0 && law.extrapolates(batch * width, batch * last))
    }

    /// Seconds of a plain step at `context` for `batch` texts at once.
    pub fn plain_step_seconds(&self, context: usize, batch: usize) -> f64 {
        self.full.seconds(batch, batch * context) + self.step
    }

    /// Seconds of the prompt pass, which also commits the first token.
    pub fn prompt_seconds(&self, prompt: usize, batch: usize) -> f64 {
        self.full.seconds(batch * prompt, 0) + self.step
    }

    /// How plain steps grow with the context, where the law is affine: seconds per token of it.
    pub(crate) fn step_slope(&self, batch: usize) -> Option<f64> {
        self.full.context_slope().map(|slope| slope * batch as f64)
    }

    /// How iterations grow with the context, where all laws are affine.
    pub(crate) fn iteration_slope(
        &self,
        drafting: Drafting,
        drafts: usize,
        batch: usize,
    ) -> Option<f64> {
        let passes = if drafting == Drafting::Sequential { drafts as f64 } else { 1.0 };
        let draft = match &self.draft {
            DraftCost::Law { law, .. } => law.context_slope()?,
            DraftCost::ShareOfFull(share) => share * self.full.context_slope()?,
        };
        Some(batch as f64 * (passes * draft + self.full.context_slope()?))
    }

    /// Seconds of one iteration that starts at `context`: draft, verify, step.
    pub fn iteration_seconds(
        &self,
        drafting: Drafting,
        drafts: usize,
        context: usize,
        batch: usize,
    ) -> f64 {
        self.draft_seconds(drafting, drafts, context, batch)
            + self.full.seconds(batch * (drafts + 1), batch * context)
            + self.step
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
