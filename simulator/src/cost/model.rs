//! What an iteration costs at a width and a context: one question, two sources. Numbers that
//! someone typed ([`crate::cost::typed`]) are in seconds; passes that were timed
//! ([`crate::cost::measured`]) are in plain passes of the same machine, with their errors.

use crate::error::{Result, non_negative, positive};
use s3d_data::{Drafting, SkipRatio};

/// A time with its standard error, in the unit of the costs that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PassTime {
    /// Median over blocks, or what a law says.
    pub value: f64,
    /// Standard error of it.
    pub error: f64,
    /// Whether it was timed; else it comes from a law.
    pub timed: bool,
}

impl PassTime {
    /// A time without error, which nobody timed.
    pub fn exact(value: f64) -> Self {
        Self { value, error: 0.0, timed: false }
    }

    fn scaled(self, factor: f64) -> Self {
        Self { value: self.value * factor, error: self.error * factor, ..self }
    }
}

/// The costs of a draft at a context: of one skip set, or of one share of layers.
pub trait CostModel {
    /// A full pass over `width` tokens.
    ///
    /// # Errors
    /// What was neither timed nor follows from a law.
    fn full(&self, width: usize) -> Result<PassTime>;

    /// All draft passes of one iteration with `predictors` drafts.
    ///
    /// # Errors
    /// As [`Self::full`].
    fn draft(&self, drafting: Drafting, predictors: usize) -> Result<PassTime>;

    /// Bookkeeping of one iteration or plain step (`t_step`).
    fn step(&self) -> PassTime;

    /// One iteration with `predictors` drafts against one plain step.
    ///
    /// # Errors
    /// As [`Self::full`]; costs that are negative or add up to nothing.
    fn iteration(&self, drafting: Drafting, predictors: usize) -> Result<IterationCost> {
        let verify = self.full(predictors + 1)?;
        let draft = self.draft(drafting, predictors)?;
        IterationCost { plain: self.full(1)?.value, draft, verify, step: self.step() }.checked()
    }
}

/// What one iteration of a plan costs, beside a plain step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IterationCost {
    /// A plain pass, in the unit of the others.
    pub plain: f64,
    /// All draft passes.
    pub draft: PassTime,
    /// The verify pass.
    pub verify: PassTime,
    /// Bookkeeping, which a plain step pays as well.
    pub step: PassTime,
}

impl IterationCost {
    /// From exact times of one plain pass and of the parts of one iteration: all draft passes, the
    /// verify pass, `step` (`t_step`), which both pay.
    ///
    /// # Errors
    /// A time that is negative or not finite; a plain step or an iteration that costs nothing.
    pub fn new(plain: f64, draft: f64, verify: f64, step: f64) -> Result<Self> {
        let [draft, verify, step] = [draft, verify, step].map(PassTime::exact);
        Self { plain, draft, verify, step }.checked()
    }

    /// The ideal case in units of one full pass: `T_iter = 1 + (1 - beta)`, or
    /// `1 + gamma (1 - beta)` for sequential drafting.
    pub fn ideal(drafting: Drafting, skip_ratio: SkipRatio, predictors: usize) -> Self {
        let kept = 1.0 - skip_ratio.get();
        let passes = match drafting {
            Drafting::Simultaneous => 1.0,
            Drafting::Sequential => predictors as f64,
        };
        let [draft, verify, step] = [passes * kept, 1.0, 0.0].map(PassTime::exact);
        Self { plain: 1.0, draft, verify, step }
    }

    fn checked(self) -> Result<Self> {
        for (what, value) in [
            ("plain pass", self.plain),
            ("draft", self.draft.value),
            ("verify", self.verify.value),
            ("step", self.step.value),
        ] {
            non_negative(&format!("{what} seconds"), value)?;
        }
        positive("seconds of a plain step", self.plain + self.step.value)?;
        positive("seconds of an iteration", self.whole())?;
        Ok(self)
    }

    fn whole(&self) -> f64 {
        self.draft.value + self.verify.value + self.step.value
    }

    /// `T_iter / T_plain step`: the tokens per iteration that just break even.
    pub(crate) fn in_plain_steps(&self) -> f64 {
        self.whole() / (self.plain + self.step.value)
    }

    /// `IF` at `tokens` per iteration.
    pub fn improvement(&self, tokens: f64) -> f64 {
        tokens * (self.plain + self.step.value) / self.whole()
    }

    /// The same with passes that take `factor` times as long.
    #[must_use]
    pub fn slower(self, factor: f64) -> Self {
        Self { draft: self.draft.scaled(factor), verify: self.verify.scaled(factor), ..self }
    }
}
