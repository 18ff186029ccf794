//! The tables of a run directory, as this program wrote them, checked like any file from outside.

use crate::error::Result;
use crate::import::rows::{malformed, once, positive};
use crate::records::latency::{Component, LatencySample};
use crate::records::memory::MemoryRecord;
use crate::records::near_tie::NearTie;
use crate::records::throughput::ThroughputSample;
use crate::store;
use std::collections::HashSet;
use std::path::Path;

/// Reads a `latency.csv`.
///
/// # Errors
/// A row of another form, a whole pass that took no time, the same observation twice.
pub fn latency(bytes: &[u8], file: &Path) -> Result<Vec<LatencySample>> {
    let rows: Vec<(u64, LatencySample)> = store::parse_csv(bytes, file)?;
    let mut seen = HashSet::new();
    for (line, s) in &rows {
        // A component may be too short for the clock, and the rest a difference: not a whole pass.
        if s.component >= Component::FullPass {
            positive(s.seconds.0, file, *line)?;
        } else if !s.seconds.0.is_finite() {
            return Err(malformed(file, *line, "expected a finite time"));
        }
        not_negative(s.cpu_seconds.unwrap_or_default().0, "cpu_seconds", file, *line)?;
        let what = (s.machine, s.component, s.layer, s.plan.clone(), s.width, s.context, s.batch);
        once(&mut seen, (what, s.block, s.order), file, *line)?;
    }
    Ok(without_lines(rows))
}

/// Reads a `throughput.csv`.
///
/// # Errors
/// A row of another form, a time that is not finite or below 0, a generation that took no time or
/// less than its parts, the same observation twice.
pub fn throughput(bytes: &[u8], file: &Path) -> Result<Vec<ThroughputSample>> {
    let rows: Vec<(u64, ThroughputSample)> = store::parse_csv(bytes, file)?;
    let mut seen = HashSet::new();
    for (line, s) in &rows {
        positive(s.seconds.0, file, *line)?;
        let parts = [
            ("prompt_seconds", s.prompt_seconds.0),
            ("draft_seconds", s.draft_seconds.0),
            ("verify_seconds", s.verify_seconds.0),
            ("cpu_seconds", s.cpu_seconds.unwrap_or_default().0),
        ];
        for (column, value) in parts {
            not_negative(value, column, file, *line)?;
        }
        if s.tokens == 0 {
            return Err(malformed(file, *line, "expected at least one token, found 0"));
        }
        once(&mut seen, (s.machine, s.batch, s.block, s.order), file, *line)?;
    }
    Ok(without_lines(rows))
}

/// Reads a `memory.csv`.
///
/// # Errors
/// A row of another form, the same item twice.
pub fn memory(bytes: &[u8], file: &Path) -> Result<Vec<MemoryRecord>> {
    let rows: Vec<(u64, MemoryRecord)> = store::parse_csv(bytes, file)?;
    let mut seen = HashSet::new();
    for (line, r) in &rows {
        once(&mut seen, (r.item, r.context, r.width, r.origin), file, *line)?;
    }
    Ok(without_lines(rows))
}

/// Reads a `near_ties.csv`.
///
/// # Errors
/// A row of another form, a gap that is not finite.
pub fn near_ties(bytes: &[u8], file: &Path) -> Result<Vec<NearTie>> {
    let rows: Vec<(u64, NearTie)> = store::parse_csv(bytes, file)?;
    for (line, tie) in &rows {
        not_negative(tie.logit_gap, "logit_gap", file, *line)?;
    }
    Ok(without_lines(rows))
}

fn without_lines<T>(rows: Vec<(u64, T)>) -> Vec<T> {
    rows.into_iter().map(|(_, row)| row).collect()
}

fn not_negative(value: f64, column: &str, file: &Path, line: u64) -> Result<()> {
    match value.is_finite() && value >= 0.0 {
        true => Ok(()),
        false => {
            let message = format!("expected '{column}' at or above 0, found {value}");
            Err(malformed(file, line, &message))
        }
    }
}
