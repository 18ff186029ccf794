//! Traces: accepted drafts at every position of a text, for one window and drafting.
//!
//! As JSONL, in the form of `acceptance.jsonl`; or as CSV, one position a row, positions of a text
//! in their order from 1 on:
//!
//! ```text
//! drafting,skip_start,skip_end,id,position,accepted
//! simultaneous,3,9,story-1,1,4
//! simultaneous,3,9,story-1,2,3
//! ```
//!
//! `accepted` at position `c` = drafts that an iteration would have had accepted when started with
//! `c` output tokens committed (the free token not counted). `drafting` may be left out where it is
//! given for the whole import, `task` and `prompt` (tokens of the prompt) always. Where `gamma_max`
//! is left out, a trace knows as many drafts as the most that any position of its window accepted.

use crate::error::Result;
use crate::import::rows::{malformed, not_empty, once};
use crate::import::setting::Setting;
use crate::plan::{Drafting, Predictors, Skip, SkipWindow};
use crate::records::trace::Trace;
use crate::store;
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Reads traces of one JSON object a line.
///
/// # Errors
/// A trace that contradicts itself, a window that does not fit, a text twice for one window.
pub fn parse(bytes: &[u8], file: &Path, setting: &Setting) -> Result<Vec<Trace>> {
    let mut rows: Vec<(u64, Trace)> = store::parse_jsonl(bytes, file)?;
    let mut seen = HashSet::new();
    for (line, trace) in &mut rows {
        trace.drafting = Some(setting.drafting(trace.drafting, file, *line)?);
    }
    for (line, trace) in &rows {
        let wrong = |e: crate::error::Error| malformed(file, *line, &e.to_string());
        trace.validate().map_err(wrong)?;
        if let Some(window) = trace.window() {
            window.skip_ratio(setting.layers).map_err(wrong)?;
        }
        let key = (trace.drafting, trace.skip(), &trace.id);
        if !seen.insert(key) {
            let message = format!("the text '{}' is traced twice for one window", trace.id);
            return Err(malformed(file, *line, &message));
        }
    }
    if rows.is_empty() {
        return Err(malformed(file, 1, "no traces; expected one JSON object a line"));
    }
    with_most(rows.into_iter().map(|(_, trace)| trace).collect())
}

/// Traces that do not say how many drafts were tried know as many as any of their window accepted.
fn with_most(mut traces: Vec<Trace>) -> Result<Vec<Trace>> {
    let mut most: HashMap<(Option<Drafting>, Option<Skip>), usize> = HashMap::new();
    for trace in &traces {
        let accepted = trace.accepted.iter().copied().max().unwrap_or(0) as usize;
        let most = most.entry((trace.drafting, trace.skip())).or_insert(1);
        *most = accepted.max(*most);
    }
    for trace in traces.iter_mut().filter(|trace| trace.gamma_max.is_none()) {
        let most = most.get(&(trace.drafting, trace.skip())).copied();
        trace.gamma_max = most.map(Predictors::new).transpose()?;
    }
    Ok(traces)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(default)]
    drafting: Option<Drafting>,
    skip_start: usize,
    skip_end: usize,
    id: String,
    #[serde(default)]
    task: Option<String>,
    #[serde(default)]
    prompt: Option<usize>,
    position: usize,
    accepted: u32,
}

/// Reads traces of one position a row.
///
/// # Errors
/// A missing column, a window that does not fit, a position twice or out of order.
pub(crate) fn parse_positions(bytes: &[u8], file: &Path, setting: &Setting) -> Result<Vec<Trace>> {
    let rows: Vec<(u64, Row)> = not_empty(store::parse_csv(bytes, file)?, file)?;
    let mut seen = HashSet::new();
    let mut places = HashMap::new();
    let mut traces: Vec<Trace> = Vec::new();
    for (line, row) in rows {
        let wrong = |e: crate::error::Error| malformed(file, line, &e.to_string());
        let window = SkipWindow::new(row.skip_start, row.skip_end).map_err(wrong)?;
        window.skip_ratio(setting.layers).map_err(wrong)?;
        let drafting = setting.drafting(row.drafting, file, line)?;
        let key = (drafting, window, row.id.clone());
        once(&mut seen, (key.clone(), row.position), file, line)?;
        let place = *places.entry(key).or_insert_with(|| {
            traces.push(begin(&row, drafting));
            traces.len() - 1
        });
        let accepted = &mut traces[place].accepted;
        let next = accepted.len() + 1;
        if row.position != next {
            let found = row.position;
            let message =
                format!("expected position {next} of this text and window, found {found}");
            return Err(malformed(file, line, &message));
        }
        accepted.push(row.accepted);
    }
    with_most(traces)
}

/// The trace of a text before its first position.
fn begin(row: &Row, drafting: Drafting) -> Trace {
    Trace {
        drafting: Some(drafting),
        skip_start: Some(row.skip_start),
        skip_end: Some(row.skip_end),
        skip_set: None,
        gamma_max: None,
        counted_drafts: None,
        id: row.id.clone(),
        task: row.task.clone().filter(|task| !task.is_empty()),
        prompt: row.prompt.unwrap_or(1),
        accepted: Vec::new(),
        confidence: None,
        accept_probability: None,
        ranks: None,
    }
}
