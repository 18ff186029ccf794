//! All that is observed: one entry of the journal, and the tables that entries are sorted into.

use crate::error::Result;
use crate::records::bounds::Bounds;
use crate::records::latency::LatencySample;
use crate::records::memory::MemoryRecord;
use crate::records::near_tie::NearTie;
use crate::records::throughput::ThroughputSample;
use crate::records::trace::Trace;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

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
    /// A finished run is given more time: stages that make use of it are open again.
    MoreTime,
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
            Observation::Finished { .. } | Observation::MoreTime => Ok(()),
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
    /// Rows of the same tables of several texts at once.
    pub together: Together,
}

/// What was timed of several texts at once. Kept apart in memory: whoever asks about one text must
/// not meet them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Together {
    /// Rows of `latency.csv` with a batch above 1.
    pub latency: Vec<LatencySample>,
    /// Rows of `throughput.csv` with a batch above 1.
    pub throughput: Vec<ThroughputSample>,
}

impl Together {
    /// Numbers of texts whose passes were timed, ascending.
    pub fn batches(&self) -> BTreeSet<usize> {
        self.latency.iter().map(|sample| sample.batch).collect()
    }
}

impl Observations {
    /// Sorts journal entries into their tables.
    pub fn from_journal(entries: impl IntoIterator<Item = Observation>) -> Self {
        let mut all = Self::default();
        entries.into_iter().for_each(|entry| all.add(entry));
        all
    }

    /// Adds one observation to its table; the end of a stage belongs to none.
    fn add(&mut self, entry: Observation) {
        match entry {
            Observation::Latency(sample) if sample.batch > 1 => self.together.latency.push(sample),
            Observation::Latency(sample) => self.latency.push(sample),
            Observation::Trace(trace) => self.traces.push(trace),
            Observation::Throughput(sample) if sample.batch > 1 => {
                self.together.throughput.push(sample);
            }
            Observation::Throughput(sample) => self.throughput.push(sample),
            Observation::Memory(record) => self.memory.push(record),
            Observation::NearTie(tie) => self.near_ties.push(tie),
            Observation::Finished { .. } | Observation::MoreTime => {}
        }
    }

    /// The same, with the rows of several texts apart: tables as they are read hold both.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        let several = self.latency.extract_if(.., |sample| sample.batch > 1);
        self.together.latency.extend(several);
        let several = self.throughput.extract_if(.., |sample| sample.batch > 1);
        self.together.throughput.extend(several);
        self
    }

    /// The rows of `latency.csv`, those of several texts last.
    pub(crate) fn all_latency(&self) -> Vec<LatencySample> {
        [&*self.latency, &self.together.latency].concat()
    }

    /// The rows of `throughput.csv`, those of several texts last.
    pub(crate) fn all_throughput(&self) -> Vec<ThroughputSample> {
        [&*self.throughput, &self.together.throughput].concat()
    }

    /// Puts the rows of `new` behind those that are here, table by table.
    pub fn append(&mut self, new: Self) {
        let Self { latency, traces, throughput, memory, near_ties, together } = new;
        self.latency.extend(latency);
        self.traces.extend(traces);
        self.throughput.extend(throughput);
        self.memory.extend(memory);
        self.near_ties.extend(near_ties);
        self.together.latency.extend(together.latency);
        self.together.throughput.extend(together.throughput);
    }

    /// The tables as entries of a journal, one behind the other.
    pub fn into_journal(self) -> Vec<Observation> {
        let Self { latency, traces, throughput, memory, near_ties, together } = self;
        let (latency, throughput) =
            ([latency, together.latency].concat(), [throughput, together.throughput].concat());
        let mut entries: Vec<Observation> = traces.into_iter().map(Observation::Trace).collect();
        entries.extend(latency.into_iter().map(Observation::Latency));
        entries.extend(memory.into_iter().map(Observation::Memory));
        entries.extend(near_ties.into_iter().map(Observation::NearTie));
        entries.extend(throughput.into_iter().map(Observation::Throughput));
        entries
    }
}
