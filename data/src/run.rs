//! The run directory: its header, what it holds, and where.

pub mod card_state;
pub mod journal;
pub mod replace;
pub mod shard;
mod tables;

pub use tables::TableHashes;

use crate::records::check::{self, Bounds};
use crate::records::latency::{LatencySample, MemoryRecord, ModelShape, NearTie, ThroughputSample};
use crate::records::trace::Trace;
use crate::results::{Fit, Recommendation};
use crate::run::card_state::CardState;
use crate::run::journal::Observation;
use crate::run::shard::{Asked, Merged, Sharding};
use crate::{Error, Result, output, shown, store};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The version of all record formats that this program writes and reads.
pub const SCHEMA_VERSION: u64 = 1;

/// One cache of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// 1, 2, 3.
    pub level: u8,
    /// `Data`, `Instruction` or `Unified`.
    pub kind: String,
    /// Size of one instance.
    pub bytes: u64,
}

/// The machine that measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Processor or card, in the system's words.
    pub model: String,
    /// Logical cores of the machine.
    pub cores: usize,
    /// Physical memory.
    pub memory_bytes: u64,
    /// Its caches, as seen by the first core.
    pub caches: Vec<Cache>,
    /// Instruction set that the kernels use, such as `avx2+fma`.
    pub features: String,
    /// Operating system and kernel.
    pub system: String,
    /// Frequency governor, where it is readable.
    pub governor: Option<String>,
    /// Best streaming read bandwidth measured with the run's threads.
    pub read_bytes_per_s: Option<f64>,
    /// Multiply-add rate measured with the run's threads (a multiply-add counts as two).
    pub flops_per_s: Option<f64>,
    /// One-minute load when the run began.
    pub load: Option<f64>,
    /// The state of the card when the run began, where one computes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<CardState>,
}

impl Machine {
    /// Size of the largest cache, 0 where none is known.
    pub fn last_level_cache_bytes(&self) -> u64 {
        self.caches.iter().map(|cache| cache.bytes).max().unwrap_or(0)
    }
}

/// The model that was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelIdentity {
    /// Its name, for people.
    pub name: String,
    /// Its shape as it ran (after widening).
    pub shape: ModelShape,
    /// SHA-256 over configuration and weights as loaded from disk, in hexadecimal.
    pub content_hash: String,
    /// Whether the weights are random (acceptance then means nothing).
    #[serde(default)]
    pub random_weights: bool,
    /// Optimizer steps the checkpoint was trained for, where it says so.
    #[serde(default)]
    pub training_steps: Option<u64>,
    /// The longest text that it decodes, in tokens, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positions: Option<usize>,
}

/// What traces cover, and what the same would have taken by generating.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// Plans that the traces speak about: windows x draftings x predictors.
    pub plans: usize,
    /// Positions traced, summed over windows and draftings.
    pub positions: usize,
    /// Seconds that tracing took, the plain texts included.
    pub trace_seconds: f64,
    /// Seconds that generating as many tokens under every one of these plans would take with the
    /// model as it runs: extrapolated from `sampled_plans` of them, evenly spread.
    pub generation_seconds: f64,
    /// Plans that were generated for this.
    pub sampled_plans: usize,
}

/// `run.json`: how a run was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u64,
    /// The command line that made it.
    pub command: Vec<String>,
    /// Program version.
    pub program_version: String,
    /// Program commit, where it is known.
    pub program_commit: Option<String>,
    /// The machine; several after a merge.
    pub machines: Vec<Machine>,
    /// `cpu`, `cuda:0`.
    pub device: String,
    /// Driver version, on a GPU.
    pub driver: Option<String>,
    /// Threads used.
    pub threads: usize,
    /// Precision of the weights as they ran: `f32`, `f16`, ...
    pub dtype: String,
    /// Net2Net widening of the model: 1 = none.
    pub widen: usize,
    /// The model.
    pub model: ModelIdentity,
    /// Largest number of predictors looked at.
    pub gamma_max: usize,
    /// The context that choices are made for, in tokens.
    pub context: usize,
    /// The memory that choices must fit, in bytes.
    #[serde(default)]
    pub memory_budget_bytes: Option<u64>,
    /// Probabilities of acceptance that were imposed instead of measured, one per predictor.
    #[serde(default)]
    pub imposed: Option<Vec<f64>>,
    /// Seed of every random choice.
    pub seed: u64,
    /// Start, RFC 3339 UTC.
    pub started: String,
    /// End, RFC 3339 UTC; null while the run is not finished.
    pub ended: Option<String>,
    /// Seconds spent measuring so far, over all resumptions.
    pub seconds_measuring: f64,
    /// CPU time of all threads together over that time.
    #[serde(default)]
    pub cpu_seconds: Option<f64>,
    /// Why the end-to-end blocks stopped: `narrow` (the ratio between the leading plans is known
    /// closely enough), `budget` (the time was spent) or `blocks` (all that were asked for).
    #[serde(default)]
    pub stopped: Option<String>,
    /// What the traces cover, beside what generating would have taken.
    #[serde(default)]
    pub coverage: Option<Coverage>,
    /// Which part of a request this run is, if it was measured with `--shard`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Sharding>,
    /// The shards it was merged from, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged: Option<Merged>,
    /// What was asked for, stage by stage: a run goes on only with the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// The tables that were written with this header. None while they are not written, or where an older
    /// program wrote them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<TableHashes>,
    /// Advice given while measuring.
    pub warnings: Vec<String>,
}

impl RunHeader {
    /// What [`RunHeader::device`] begins with when times come from a data sheet and not from a clock.
    pub const DERIVED: &str = "derived";
    /// [`RunHeader::device`] of measurements that another engine made.
    pub const IMPORTED: &str = "imported";

    /// Whether times come from a data sheet and not from a clock.
    pub fn is_derived(&self) -> bool {
        is_derived(&self.device)
    }
}

/// Whether a record's `device` says that times come from a data sheet.
pub(crate) fn is_derived(device: &str) -> bool {
    device.starts_with(RunHeader::DERIVED)
}

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

    /// Reads the header.
    ///
    /// # Errors
    /// A missing or malformed `run.json`, or one of another schema version.
    pub fn load_header(&self) -> Result<RunHeader> {
        output::settle(&self.root)?;
        store::load_versioned(&self.header(), SCHEMA_VERSION, check::header)
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
        store::save_csv(&self.latency(), &observations.latency)?;
        store::save_jsonl(&self.acceptance(), &observations.traces)?;
        store::save_csv(&self.throughput(), &observations.throughput)?;
        store::save_csv(&self.memory(), &observations.memory)?;
        store::save_near_ties(&self.near_ties(), &observations.near_ties)
    }

    /// Reads all that was observed, from the tables; a table that is absent is empty. Of a run that was
    /// interrupted before they were written, from the journal. Every row is checked ([`crate::records::check`]).
    ///
    /// # Errors
    /// A malformed file, a row that cannot be: with its line; a table that is not of this run.
    pub fn load(&self) -> Result<Run> {
        let header = self.load_header()?;
        if !self.has_tables(&header) {
            let observations = Observations::from_journal(self.load_journal()?);
            let run = Run { header, observations };
            run.check()?;
            return Ok(run);
        }
        let bounds = Bounds::of(&header);
        let files =
            [self.latency(), self.acceptance(), self.throughput(), self.memory(), self.near_ties()];
        let [latency, traces, throughput, memory, near_ties] = &files;
        let bytes = |path: &PathBuf| store::read_or_empty(path);
        let observations = Observations {
            latency: store::parse_csv_checked(&bytes(latency)?, latency, |row| {
                check::latency(row, &bounds)
            })?,
            traces: parse_traces(&bytes(traces)?, traces, &bounds)?,
            throughput: store::parse_csv_checked(&bytes(throughput)?, throughput, |row| {
                check::throughput(row, &bounds)
            })?,
            memory: store::parse_csv_checked(&bytes(memory)?, memory, check::memory)?,
            near_ties: store::parse_csv_checked(&bytes(near_ties)?, near_ties, check::near_tie)?,
        };
        self.check_tables(&header)?;
        Ok(Run { header, observations })
    }

    /// Reads all that was observed so far, from the journal.
    ///
    /// # Errors
    /// A journal that cannot be read or is malformed before its last line.
    pub fn load_journal(&self) -> Result<Vec<Observation>> {
        journal::read(&self.journal())
    }

    /// Reads `fit.json`.
    ///
    /// # Errors
    /// A missing or malformed file, or one of another schema version.
    pub fn load_fit(&self) -> Result<Fit> {
        store::load_versioned(&self.fit(), SCHEMA_VERSION, |_| Ok(()))
    }

    /// Reads `recommendation.json`.
    ///
    /// # Errors
    /// A missing or malformed file, or one of another schema version.
    pub fn load_recommendation(&self) -> Result<Recommendation> {
        store::load_versioned(&self.recommendation(), SCHEMA_VERSION, check::recommendation)
    }
}

/// Traces in the bytes of `acceptance.jsonl`: a text is traced once for each drafting and skip.
fn parse_traces(bytes: &[u8], path: &Path, bounds: &Bounds) -> Result<Vec<Trace>> {
    let mut seen = HashSet::new();
    store::parse_jsonl_checked(bytes, path, |trace: &Trace| {
        check::trace(trace, bounds)?;
        match seen.insert((trace.drafting, trace.skip(), trace.id.clone())) {
            true => Ok(()),
            false => {
                let id = shown(&trace.id);
                Err(Error::invalid(format!("the text '{id}' is traced twice for one window")))
            }
        }
    })
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
        check::header(&self.header)?;
        let (bounds, seen) = (Bounds::of(&self.header), &self.observations);
        seen.latency.iter().try_for_each(|row| check::latency(row, &bounds))?;
        seen.traces.iter().try_for_each(|row| check::trace(row, &bounds))?;
        seen.throughput.iter().try_for_each(|row| check::throughput(row, &bounds))?;
        seen.memory.iter().try_for_each(check::memory)?;
        seen.near_ties.iter().try_for_each(check::near_tie)
    }
}
