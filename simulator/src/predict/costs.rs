//! Iteration costs at the asked contexts: one, or several with weights.

use crate::cost::pass_times::{Cell, PassTimes};
use crate::error::{Error, Result};
use s3d_data::{Draft, Run};

/// Pass times at weighted contexts. All costs are in plain passes: the weighted mean of the plain
/// passes at these contexts.
#[derive(Debug, Clone)]
pub struct Costs {
    /// Pass times with the share of plain time spent at their context; shares add up to 1.
    at: Vec<(PassTimes, f64)>,
    /// Seconds of the mean plain pass and its standard error.
    pub plain: (f64, f64),
    /// Blocks in which plain passes were timed, at the context that has the fewest.
    pub blocks: usize,
}

/// What one iteration of a plan costs, in plain passes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlanCost {
    /// All its draft passes.
    pub draft: Cell,
    /// Its verify pass.
    pub verify: Cell,
    /// Bookkeeping, which a plain step pays as well.
    pub step: Cell,
}

impl PlanCost {
    /// `T_iter / T_plain step`: the tokens per iteration that break even.
    pub fn in_plain_steps(&self) -> f64 {
        (self.draft.value + self.verify.value + self.step.value) / (1.0 + self.step.value)
    }

    /// The same with passes that take `factor` times as long.
    pub fn slower(self, factor: f64) -> Self {
        let scaled =
            |cell: Cell| Cell { value: cell.value * factor, error: cell.error * factor, ..cell };
        Self { draft: scaled(self.draft), verify: scaled(self.verify), ..self }
    }
}

impl Costs {
    /// The costs of `run` at `contexts` with their weights.
    ///
    /// # Errors
    /// No context, a weight that is not above 0, or what [`PassTimes::new`] refuses.
    pub fn new(run: &Run, machine: usize, contexts: &[(usize, f64)]) -> Result<Self> {
        let all: Vec<(PassTimes, f64)> = contexts
            .iter()
            .map(|&(context, weight)| {
                let weight = crate::error::positive("weight of a context", weight)?;
                Ok((PassTimes::new(run, machine, context)?, weight))
            })
            .collect::<Result<_>>()?;
        let weights: f64 = all.iter().map(|(_, weight)| weight).sum();
        let total: f64 = all.iter().map(|(times, weight)| times.plain.0 * weight).sum();
        if all.is_empty() {
            return Err(Error::domain("contexts", "at least one", 0));
        }
        let error = all.iter().map(|(t, w)| t.plain.1 * w).sum::<f64>() / weights;
        let blocks = all.iter().map(|(times, _)| times.blocks).min().unwrap_or(0);
        let at = all.into_iter().map(|(times, weight)| {
            let share = times.plain.0 * weight / total;
            (times, share)
        });
        Ok(Self { at: at.collect(), plain: (total / weights, error), blocks })
    }

    /// The cost of one iteration of `way` with `predictors` drafts.
    ///
    /// # Errors
    /// What was neither timed nor follows from a law.
    pub fn of(&self, way: &Draft, predictors: usize) -> Result<PlanCost> {
        Ok(PlanCost {
            draft: self.mean(|times| times.draft(way, predictors))?,
            verify: self.full(predictors + 1)?,
            step: self.step(),
        })
    }

    /// The full pass over `width` tokens.
    ///
    /// # Errors
    /// No full pass of any width above 1 was timed.
    pub fn full(&self, width: usize) -> Result<Cell> {
        self.mean(|times| times.full(width))
    }

    /// Bookkeeping per step, in plain passes.
    pub fn step(&self) -> Cell {
        let zero = Cell { value: 0.0, error: 0.0, timed: true };
        self.mean(|times| Ok(times.step)).unwrap_or(zero)
    }

    /// As if no draft pass of this way's window had been timed.
    pub fn without(&self, way: &Draft) -> Self {
        let mut costs = self.clone();
        for (times, _) in &mut costs.at {
            times.law = times.law.without(&way.skip);
            times.draft.retain(|(other, _), _| other.skip != way.skip);
        }
        costs
    }

    /// Whether a context lies outside those that were timed.
    pub fn extrapolated(&self) -> bool {
        self.at.iter().any(|(times, _)| times.extrapolated)
    }

    fn mean(&self, cell: impl Fn(&PassTimes) -> Result<Cell>) -> Result<Cell> {
        let mut sum = Cell { value: 0.0, error: 0.0, timed: true };
        for (times, share) in &self.at {
            let one = cell(times)?;
            sum.value += share * one.value;
            sum.error += share * one.error;
            sum.timed &= one.timed;
        }
        Ok(sum)
    }
}
