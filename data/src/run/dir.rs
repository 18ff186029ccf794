//! The run directory: its files, and what they hold.

use crate::error::{Error, Result};
use crate::output;
use crate::plan::{Drafting, Skip};
use crate::quote::shown;
use crate::records::bounds::Bounds;
use crate::records::latency::LatencySample;
use crate::records::memory::MemoryRecord;
use crate::records::near_tie::{NearTie, save_near_ties};
use crate::records::observation::{Observation, Observations};
use crate::records::throughput::ThroughputSample;
use crate::records::trace::Trace;
use crate::results::Recommendation;
use crate::run::RunHeader;
use crate::run::header::SCHEMA_VERSION;
use crate::run::journal;
use crate::run::tables;
use crate::store;
use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The files of a run directory (design, section 4).
#[derive(Debug, Clone)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    /// The run directory at `root`, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// `run.json`
    pub fn header(&self) -> PathBuf {
        self.file("run.json")
    }

    /// `journal.jsonl`
    pub fn journal(&self) -> PathBuf {
        self.file("journal.jsonl")
    }

    /// `latency.csv`
    pub fn latency(&self) -> PathBuf {
        self.file("latency.csv")
    }

    /// `acceptance.jsonl`
    pub fn acceptance(&self) -> PathBuf {
        self.file("acceptance.jsonl")
    }

    /// `throughput.csv`
    pub fn throughput(&self) -> PathBuf {
        self.file("throughput.csv")
    }

    /// `memory.csv`
    pub fn memory(&self) -> PathBuf {
        self.file("memory.csv")
    }

    /// `near_ties.csv`
    pub fn near_ties(&self) -> PathBuf {
        self.file("near_ties.csv")
    }

    /// `fit.json`
    pub fn fit(&self) -> PathBuf {
        self.file("fit.json")
    }

    /// `recommendation.json`
    pub fn recommendation(&self) -> PathBuf {
        self.file("recommendation.json")
    }

    /// `policy.json`
    pub fn policy(&self) -> PathBuf {
        self.file("policy.json")
    }

    /// Reads the header.
    ///
    /// # Errors
    /// A missing or malformed `run.json`, or one of another schema version.
    pub fn load_header(&self) -> Result<RunHeader> {
        output::settle(&self.root)?;
        store::load_versioned(&self.header(), SCHEMA_VERSION, RunHeader::check)
    }

    /// Writes the header.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save_header(&self, header: &RunHeader) -> Result<()> {
        store::save_json(&self.header(), header)
    }

    /// Writes the tables that people and other programs read, from `observations`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save_tables(&self, observations: &Observations) -> Result<()> {
        store::save_csv(&self.latency(), &observations.all_latency())?;
        store::save_jsonl(&self.acceptance(), &observations.traces)?;
        store::save_csv(&self.throughput(), &observations.all_throughput())?;
        store::save_csv(&self.memory(), &observations.memory)?;
        save_near_ties(&self.near_ties(), &observations.near_ties)
    }

    /// Writes tables and then the header that lists them; returns the header as written.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, header: &RunHeader, observations: &Observations) -> Result<RunHeader> {
        self.save_tables(observations)?;
        let tables = Some(tables::hashes(&self.tables())?);
        let header = RunHeader { tables, ..header.clone() };
        self.save_header(&header)?;
        Ok(header)
    }

    fn tables(&self) -> [PathBuf; 5] {
        [self.latency(), self.acceptance(), self.throughput(), self.memory(), self.near_ties()]
    }

    /// Whether the tables of `header` are written; those of a run that was interrupted are only in
    /// its journal.
    fn has_tables(&self, header: &RunHeader) -> bool {
        header.tables.is_some() || header.ended.is_some() || !self.journal().exists()
    }

    /// Reads all that was observed, from the tables; a table that is absent is empty. Of a run that
    /// was interrupted before they were written, from the journal. Every row is checked.
    ///
    /// # Errors
    /// A malformed file, a row that cannot be: with its line; a table that is not of this run.
    pub fn load(&self) -> Result<Run> {
        let header = self.load_header()?;
        if !self.has_tables(&header) {
            let entries = journal::read(&self.journal(), &header.bounds())?;
            let observations = Observations::from_journal(entries);
            let mut seen = HashSet::new();
            let mut traces = observations.traces.iter();
            traces
                .try_for_each(|trace| once(&mut seen, trace))
                .map_err(|e| Error::malformed(&self.journal(), e.to_string()))?;
            return Ok(Run { header, observations });
        }
        let bounds = header.bounds();
        let files = self.tables();
        let [latency, traces, throughput, memory, near_ties] = &files;
        let rows = |path: &PathBuf| store::open_or_empty(path);
        let observations = Observations {
            latency: store::parse_csv_checked(rows(latency)?, latency, |row: &LatencySample| {
                row.check(&bounds)
            })?,
            traces: parse_traces(rows(traces)?, traces, &bounds)?,
            throughput: store::parse_csv_checked(
                rows(throughput)?,
                throughput,
                |row: &ThroughputSample| row.check(&bounds),
            )?,
            memory: store::parse_csv_checked(rows(memory)?, memory, MemoryRecord::check)?,
            near_ties: store::parse_csv_checked(rows(near_ties)?, near_ties, NearTie::check)?,
            ..Observations::default()
        };
        let observations = observations.sorted();
        tables::check(&self.tables(), &header.tables)?;
        Ok(Run { header, observations })
    }

    /// Reads all that was observed so far, from the journal.
    ///
    /// # Errors
    /// A journal that cannot be read or is malformed before its last line.
    pub fn load_journal(&self) -> Result<Vec<Observation>> {
        journal::read(&self.journal(), &Bounds::WIDEST)
    }

    /// Reads `recommendation.json`.
    ///
    /// # Errors
    /// A missing or malformed file, or one of another schema version.
    pub fn load_recommendation(&self) -> Result<Recommendation> {
        store::load_versioned(&self.recommendation(), SCHEMA_VERSION, Recommendation::check)
    }
}

/// Traces of `acceptance.jsonl`: a text is traced once for each drafting and skip.
fn parse_traces(source: impl Read, path: &Path, bounds: &Bounds) -> Result<Vec<Trace>> {
    let mut seen = HashSet::new();
    store::parse_jsonl_checked(source, path, |trace: &Trace| {
        trace.check(bounds)?;
        once(&mut seen, trace)
    })
}

/// Refuses a second trace of a text for one drafting and skip.
fn once(seen: &mut HashSet<(Option<Drafting>, Option<Skip>, String)>, trace: &Trace) -> Result<()> {
    match seen.insert((trace.drafting, trace.skip(), trace.id.clone())) {
        true => Ok(()),
        false => {
            let id = shown(&trace.id);
            Err(Error::invalid(format!("the text '{id}' is traced twice for one window")))
        }
    }
}

/// A loaded run directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// How it was made.
    pub header: RunHeader,
    /// What was seen.
    pub observations: Observations,
}

impl Run {
    /// Checks what is put together from files of other programs, before it is written.
    ///
    /// # Errors
    /// As [`RunDir::load`], without a line.
    pub fn check(&self) -> Result<()> {
        self.header.check()?;
        let (bounds, seen) = (self.header.bounds(), &self.observations);
        let timed = seen.latency.iter().chain(&seen.together.latency);
        timed.into_iter().try_for_each(|row| row.check(&bounds))?;
        seen.traces.iter().try_for_each(|row| row.check(&bounds))?;
        let generated = seen.throughput.iter().chain(&seen.together.throughput);
        generated.into_iter().try_for_each(|row| row.check(&bounds))?;
        seen.memory.iter().try_for_each(MemoryRecord::check)?;
        seen.near_ties.iter().try_for_each(NearTie::check)
    }
}
