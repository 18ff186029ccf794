//! What is asked of a run.

use crate::error::{Error, Result};
use crate::fit::check_machine;
use s3d_data::{Bytes, Run, RunHeader};

/// What is asked of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Contexts in tokens, with weights: one, or a range.
    pub contexts: Vec<(usize, f64)>,
    /// Texts decoded in lockstep: 1, or a number whose passes were timed.
    pub batch: usize,
    /// Peak memory that a plan must fit.
    pub memory_budget: Option<Bytes>,
    /// Most predictors.
    pub gamma_max: usize,
    /// Which machine of a merged run.
    pub machine: usize,
    /// Seed of every draw.
    pub seed: u64,
    /// Bootstrap draws.
    pub draws: usize,
    /// Whether plans that were run end to end are predicted as if they had not been, to say how
    /// wrong predictions are; of no use to who only asks for the choice.
    pub with_errors: bool,
}

impl Request {
    /// The question that the run's own header asks.
    pub fn of(header: &RunHeader) -> Self {
        Self {
            contexts: vec![(header.context, 1.0)],
            batch: 1,
            memory_budget: header.memory_budget_bytes,
            gamma_max: header.gamma_max.get(),
            machine: 0,
            seed: header.seed,
            draws: 1000,
            with_errors: true,
        }
    }

    /// Whether this asks about the context that the run itself asked about: its end-to-end blocks
    /// say nothing of others.
    pub(crate) fn asks_where_measured(&self, header: &RunHeader) -> bool {
        self.contexts == Self::of(header).contexts
    }

    /// The weighted mean context, in tokens: what records call the context.
    pub fn context(&self) -> usize {
        let weights: f64 = self.contexts.iter().map(|c| c.1).sum();
        let sum: f64 = self.contexts.iter().map(|c| c.0 as f64 * c.1).sum();
        (sum / weights).round() as usize
    }

    /// Refuses nonsense.
    ///
    /// # Errors
    /// A machine that the run does not have, no predictors, too few draws, a budget that cannot be
    /// checked.
    pub(crate) fn check(&self, run: &Run) -> Result<()> {
        check_machine(run, self.machine)?;
        if self.gamma_max == 0 {
            return Err(Error::domain("gamma_max", "at least 1", 0));
        }
        if self.batch == 0 {
            return Err(Error::domain("batch", "at least 1", 0));
        }
        if self.draws < 40 {
            return Err(Error::domain("bootstrap draws", "at least 40", self.draws));
        }
        self.check_budget(&run.header)
    }

    /// A budget is of use only where the memory is known.
    ///
    /// # Errors
    /// A budget on a model whose shape is not known.
    pub fn check_budget(&self, header: &RunHeader) -> Result<()> {
        match self.memory_budget {
            Some(budget) if !header.model.shape.is_known() => {
                let what = format!(
                    "peak memory of {}, needed to check the memory budget of {budget}",
                    header.model.name
                );
                let advice = "only its number of layers is known: import again with --model NAME \
                    of a \
                              known geometry (such as llama-2-7b) and --dtype, or leave the \
                              budget out";
                Err(Error::missing(what, advice))
            }
            _ => Ok(()),
        }
    }
}
