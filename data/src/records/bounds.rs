//! What observations must fit: the run that they belong to.

use crate::error::Result;
use crate::limits::{self, within};
use crate::plan::{Plan, Skip};

/// What the observations of a run must fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Layers of the model.
    pub layers: usize,
    /// Machines of the run, at least 1.
    pub machines: usize,
}

impl Bounds {
    /// Where the run is not known.
    pub const WIDEST: Self = Self { layers: limits::LAYERS, machines: limits::SHARDS };

    /// Whether there is such a machine.
    pub(crate) fn machine(&self, machine: usize) -> Result<()> {
        within("machine", machine, &(0..=self.machines - 1)).map(drop)
    }

    /// Whether the model has what `plan` leaves out.
    pub(crate) fn plan(&self, plan: &Plan) -> Result<()> {
        plan.draft().map_or(Ok(()), |draft| self.skip(&draft.skip))
    }

    /// Whether the model has what `skip` leaves out.
    pub(crate) fn skip(&self, skip: &Skip) -> Result<()> {
        skip.check(self.layers)
    }
}

/// Whether a place in a schedule can be.
pub(crate) fn place(block: usize, order: usize, copy: usize) -> Result<()> {
    within("block", block, &(0..=limits::BLOCKS))?;
    within("order", order, &(0..=limits::BLOCKS))?;
    within("copy", copy, &(0..=1))?;
    Ok(())
}
