//! Costs that someone typed, in seconds: laws of passes, for any number of texts at once.

use crate::cost::law::{Affine, PassLaw};
use crate::cost::model::{CostModel, PassTime};
use crate::error::Result;
use s3d_data::Drafting;

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
pub struct TypedCosts {
    /// Full passes: prompt, plain steps, verification.
    pub full: PassLaw,
    /// Draft passes.
    pub draft: DraftCost,
    /// Once per prompt pass, plain step and iteration (`t_step`), in seconds.
    pub step: f64,
}

impl TypedCosts {
    /// The ideal case in full passes: a full pass costs 1, a draft pass the share of layers kept.
    pub fn ideal(kept_share: f64) -> Self {
        let full = PassLaw::Affine(Affine::constant(1.0));
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
    pub(crate) fn extrapolates(
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
    pub(crate) fn plain_step_seconds(&self, context: usize, batch: usize) -> f64 {
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

    /// These costs for `batch` texts at once, of `context` committed tokens each.
    pub fn at(&self, context: usize, batch: usize) -> TypedAt<'_> {
        TypedAt { costs: self, context, batch }
    }
}

/// Typed costs at one context, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct TypedAt<'a> {
    costs: &'a TypedCosts,
    context: usize,
    batch: usize,
}

impl CostModel for TypedAt<'_> {
    fn full(&self, width: usize) -> Result<PassTime> {
        Ok(PassTime::exact(self.costs.full.seconds(self.batch * width, self.batch * self.context)))
    }

    fn draft(&self, drafting: Drafting, predictors: usize) -> Result<PassTime> {
        Ok(PassTime::exact(self.costs.draft_seconds(
            drafting,
            predictors,
            self.context,
            self.batch,
        )))
    }

    fn step(&self) -> PassTime {
        PassTime::exact(self.costs.step)
    }
}
