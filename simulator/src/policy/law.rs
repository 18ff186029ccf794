//! What an iteration costs at each number of drafts, by a run's own measurements, and how often
//! each draft was accepted there.

use crate::cost::measured::MeasuredCosts;
use crate::error::{Error, Result, positive};
use crate::predict::plans_run::known_runs;
use crate::predict::request::Request;
use crate::traces::table::TraceTable;
use crate::traces::walk::count;
use s3d_data::{AcceptanceCounts, Draft, DraftPlan, Predictors, Run, Trace};

/// Costs of one iteration in plain steps, by its number of drafts; the first, of none, is 1.
#[derive(Debug, Clone, PartialEq)]
pub struct CostByDrafts(Vec<f64>);

impl CostByDrafts {
    /// The costs of iterations with 1, 2, ... drafts, in plain steps.
    ///
    /// # Errors
    /// No cost, or one that is not a finite number above 0.
    pub fn new(costs: &[f64]) -> Result<Self> {
        if costs.is_empty() {
            return Err(Error::missing("cost of an iteration with drafts", "give one at least"));
        }
        let checked = costs.iter().map(|&cost| positive("cost of an iteration", cost));
        std::iter::once(Ok(1.0)).chain(checked).collect::<Result<_>>().map(Self)
    }

    /// The costs that `run` holds of iterations that draft as `way` does, up to `most` drafts:
    /// timed passes, corrected by what was run end to end (the costs that the choice rests on).
    ///
    /// # Errors
    /// Passes that were neither timed nor follow from a law.
    pub fn of(run: &Run, request: &Request, way: &Draft, most: usize) -> Result<Self> {
        let table = TraceTable::of(run)?;
        let costs = MeasuredCosts::new(run, request.machine, &request.contexts)?;
        let runs = known_runs(run, request, &table)?;
        let cost = |drafts: usize| {
            let plan = DraftPlan {
                drafting: way.drafting,
                skip: way.skip.clone(),
                predictors: Predictors::new(drafts)?,
            };
            let slower = runs.with_own(&plan).factor.recip();
            Ok(costs.of(way, drafts)?.slower(slower).in_plain_steps())
        };
        Self::new(&(1..=most).map(cost).collect::<Result<Vec<f64>>>()?)
    }

    /// The cost of an iteration with `drafts` drafts, in plain steps.
    pub fn at(&self, drafts: usize) -> f64 {
        self.0[drafts]
    }

    /// All costs, that of a plain step first.
    pub fn all(&self) -> &[f64] {
        &self.0
    }

    /// The most drafts that a cost is known of.
    pub fn most(&self) -> usize {
        self.0.len() - 1
    }
}

/// Attempted and accepted drafts over texts, each walked with `most` drafts.
pub fn acceptance<'a>(traces: impl Iterator<Item = &'a Trace>, most: usize) -> AcceptanceCounts {
    let mut all = AcceptanceCounts::new(most);
    traces.for_each(|trace| all.merge(&count(&trace.accepted, most)));
    all
}
