//! Measurements of other engines, read from files that people can make without this program.
//!
//! What a file is, its name and its first line say (`docs/IMPORT.md` has an example of each):
//!
//! | file | content |
//! |---|---|
//! | `*.csv` with `width,context,seconds` | times of passes, see [`passes`] |
//! | `*.json` with `fixed_seconds` | an affine law of pass times, see [`law`] |
//! | `*.jsonl` with `accepted` as a list | traces, in the form of `acceptance.jsonl`, see [`traces`] |
//! | `*.csv` with `position,accepted` | traces, one position a row, see [`traces`] |
//! | `*.csv` or `*.jsonl` with `attempted,accepted` | acceptance by draft position, see [`counts`] |
//! | `run.json`, `latency.csv`, `throughput.csv`, `memory.csv`, `near_ties.csv` | what this program wrote, see [`own`] |

pub mod counts;
pub mod law;
pub mod own;
pub mod passes;
pub mod traces;

use crate::{Error, Observation, Result, store};
use std::collections::HashSet;
use std::hash::Hash;
use std::path::Path;

/// What the files do not say of themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Layers of the model.
    pub layers: usize,
    /// Largest number of predictors looked at.
    pub gamma_max: usize,
    /// The context that choices are made for, in tokens.
    pub context: usize,
}

/// What a file holds.
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
}

/// What `bytes`, read from `file`, are.
///
/// # Errors
/// A name or columns of no known form.
pub fn kind_of(bytes: &[u8], file: &Path) -> Result<Kind> {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("jsonl") if has_counts(bytes) => Ok(Kind::CountLines),
        Some("jsonl") => Ok(Kind::Traces),
        Some("json") if file.file_name().is_some_and(|name| name == "run.json") => Ok(Kind::Header),
        Some("json") => Ok(Kind::Law),
        Some("csv") => table_kind(bytes, file),
        _ => Err(malformed(file, 1, "expected a file named *.csv, *.json or *.jsonl")),
    }
}

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

/// The observations in `bytes` of this kind, read from `file`.
///
/// # Errors
/// A missing column, a number that is not finite or below 0, two units, a cell twice: with the line.
pub fn parse(bytes: &[u8], kind: Kind, file: &Path, setting: &Setting) -> Result<Vec<Observation>> {
    Ok(match kind {
        Kind::Header => Vec::new(),
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
        Kind::Passes => collect(passes::parse(bytes, file, setting)?, Observation::Latency),
        Kind::OwnLatency => collect(own::latency(bytes, file)?, Observation::Latency),
        Kind::OwnThroughput => collect(own::throughput(bytes, file)?, Observation::Throughput),
        Kind::OwnMemory => collect(own::memory(bytes, file)?, Observation::Memory),
        Kind::OwnNearTies => collect(own::near_ties(bytes, file)?, Observation::NearTie),
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
