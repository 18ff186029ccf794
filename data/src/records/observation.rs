//! All that is observed: one entry of the journal, and the tables that entries are sorted into.

use crate::error::Result;
use crate::records::bounds::Bounds;
use crate::records::latency::LatencySample;
use crate::records::memory::MemoryRecord;
use crate::records::near_tie::NearTie;
use crate::records::throughput::ThroughputSample;
use crate::records::trace::Trace;
use serde::{Deserialize, Serialize};

/// One finished observation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Observation {
    /// A row of `latency.csv`.
    Latency(LatencySample),
    /// A line of `acceptance.jsonl`.
    Trace(Trace),
    /// A row of `throughput.csv`.
    Throughput(ThroughputSample),
    /// A row of `memory.csv`.
    Memory(MemoryRecord),
    /// A row of `near_ties.csv`.
    NearTie(NearTie),
    /// A stage is complete: nothing of it is measured again.
    Finished {
        /// The stage's name.
        stage: String,
    },
}

impl Observation {
    /// Whether such a line of `journal.jsonl` can be.
    ///
    /// # Errors
    /// Names the key.
    pub fn check(&self, bounds: &Bounds) -> Result<()> {
        match self {
            Observation::Latency(row) => row.check(bounds),
            Observation::Trace(row) => row.check(bounds),
            Observation::Throughput(row) => row.check(bounds),
            Observation::Memory(row) => row.check(),
            Observation::NearTie(row) => row.check(),
            Observation::Finished { .. } => Ok(()),
        }
    }
}

/// All raw observations of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observations {
    /// Rows of `latency.csv`.
    pub latency: Vec<LatencySample>,
    /// Lines of `acceptance.jsonl`.
    pub traces: Vec<Trace>,
    /// Rows of `throughput.csv`.
    pub throughput: Vec<ThroughputSample>,
    /// Rows of `memory.csv`.
    pub memory: Vec<MemoryRecord>,
    /// Rows of `near_ties.csv`.
    pub near_ties: Vec<NearTie>,
}

impl Observations {
    /// Sorts journal entries into their tables.
    pub fn from_journal(entries: impl IntoIterator<Item = Observation>) -> Self {
        let mut all = Self::default();
        for entry in entries {
            match entry {
                Observation::Latency(sample) => all.latency.push(sample),
                Observation::Trace(trace) => all.traces.push(trace),
                Observation::Throughput(sample) => all.throughput.push(sample),
                Observation::Memory(record) => all.memory.push(record),
                Observation::NearTie(tie) => all.near_ties.push(tie),
                Observation::Finished { .. } => {}
            }
        }
        all
    }
}
