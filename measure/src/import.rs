//! Measurements of other engines, into a run directory: `fit` and `optimize` then work without any
//! model.
//!
//! What a file is, its name and its first line say:
//!
//! | file | content |
//! |---|---|
//! | `*.csv` with `width,context,seconds` | times of passes, see [`passes`] |
//! | `*.json` with `fixed_seconds` | an affine law of pass times, see [`law`] |
//! | `*.jsonl` | traces, in the form of `acceptance.jsonl` |
//! | `*.csv` with `attempted,accepted` | acceptance by predictor, see [`counts`] |
//! | `run.json`, `latency.csv`, `throughput.csv`, `memory.csv` | what this program wrote |

pub mod counts;
pub mod law;
pub mod passes;

use crate::request::Provenance;
use crate::{Error, Result, clock};
use s3d_data::{
    Error as DataError, Machine, ModelIdentity, ModelShape, Observation, Observations, Run, RunDir,
    RunHeader, SCHEMA_VERSION, store,
};
use std::collections::HashSet;
use std::hash::Hash;
use std::path::{Path, PathBuf};

/// What the files do not say.
#[derive(Debug, Clone, PartialEq)]
pub struct Outside {
    /// The model's name.
    pub model: String,
    /// Its shape; the number of layers must be known, the rest may be 0.
    pub shape: ModelShape,
    /// Name of the machine or card.
    pub machine: String,
    /// Largest number of predictors looked at.
    pub gamma_max: usize,
    /// The context that choices are made for, in tokens.
    pub context: usize,
    /// How the import was made.
    pub provenance: Provenance,
}

/// Reads `files` and writes a run directory at `out`. Nothing is written when one of them is wrong.
///
/// # Errors
/// A file of no known form; a missing column, a number that is not finite or below 0, two units, a
/// cell twice: with path and line. A directory that holds a run already.
pub fn import(files: &[PathBuf], outside: &Outside, out: &RunDir) -> Result<Run> {
    if out.header().exists() {
        let path = out.root().display();
        return Err(Error::invalid(format!("{path} holds a run already; give another --out")));
    }
    let mut header = None;
    let mut all = Vec::new();
    for file in files {
        match kind_of(file)? {
            Kind::Header => header = Some(store::load_versioned(file, SCHEMA_VERSION)?),
            kind => all.extend(read(file, kind, outside)?),
        }
    }
    let header = header.unwrap_or_else(|| header_of(outside));
    out.save_header(&header)?;
    s3d_data::Journal::open(&out.journal())?.0.append(&all)?;
    let observations = Observations::from_journal(all);
    out.save_tables(&observations)?;
    Ok(Run { header, observations })
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Header,
    Law,
    Traces,
    Counts,
    Passes,
    OwnLatency,
    OwnThroughput,
    OwnMemory,
}

fn kind_of(file: &Path) -> Result<Kind> {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("jsonl") => Ok(Kind::Traces),
        Some("json") if file.file_name().is_some_and(|name| name == "run.json") => Ok(Kind::Header),
        Some("json") => Ok(Kind::Law),
        Some("csv") => table_kind(file),
        _ => Err(malformed(file, 1, "expected a file named *.csv, *.json or *.jsonl")),
    }
}

fn table_kind(file: &Path) -> Result<Kind> {
    let columns = store::csv_columns(file)?;
    let has = |name: &str| columns.iter().any(|column| column == name);
    let kinds = [
        ("component", Kind::OwnLatency),
        ("iterations", Kind::OwnThroughput),
        ("item", Kind::OwnMemory),
        ("attempted", Kind::Counts),
        ("width", Kind::Passes),
    ];
    kinds.into_iter().find(|(name, _)| has(name)).map(|(_, kind)| kind).ok_or_else(|| {
        let found = columns.join(",");
        let expected =
            "width,context,seconds or drafting,skip_start,skip_end,predictor,attempted,accepted";
        malformed(file, 1, &format!("expected the columns {expected}; found {found}"))
    })
}

fn read(file: &Path, kind: Kind, outside: &Outside) -> Result<Vec<Observation>> {
    Ok(match kind {
        Kind::Header => Vec::new(),
        Kind::Law => collect(law::read(file, outside)?, Observation::Latency),
        Kind::Traces => collect(store::load_traces(file)?, Observation::Trace),
        Kind::Counts => collect(counts::read(file, outside)?, Observation::Trace),
        Kind::Passes => collect(passes::read(file, outside)?, Observation::Latency),
        Kind::OwnLatency => collect(passes::read_own(file)?, Observation::Latency),
        Kind::OwnThroughput => collect(store::load_csv(file)?, Observation::Throughput),
        Kind::OwnMemory => collect(store::load_csv(file)?, Observation::Memory),
    })
}

fn collect<T>(rows: Vec<T>, kind: impl Fn(T) -> Observation) -> Vec<Observation> {
    rows.into_iter().map(kind).collect()
}

fn header_of(outside: &Outside) -> RunHeader {
    let how = outside.provenance.clone();
    let now = clock::utc_now();
    let machine = Machine {
        model: outside.machine.clone(),
        cores: 0,
        memory_bytes: 0,
        caches: Vec::new(),
        features: String::new(),
        system: "imported".into(),
        governor: None,
        read_bytes_per_s: None,
        flops_per_s: None,
        load: None,
    };
    let model = ModelIdentity {
        name: outside.model.clone(),
        shape: outside.shape.clone(),
        content_hash: String::new(),
        random_weights: false,
    };
    RunHeader {
        schema_version: SCHEMA_VERSION,
        command: how.command,
        program_version: how.program_version,
        program_commit: how.program_commit,
        machines: vec![machine],
        device: how.device,
        driver: how.driver,
        threads: 0,
        dtype: how.dtype,
        widen: 1,
        model,
        gamma_max: outside.gamma_max,
        context: outside.context,
        memory_budget_bytes: how.memory_budget_bytes,
        imposed: None,
        seed: 0,
        started: now.clone(),
        ended: Some(now),
        seconds_measuring: 0.0,
        warnings: Vec::new(),
    }
}

/// An error at a line of a file.
fn malformed(file: &Path, line: u64, message: &str) -> Error {
    Error::Data(DataError::malformed_at(file, line, message))
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
