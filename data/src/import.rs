//! Measurements of other engines, read from files that people can make without this program.
//!
//! What a file is, its name and its first line say (`docs/IMPORT.md` has an example of each):
//!
//! | file | content |
//! |---|---|
//! | `*.csv` with `width,context,seconds` | times of passes, see [`pass_times`] |
//! | `*.json` with `fixed_seconds` | an affine law of pass times, see [`law`] |
//! | `*.jsonl` with `accepted` as a list | traces, in the form of `acceptance.jsonl`, see [`traces`] |
//! | `*.csv` with `position,accepted` | traces, one position a row, see [`traces`] |
//! | `*.csv` or `*.jsonl` with `attempted,accepted` | acceptance by draft position, see [`counts`] |
//! | what `llama-bench`, vLLM, SGLang and others write | see [`native`]; known by content |
//! | `run.json`, `latency.csv`, `throughput.csv`, `memory.csv`, `near_ties.csv` | what this program wrote, see [`run_tables`] |

pub mod counts;
pub mod drafts;
pub mod law;
pub mod native;
pub mod pass_times;
pub mod run_tables;
mod table;
pub mod traces;

use crate::plan::{Drafting, SkipWindow};
use crate::{Error, Observation, Result, store};
use std::collections::HashSet;
use std::hash::Hash;
use std::path::Path;

/// What the files do not say of themselves.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Layers of the model.
    pub layers: usize,
    /// Largest number of predictors looked at.
    pub gamma_max: usize,
    /// The context that choices are made for, in tokens.
    pub context: usize,
    /// How drafts were made, for files that do not say.
    pub drafting: Option<Drafting>,
    /// The layers that drafts left out, for files that do not say.
    pub skip: Option<SkipWindow>,
    /// The time of a draft pass over that of a full pass of the same width, where it was not timed.
    pub draft_share: Option<f64>,
    /// Tokens drafted per iteration, for files that do not say.
    pub draft_length: Option<usize>,
    /// Fields with the value that rows must have to be read.
    pub only: Vec<(String, String)>,
}

impl Setting {
    /// A setting that says nothing but what every import needs.
    pub const fn new(layers: usize, gamma_max: usize, context: usize) -> Self {
        Self {
            layers,
            gamma_max,
            context,
            drafting: None,
            skip: None,
            draft_share: None,
            draft_length: None,
            only: Vec::new(),
        }
    }

    /// The drafting that a row states, else the one given for the whole import. Nothing is assumed: the
    /// same counts give other answers by how drafts are made.
    fn drafting(&self, stated: Option<Drafting>, file: &Path, line: u64) -> Result<Drafting> {
        stated.or(self.drafting).ok_or_else(|| {
            let message = "how drafts were made is not said here; add it as 'drafting', or give --drafting \
                           sequential (one pass a draft: draft models, EAGLE, MTP, LayerSkip, SWIFT) or \
                           --drafting simultaneous (all drafts in one pass: S3D, Medusa)";
            malformed(file, line, message)
        })
    }

    /// The layers that drafts left out: those given, else the window in the middle whose kept layers are
    /// the given share of a full pass.
    fn window(&self, file: &Path, line: u64) -> Result<SkipWindow> {
        let share = self.draft_share.map(|share| {
            let kept = (share * self.layers as f64).round() as usize;
            SkipWindow::symmetric(self.layers, self.layers - kept.clamp(1, self.layers))
        });
        match (self.skip, share) {
            (Some(window), _) => Ok(window),
            (None, Some(window)) => window,
            (None, None) => Err(malformed(
                file,
                line,
                "what drafts left out is not said here; give --skip A..B (layers left out: LayerSkip, SWIFT, \
                 S3D), or --draft-share S (the time of a draft pass over that of a full pass: draft models, \
                 EAGLE, MTP)",
            )),
        }
    }

    /// The rows that have the wanted values.
    fn kept(&self, rows: Vec<table::Row>, file: &Path) -> Result<Vec<table::Row>> {
        let wanted = |row: &table::Row| {
            let has = |(name, value): &(String, String)| row.text(name).as_ref() == Some(value);
            self.only.iter().all(has)
        };
        let kept: Vec<table::Row> = rows.into_iter().filter(wanted).collect();
        match kept.is_empty() {
            true => Err(malformed(file, 1, "no row has the values of --only")),
            false => Ok(kept),
        }
    }
}

/// What a file says of how its numbers were made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The model's name.
    pub model: Option<String>,
    /// The machine or card.
    pub machine: Option<String>,
    /// Precision of the weights.
    pub dtype: Option<String>,
    /// Threads that computed.
    pub threads: Option<usize>,
    /// What the numbers rest on and leave open, one sentence each.
    pub notes: Vec<String>,
}

impl Facts {
    /// Adds what another file says; what is known already stays.
    pub fn add(&mut self, other: Self) {
        self.model = self.model.take().or(other.model);
        self.machine = self.machine.take().or(other.machine);
        self.dtype = self.dtype.take().or(other.dtype);
        self.threads = self.threads.or(other.threads);
        for note in other.notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }
}

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// What was observed.
    pub observations: Vec<Observation>,
    /// How.
    pub facts: Facts,
}

/// The form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `run.json`: no observation, but how a run was made.
    Header,
    /// An affine law of pass times.
    Law,
    /// Traces, one JSON object each.
    Traces,
    /// Traces, one position a row.
    Positions,
    /// Attempted and accepted drafts, as CSV.
    Counts,
    /// Attempted and accepted drafts, one JSON object a line.
    CountLines,
    /// Times of passes.
    Passes,
    /// `latency.csv` of a run.
    OwnLatency,
    /// `throughput.csv` of a run.
    OwnThroughput,
    /// `memory.csv` of a run.
    OwnMemory,
    /// `near_ties.csv` of a run.
    OwnNearTies,
    /// Pass times of llama.cpp's `llama-bench`.
    LlamaBench,
    /// Pass times of llama.cpp's `llama-batched-bench`.
    BatchedBench,
    /// Per-position acceptance in the log of vLLM.
    VllmLog,
    /// Per-position acceptance among the metrics of vLLM.
    VllmMetrics,
    /// Acceptance of single requests of vLLM.
    VllmRequests,
    /// Answers of Spec-Bench, EAGLE or SWIFT.
    AcceptLengths,
    /// Attempts of ik_llama.cpp's `llama-spec-bench`.
    IkSpecBench,
    /// SGLang's `bench_speculative`.
    SglangBench,
    /// LayerSkip's `sweep`.
    LayerSkipSweep,
}

/// What `bytes`, read from `file`, are. Files of other engines are known by their content, whatever
/// their name.
///
/// # Errors
/// A name or columns of no known form.
pub fn kind_of(bytes: &[u8], file: &Path) -> Result<Kind> {
    if file.file_name().is_some_and(|name| name == "run.json") {
        return Ok(Kind::Header);
    }
    if let Some(kind) = native::kind_of(bytes) {
        return Ok(kind);
    }
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("jsonl") if has_counts(bytes) => Ok(Kind::CountLines),
        Some("jsonl") => Ok(Kind::Traces),
        Some("json") => Ok(Kind::Law),
        Some("csv") => table_kind(bytes, file),
        _ => Err(malformed(file, 1, UNKNOWN)),
    }
}

const UNKNOWN: &str = "no known form; expected a file of llama-bench, llama-batched-bench, vLLM (log, metrics, \
                       requests), SGLang's bench_speculative, Spec-Bench, EAGLE, SWIFT, llama-spec-bench or \
                       LayerSkip's sweep as they write it, or *.csv, *.json or *.jsonl (docs/IMPORT.md)";

/// Whether the first object of a JSONL file counts attempts.
fn has_counts(bytes: &[u8]) -> bool {
    let first = bytes.split(|&b| b == b'\n').find(|line| !line.trim_ascii().is_empty());
    let value = first.and_then(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
    value.is_some_and(|value| value.get("attempted").is_some())
}

fn table_kind(bytes: &[u8], file: &Path) -> Result<Kind> {
    let columns = store::csv_columns(bytes, file)?;
    let has = |name: &str| columns.iter().any(|column| column == name);
    let kinds = [
        ("component", Kind::OwnLatency),
        ("iterations", Kind::OwnThroughput),
        ("item", Kind::OwnMemory),
        ("logit_gap", Kind::OwnNearTies),
        ("attempted", Kind::Counts),
        ("position", Kind::Positions),
        ("width", Kind::Passes),
    ];
    kinds.into_iter().find(|(name, _)| has(name)).map(|(_, kind)| kind).ok_or_else(|| {
        let found = columns.join(",");
        let expected = "width,context,seconds (pass times), skip_start,skip_end,predictor,attempted,\
                        accepted (acceptance) or skip_start,skip_end,id,position,accepted (traces)";
        malformed(file, 1, &format!("expected the columns {expected}; found {found}"))
    })
}

/// What `bytes` of this kind, read from `file`, hold.
///
/// # Errors
/// A missing column, a number that is not finite or below 0, two units, a cell twice: with the line.
pub fn parse(bytes: &[u8], kind: Kind, file: &Path, setting: &Setting) -> Result<Found> {
    match kind {
        Kind::LlamaBench => native::llama_bench::parse(bytes, file, setting),
        Kind::BatchedBench => native::batched_bench::parse(bytes, file, setting),
        Kind::VllmLog => native::vllm::parse_log(bytes, file, setting),
        Kind::VllmMetrics => native::vllm::parse_metrics(bytes, file, setting),
        Kind::VllmRequests => native::vllm::parse_requests(bytes, file, setting),
        Kind::AcceptLengths => native::accept_lengths::parse(bytes, file, setting),
        Kind::IkSpecBench => native::ik_spec_bench::parse(bytes, file, setting),
        Kind::SglangBench => native::means::parse_sglang(bytes, file, setting),
        Kind::LayerSkipSweep => native::means::parse_layerskip(bytes, file, setting),
        kind => parse_own(bytes, kind, file, setting)
            .map(|observations| Found { observations, facts: facts(kind) }),
    }
}

/// What this program's own forms say of themselves.
fn facts(kind: Kind) -> Facts {
    let given = "times follow an affine law that was given, not measured: intervals hold the spread of \
                 texts alone";
    let notes = if kind == Kind::Law { vec![given.to_string()] } else { Vec::new() };
    Facts { notes, ..Facts::default() }
}

/// The observations in a file of this program's own forms.
fn parse_own(bytes: &[u8], kind: Kind, file: &Path, setting: &Setting) -> Result<Vec<Observation>> {
    Ok(match kind {
        Kind::Law => collect(law::parse(bytes, file, setting)?, Observation::Latency),
        Kind::Traces => collect(traces::parse(bytes, file, setting)?, Observation::Trace),
        Kind::Positions => {
            collect(traces::parse_positions(bytes, file, setting)?, Observation::Trace)
        }
        Kind::Counts => {
            let rows = store::parse_csv(bytes, file)?;
            collect(counts::traces(rows, file, setting)?, Observation::Trace)
        }
        Kind::CountLines => {
            let rows = store::parse_jsonl(bytes, file)?;
            collect(counts::traces(rows, file, setting)?, Observation::Trace)
        }
        Kind::Passes => collect(pass_times::parse(bytes, file, setting)?, Observation::Latency),
        Kind::OwnLatency => collect(run_tables::latency(bytes, file)?, Observation::Latency),
        Kind::OwnThroughput => {
            collect(run_tables::throughput(bytes, file)?, Observation::Throughput)
        }
        Kind::OwnMemory => collect(run_tables::memory(bytes, file)?, Observation::Memory),
        Kind::OwnNearTies => collect(run_tables::near_ties(bytes, file)?, Observation::NearTie),
        // A header holds no observation; the other forms are read above.
        _ => Vec::new(),
    })
}

fn collect<T>(rows: Vec<T>, kind: impl Fn(T) -> Observation) -> Vec<Observation> {
    rows.into_iter().map(kind).collect()
}

/// An error at a line of a file.
fn malformed(file: &Path, line: u64, message: &str) -> Error {
    Error::malformed_at(file, line, message)
}

/// Rows, of which there must be some.
fn not_empty<T>(rows: Vec<T>, file: &Path) -> Result<Vec<T>> {
    match rows.is_empty() {
        true => Err(malformed(file, 1, "no rows below the header")),
        false => Ok(rows),
    }
}

/// A column that must have a value on every line.
fn required<T>(value: Option<T>, column: &str, file: &Path, line: u64) -> Result<T> {
    value
        .ok_or_else(|| malformed(file, line, &format!("the column '{column}' is missing or empty")))
}

/// A time above 0.
fn positive(seconds: f64, file: &Path, line: u64) -> Result<f64> {
    match seconds.is_finite() && seconds > 0.0 {
        true => Ok(seconds),
        false => Err(malformed(file, line, &format!("expected a time above 0, found {seconds}"))),
    }
}

/// Refuses the second appearance of a cell.
fn once<K: Hash + Eq>(seen: &mut HashSet<K>, key: K, file: &Path, line: u64) -> Result<()> {
    match seen.insert(key) {
        true => Ok(()),
        false => Err(malformed(
            file,
            line,
            "this cell stands in the file already; number repeated measurements in a column 'block'",
        )),
    }
}

#[cfg(test)]
mod tests;
