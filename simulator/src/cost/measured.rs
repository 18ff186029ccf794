//! Costs by passes that were timed, in plain passes, at the asked contexts: one, or several with
//! weights.

use crate::cost::model::{CostModel, IterationCost, PassTime};
use crate::cost::pass_times::PassTimes;
use crate::error::{Error, Result};
use s3d_data::{Draft, Drafting, Run, Skip};

/// Pass times at weighted contexts. All costs are in plain passes: the weighted mean of the plain
/// passes at these contexts.
#[derive(Debug, Clone)]
pub struct MeasuredCosts {
    /// Pass times with the share of plain time spent at their context; shares add up to 1.
    at: Vec<(PassTimes, f64)>,
    /// Seconds of the mean plain pass and its standard error.
    pub plain: (f64, f64),
    /// Blocks in which plain passes were timed, at the context that has the fewest.
    pub blocks: usize,
}

impl MeasuredCosts {
    /// The costs of `run` at `contexts` with their weights.
    ///
    /// # Errors
    /// No context, a weight that is not above 0, or what [`PassTimes::new`] refuses.
    pub fn new(run: &Run, machine: usize, contexts: &[(usize, f64)]) -> Result<Self> {
        Self::of_texts(run, machine, contexts, 1)
    }

    /// The same for `batch` texts that are decoded in lockstep, in plain passes of as many texts.
    ///
    /// # Errors
    /// As [`Self::new`], of [`PassTimes::of_texts`].
    pub fn of_texts(
        run: &Run,
        machine: usize,
        contexts: &[(usize, f64)],
        batch: usize,
    ) -> Result<Self> {
        let all: Vec<(PassTimes, f64)> = contexts
            .iter()
            .map(|&(context, weight)| {
                let weight = crate::error::positive("weight of a context", weight)?;
                Ok((PassTimes::of_texts(run, machine, (context, batch))?, weight))
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
    pub fn of(&self, way: &Draft, predictors: usize) -> Result<IterationCost> {
        self.skipping(&way.skip).iteration(way.drafting, predictors)
    }

    /// The costs of drafts that skip `skip`.
    pub fn skipping<'a>(&'a self, skip: &'a Skip) -> Skipping<'a> {
        Skipping { costs: self, skip }
    }

    /// The full pass over `width` tokens.
    ///
    /// # Errors
    /// No full pass of any width above 1 was timed.
    pub fn full(&self, width: usize) -> Result<PassTime> {
        self.mean(|times| times.full(width))
    }

    /// Bookkeeping per step, in plain passes.
    pub fn step(&self) -> PassTime {
        let zero = PassTime { value: 0.0, error: 0.0, timed: true };
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

    fn mean(&self, cell: impl Fn(&PassTimes) -> Result<PassTime>) -> Result<PassTime> {
        let mut sum = PassTime { value: 0.0, error: 0.0, timed: true };
        for (times, share) in &self.at {
            let one = cell(times)?;
            sum.value += share * one.value;
            sum.error += share * one.error;
            sum.timed &= one.timed;
        }
        Ok(sum)
    }
}

/// Timed costs of drafts that leave out one skip set, in plain passes.
#[derive(Debug, Clone, Copy)]
pub struct Skipping<'a> {
    costs: &'a MeasuredCosts,
    skip: &'a Skip,
}

impl CostModel for Skipping<'_> {
    fn full(&self, width: usize) -> Result<PassTime> {
        self.costs.full(width)
    }

    fn draft(&self, drafting: Drafting, predictors: usize) -> Result<PassTime> {
        let way = Draft { drafting, skip: self.skip.clone() };
        self.costs.mean(|times| times.draft(&way, predictors))
    }

    fn step(&self) -> PassTime {
        self.costs.step()
    }
}
