//! Files of traces: `acceptance.jsonl`, and those that people bring.

use crate::error::{Error, Result};
use crate::records::trace::Trace;
use crate::store;
use std::path::Path;

/// Reads traces and checks each.
///
/// # Errors
/// As [`crate::store::load_jsonl`]; a trace that contradicts itself; a missing file or one without
/// any.
pub fn load_traces(path: &Path) -> Result<Vec<Trace>> {
    let traces = checked(path)?;
    if traces.is_empty() {
        return Err(Error::malformed(path, "no traces; expected one JSON object a line"));
    }
    Ok(traces)
}

/// Like [`load_traces`], but an absent or empty file has none: a run that traced nothing.
///
/// # Errors
/// As [`crate::store::load_jsonl`]; a trace that contradicts itself.
pub fn load_traces_or_empty(path: &Path) -> Result<Vec<Trace>> {
    if path.exists() { checked(path) } else { Ok(Vec::new()) }
}

fn checked(path: &Path) -> Result<Vec<Trace>> {
    store::parse_jsonl_checked(store::open(path)?, path, |trace: &Trace| trace.validate())
}
