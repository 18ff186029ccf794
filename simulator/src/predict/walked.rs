//! What all predictions of one run share: its traces walked once, the draws, and what iterations
//! cost by all end-to-end blocks.

use crate::error::Result;
use crate::predict::additive::{Additive, StartSpread};
use crate::predict::counted::Counted;
use crate::predict::prediction::{Pool, Texts, TokenDraws};
use crate::predict::reported::{Reported, enough, reported};
use crate::predict::request::Request;
use crate::traces::table::TraceTable;
use s3d_data::{Plan, Run};

/// The traces of a run, walked with every number of predictors of the request.
pub(crate) struct Walked<'a> {
    /// The traces, sorted.
    pub(crate) table: TraceTable<'a>,
    /// Tokens per iteration over all texts and in draws of texts.
    pub(crate) texts: Texts,
    /// The same of plans that were run, by their own generations.
    pub(crate) counted: Counted<'a>,
    /// Deviates of the draws.
    pub(crate) pool: Pool,
    /// What iterations cost by all end-to-end blocks of the machine.
    pub(crate) timed: Additive<'a>,
}

impl<'a> Walked<'a> {
    /// Walks every trace once.
    ///
    /// # Errors
    /// A trace that contradicts itself.
    pub(crate) fn new(run: &'a Run, request: &Request) -> Result<Self> {
        let table = TraceTable::of(run)?;
        let texts = Texts::new(&table, request.gamma_max, request.draws, request.seed);
        let pool = Pool::new(request.seed, request.draws);
        let own = || run.observations.throughput.iter().filter(|s| s.machine == request.machine);
        Ok(Self {
            table,
            texts,
            counted: Counted::new(own(), request.draws, request.seed),
            pool,
            timed: Additive::fit(own(), StartSpread::of(run.header.starts.as_ref())),
        })
    }

    /// The one speedup that is reported of `plan`; nothing where too few blocks or texts were run.
    pub(crate) fn reported(&self, plan: &Plan) -> Option<Reported> {
        reported(plan, &self.texts, &self.timed, &self.pool)
    }

    /// The same of a plan that may not have been traced: then its own generations say how many
    /// tokens an iteration gives.
    pub(crate) fn reported_or_counted(&self, plan: &Plan) -> Option<Reported> {
        enough(plan, &self.tokens(plan)?, &self.timed, &self.pool)
    }

    /// The speedup of `plan` by whatever was run; nothing where its cost cannot be told.
    pub(crate) fn so_far(&self, plan: &Plan) -> Option<f64> {
        let (log, _) = self.timed.log_cost(plan)?;
        Some(self.tokens(plan)?.value / log.exp())
    }

    /// Tokens per iteration: by traces, else by generations; one where nothing is drafted.
    fn tokens(&self, plan: &Plan) -> Option<TokenDraws> {
        match plan.draft() {
            Some(draft) => self.texts.of(draft).or_else(|| self.counted.of(plan)),
            None => Some(TokenDraws {
                value: 1.0,
                draws: vec![1.0; self.pool.draws()],
                clusters: usize::MAX,
                readings: None,
                counted: None,
            }),
        }
    }
}
