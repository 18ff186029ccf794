//! `run.json`: how a run was made.

use crate::error::Result;
use crate::limits::{self, within};
use crate::plan::{Predictors, gamma_max};
use crate::records::bounds::Bounds;
use crate::results::CONTEXTS;
use crate::run::drawn::Drawn;
use crate::run::machine::Machine;
use crate::run::shard::{Asked, Merged, Sharding};
use crate::run::starts::Starts;
use crate::run::tables::TableHashes;
use crate::run::times_from::TimesFrom;
use crate::shape::ModelShape;
use crate::units::{Bytes, Seconds, Share};
use serde::{Deserialize, Serialize};

/// The version of all record formats that this program writes and reads.
pub const SCHEMA_VERSION: u64 = 1;

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

impl ModelIdentity {
    /// A model of which no more is known than its name and shape.
    pub fn named(name: impl Into<String>, shape: ModelShape) -> Self {
        Self {
            name: name.into(),
            shape,
            content_hash: String::new(),
            random_weights: false,
            training_steps: None,
            positions: None,
        }
    }
}

/// What traces cover, and what the same would have taken by generating.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// Plans that the traces speak about: windows x draftings x predictors.
    pub plans: usize,
    /// Positions traced, summed over windows and draftings.
    pub positions: usize,
    /// Seconds that tracing took, the plain texts included.
    pub trace_seconds: Seconds,
    /// Seconds that generating as many tokens under every one of these plans would take with the
    /// model as it runs: extrapolated from `sampled_plans` of them, evenly spread.
    pub generation_seconds: Seconds,
    /// Plans that were generated for this.
    pub sampled_plans: usize,
}

/// Why the end-to-end blocks stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stop {
    /// The ratio between the leading plans is known narrowly enough.
    Narrow,
    /// The time budget is spent.
    Budget,
    /// The asked number of blocks is measured.
    Blocks,
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
    #[serde(deserialize_with = "gamma_max")]
    pub gamma_max: Predictors,
    /// The context that choices are made for, in tokens.
    pub context: usize,
    /// All contexts that choices are made for, rising, that one among them; empty where it is the
    /// only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contexts: Vec<usize>,
    /// The memory that choices must fit, in bytes.
    #[serde(default)]
    pub memory_budget_bytes: Option<Bytes>,
    /// Probabilities of acceptance that were imposed instead of measured, one per predictor.
    #[serde(default)]
    pub imposed: Option<Vec<f64>>,
    /// How the tokens of texts were drawn; absent: the most likely ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Drawn>,
    /// Seed of every random choice.
    pub seed: u64,
    /// Start, RFC 3339 UTC.
    pub started: String,
    /// End, RFC 3339 UTC; null while the run is not finished.
    pub ended: Option<String>,
    /// Seconds spent measuring so far, over all resumptions.
    pub seconds_measuring: Seconds,
    /// The time that measuring was given, the longest of all that were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_budget_seconds: Option<Seconds>,
    /// The relative half-width of the headline that was asked for, the smallest of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
    /// CPU time of all threads together over that time.
    #[serde(default)]
    pub cpu_seconds: Option<Seconds>,
    /// Share of the processor time of the machine that other programs used meanwhile, where that is
    /// known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_programs: Option<f64>,
    /// Why the end-to-end blocks stopped.
    #[serde(default)]
    pub stopped: Option<Stop>,
    /// What the traces cover, beside what generating would have taken.
    #[serde(default)]
    pub coverage: Option<Coverage>,
    /// From how many starts of a process the end-to-end blocks come, and how much those differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<Starts>,
    /// Which part of a request this run is, if it was measured with `--shard`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Sharding>,
    /// The shards it was merged from, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged: Option<Merged>,
    /// What was asked for, stage by stage: a run goes on only with the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// The tables that were written with this header. None while they are not written, or where an
    /// older program wrote them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<TableHashes>,
    /// Advice given while measuring.
    pub warnings: Vec<String>,
}

impl RunHeader {
    /// The header of a run that begins: one machine and one model; what was asked for is filled in
    /// by whoever measures.
    pub fn new(machine: Machine, model: ModelIdentity) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            command: Vec::new(),
            program_version: String::new(),
            program_commit: None,
            machines: vec![machine],
            device: String::new(),
            driver: None,
            threads: 0,
            dtype: String::new(),
            widen: 1,
            model,
            gamma_max: Predictors::of::<1>(),
            context: 1,
            contexts: Vec::new(),
            memory_budget_bytes: None,
            imposed: None,
            sampling: None,
            seed: 0,
            started: String::new(),
            ended: None,
            seconds_measuring: Seconds::ZERO,
            time_budget_seconds: None,
            precision: None,
            cpu_seconds: None,
            other_programs: None,
            stopped: None,
            coverage: None,
            starts: None,
            shard: None,
            merged: None,
            asked: None,
            tables: None,
            warnings: Vec::new(),
        }
    }

    /// Where its times come from.
    pub fn times_from(&self) -> TimesFrom {
        TimesFrom::of_device(&self.device)
    }

    /// What the observations of this run must fit.
    pub fn bounds(&self) -> Bounds {
        Bounds { layers: self.model.shape.layers, machines: self.machines.len().max(1) }
    }
}

impl RunHeader {
    /// The share of the processor that other programs took, where that is more than a tenth: below
    /// that it is not worth a word.
    pub fn taken_by_others(&self) -> Option<Share> {
        self.other_programs.filter(|share| *share > 0.1).map(Share)
    }

    /// Whether such a `run.json` can be.
    ///
    /// # Errors
    /// Begins with the key.
    pub fn check(&self) -> Result<()> {
        self.model.shape.check()?;
        within("machines", self.machines.len(), &(0..=limits::SHARDS))?;
        self.machines.iter().try_for_each(Machine::check)?;
        within("threads", self.threads, &(0..=1 << 16))?;
        within("widen", self.widen, &(1..=64))?;
        within("context", self.context, &(1..=limits::TOKENS))?;
        within("contexts", self.contexts.len(), &(0..=CONTEXTS))?;
        let mut contexts = self.contexts.iter().copied();
        contexts.try_for_each(|one| within("contexts", one, &(1..=limits::TOKENS)).map(drop))?;
        within(
            "memory_budget_bytes",
            self.memory_budget_bytes.unwrap_or_default().0,
            &(0..=limits::BYTES),
        )?;
        let imposed = self.imposed.iter().flatten();
        imposed.copied().try_for_each(|rate| within("imposed", rate, &(0.0..=1.0)).map(drop))?;
        self.sampling.as_ref().map_or(Ok(()), Drawn::check)?;
        within("seconds_measuring", self.seconds_measuring.0, &limits::SPENT_SECONDS)?;
        let given = self.time_budget_seconds.unwrap_or_default().0;
        within("time_budget_seconds", given, &limits::SPENT_SECONDS)?;
        within("other_programs", self.other_programs.unwrap_or(0.0), &(0.0..=1.0))?;
        within("precision", self.precision.unwrap_or(0.0), &(0.0..=1.0))?;
        within("cpu_seconds", self.cpu_seconds.unwrap_or_default().0, &limits::SPENT_SECONDS)?;
        if let Some(coverage) = &self.coverage {
            within("trace_seconds", coverage.trace_seconds.0, &limits::SPENT_SECONDS)?;
            within("generation_seconds", coverage.generation_seconds.0, &limits::SPENT_SECONDS)?;
        }
        self.starts.as_ref().map_or(Ok(()), Starts::check)?;
        for shard in self.merged.iter().flat_map(|merged| &merged.shards) {
            within("machine", shard.machine, &(0..=limits::SHARDS))?;
            within("seconds_measuring", shard.seconds_measuring.0, &limits::SPENT_SECONDS)?;
        }
        Ok(())
    }
}
