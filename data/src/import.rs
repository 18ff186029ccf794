//! Measurements of other engines, read from files that people can make without this program.
//!
//! What a file is, its name and its first line say (`docs/IMPORT.md` has an example of each):
//!
//! | file | content |
//! |---|---|
//! | `*.csv` with `width,context,seconds` | times of passes, see [`pass_times`] |
//! | `*.json` with `fixed_seconds` | an affine law of pass times, see [`law`] |
//! | `*.jsonl` with `accepted` as a list | traces as in `acceptance.jsonl`, see [`traces`] |
//! | `*.csv` with `position,accepted` | traces, one position a row, see [`traces`] |
//! | `*.csv`, `*.jsonl` with `attempted,accepted` | acceptance by position, see [`counts`] |
//! | what `llama-bench`, vLLM, SGLang and others write | see [`native`]; known by content |
//! | `run.json` and the tables of a run | what this program wrote, see [`run_tables`] |

pub mod counts;
pub mod drafts;
mod kind;
pub mod law;
pub mod native;
mod outline;
pub mod pass_times;
mod rows;
pub mod run_tables;
mod setting;
mod table;
pub mod traces;

pub use kind::Kind;
pub use setting::{Facts, Found, Setting};

use crate::error::Result;
use crate::records::observation::Observation;
use crate::store;
use rows::malformed;
use std::path::Path;

/// What `bytes`, read from `file`, are. Files of other engines are known by their content, whatever
/// their name.
///
/// # Errors
/// A name or columns of no known form.
pub fn kind_of(bytes: &[u8], file: &Path) -> Result<Kind> {
    if file.file_name().is_some_and(|name| name == "run.json") {
        return Ok(Kind::Header);
    }
    let end = file.extension().and_then(|end| end.to_str());
    if bytes.len() <= NATIVE_BYTES_MAX {
        if let Some(kind) = native::kind_of(bytes) {
            return Ok(kind);
        }
    } else if !matches!(end, Some("jsonl" | "csv")) {
        return Err(malformed(file, 1, "expected at most 8 MiB of another engine, found more"));
    }
    match end {
        Some("jsonl") if has_counts(bytes) => Ok(Kind::CountLines),
        Some("jsonl") => Ok(Kind::Traces),
        Some("json") => Ok(Kind::Law),
        Some("csv") => table_kind(bytes, file),
        _ => Err(malformed(file, 1, UNKNOWN)),
    }
}

/// Bytes of a file that another engine wrote: it is taken apart as a whole.
const NATIVE_BYTES_MAX: usize = 8 << 20;

const UNKNOWN: &str = "no known form; expected a file of llama-bench, llama-batched-bench, vLLM \
                       (log, metrics, requests), SGLang's bench_speculative, Spec-Bench, EAGLE, \
                       SWIFT, llama-spec-bench or LayerSkip's sweep as they write it, or *.csv, \
                       *.json or *.jsonl (docs/IMPORT.md)";

/// Whether the first object of a JSONL file counts attempts.
fn has_counts(bytes: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Counts {
        attempted: Option<serde::de::IgnoredAny>,
    }
    let first = bytes.split(|&b| b == b'\n').find(|line| !line.trim_ascii().is_empty());
    let first = first.and_then(|line| serde_json::from_slice::<Counts>(line).ok());
    first.is_some_and(|first| first.attempted.is_some())
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
        let expected = "width,context,seconds (pass times), \
                        skip_start,skip_end,predictor,attempted,accepted (acceptance) or \
                        skip_start,skip_end,id,position,accepted (traces)";
        malformed(file, 1, &format!("expected the columns {expected}; found {found}"))
    })
}

/// What `bytes` of this kind, read from `file`, hold.
///
/// # Errors
/// A missing column, a number that is not finite or below 0, two units, a cell twice: with the
/// line.
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
    let given = "times follow an affine law that was given, not measured: intervals hold the \
                 spread of texts alone";
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

#[cfg(test)]
mod tests;
