//! What all predictions of one run share: its traces walked once, the draws, and what iterations
//! cost by all end-to-end blocks.

use crate::error::Result;
use crate::predict::additive::{Additive, StartSpread};
use crate::predict::prediction::{Pool, Texts};
use crate::predict::reported::{Reported, reported};
use crate::predict::request::Request;
use crate::traces::table::TraceTable;
use s3d_data::{Plan, Run};

/// The traces of a run, walked with every number of predictors of the request.
pub(crate) struct Walked<'a> {
    /// The traces, sorted.
    pub(crate) table: TraceTable<'a>,
    /// Tokens per iteration over all texts and in draws of texts.
    pub(crate) texts: Texts,
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
        let own = run.observations.throughput.iter().filter(|s| s.machine == request.machine);
        Ok(Self {
            table,
            texts,
            pool,
            timed: Additive::fit(own, StartSpread::of(run.header.starts.as_ref())),
        })
    }

    /// The one speedup that is reported of `plan`; nothing where too few blocks or texts were run.
    pub(crate) fn reported(&self, plan: &Plan) -> Option<Reported> {
        reported(plan, &self.texts, &self.timed, &self.pool)
    }
}
