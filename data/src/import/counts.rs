//! Acceptance by draft position: what serving engines log.
//!
//! ```text
//! drafting,skip_start,skip_end,id,predictor,attempted,accepted
//! simultaneous,3,9,chat,1,1000,890
//! simultaneous,3,9,chat,2,890,730
//! ```
//!
//! or as JSONL, one object of the same keys a line. `drafting` may be left out where it is given
//! for the whole import, `id` (which text or workload; the file's name when absent) always.
//! Intervals resample ids.
//!
//! Draft `i` is attempted where drafts `1..i` were accepted. Counts, not rates: a rate without its
//! count has no interval. The counts become one trace per window and id whose walk gives them back
//! exactly: iterations of each accepted length, spread evenly. Between the starts of iterations a
//! trace is filled in as if the draft failed at the same token wherever it started;
//! `counted_drafts` marks it, so that numbers of predictors below the one that was logged are not
//! taken for known.

use crate::error::{Error, Result};
use crate::import::rows::{malformed, not_empty, once};
use crate::import::setting::Setting;
use crate::plan::{Drafting, Predictors, SkipWindow};
use crate::records::trace::{AcceptanceCounts, Trace};
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    #[serde(default)]
    drafting: Option<Drafting>,
    skip_start: usize,
    skip_end: usize,
    #[serde(default)]
    id: Option<String>,
    predictor: usize,
    attempted: u64,
    accepted: u64,
}

/// Tokens beyond which counts are not written out as a trace: far more than an interval needs.
const MOST_TOKENS: u64 = 1_000_000;

/// Counts of one window and text by predictor, with the line of the first.
type Windows = BTreeMap<(Drafting, SkipWindow, String), (u64, AcceptanceCounts)>;

/// Writes counts out as one trace per window, drafting and text.
///
/// # Errors
/// A missing column, a window that does not fit, predictors that do not follow each other, more
/// accepted than attempted, or more attempted than accepted before.
pub(super) fn traces(rows: Vec<(u64, Row)>, file: &Path, setting: &Setting) -> Result<Vec<Trace>> {
    let mut seen = HashSet::new();
    let mut windows = Windows::new();
    for (line, row) in not_empty(rows, file)? {
        let wrong = |e: Error| malformed(file, line, &e.to_string());
        let window = SkipWindow::new(row.skip_start, row.skip_end).map_err(wrong)?;
        window.skip_ratio(setting.layers).map_err(wrong)?;
        let drafting = setting.drafting(row.drafting, file, line)?;
        let id = row.id.clone().unwrap_or_else(|| store_name(file));
        once(&mut seen, (drafting, window, id.clone(), row.predictor), file, line)?;
        let fresh = || (line, AcceptanceCounts::default());
        let (_, counts) = windows.entry((drafting, window, id)).or_insert_with(fresh);
        check(&row, counts).map_err(|message| malformed(file, line, &message))?;
        counts.attempted.push(row.attempted);
        counts.accepted.push(row.accepted);
    }
    windows
        .into_iter()
        .map(|((drafting, window, id), (line, counts))| {
            trace_of(&id, drafting, window, counts)
                .map_err(|message| malformed(file, line, &message))
        })
        .collect()
}

/// Counts of one workload written out as a trace. Counts of very many tokens are scaled down:
/// intervals resample workloads, not tokens.
///
/// # Errors
/// In words: too many predictors, no iteration.
pub(super) fn trace_of(
    id: &str,
    drafting: Drafting,
    window: SkipWindow,
    mut counts: AcceptanceCounts,
) -> std::result::Result<Trace, String> {
    let predictors = Predictors::new(counts.attempted.len()).map_err(|e| e.to_string())?;
    let add = |sum: u64, count: &u64| sum.saturating_add(*count);
    let tokens = counts.accepted.iter().fold(counts.attempted[0], add);
    let scale = tokens.div_ceil(MOST_TOKENS).max(1);
    if scale > 1 {
        counts.attempted.iter_mut().chain(&mut counts.accepted).for_each(|count| *count /= scale);
    }
    let accepted = walk(&counts);
    match accepted.is_empty() {
        true => Err("no iterations: predictor 1 was never attempted".into()),
        false => Ok(trace(id.into(), drafting, window, predictors, accepted)),
    }
}

/// Whether a row follows from those before it.
fn check(row: &Row, before: &AcceptanceCounts) -> std::result::Result<(), String> {
    let next = before.attempted.len() + 1;
    Predictors::new(next).map_err(|e| e.to_string())?;
    if row.predictor != next {
        return Err(format!("expected predictor {next} of this window, found {}", row.predictor));
    }
    if row.accepted > row.attempted {
        return Err(format!("{} accepted of {} attempted", row.accepted, row.attempted));
    }
    // Every iteration commits its accepted drafts and one token more.
    let tokens = before.accepted.iter().sum::<u64>() + before.attempted.first().unwrap_or(&0);
    if row.attempted > MOST_TOKENS || tokens + row.accepted > MOST_TOKENS {
        return Err(format!(
            "counts of more than {MOST_TOKENS} tokens; divide all counts of this window by the \
             same number"
        ));
    }
    match before.accepted.last() {
        Some(&right) if right != row.attempted => Err(format!(
            "predictor {next} was attempted {} times, but predictor {} was right {right} times",
            row.attempted,
            next - 1
        )),
        _ => Ok(()),
    }
}

/// Accepted drafts by position: a walk over it with all predictors gives `counts` back.
fn walk(counts: &AcceptanceCounts) -> Vec<u32> {
    let lengths = counts.attempted.len();
    let exactly = |length: usize| match counts.attempted.get(length) {
        Some(attempted) => attempted - counts.accepted[length],
        None => counts.accepted[lengths - 1],
    };
    let wanted: Vec<u64> = (0..=lengths).map(exactly).collect();
    let iterations: u64 = wanted.iter().sum();
    let mut made = vec![0u64; wanted.len()];
    let mut accepted = Vec::new();
    for turn in 1..=iterations {
        // The length that is farthest behind its share: iterations of each length evenly spread.
        let behind = |&l: &usize| (wanted[l] * turn) as i128 - (made[l] * iterations) as i128;
        let length = (0..wanted.len()).filter(|&l| made[l] < wanted[l]).max_by_key(behind);
        let Some(length) = length else { break };
        made[length] += 1;
        accepted.extend((0..=length as u32).rev());
    }
    if !accepted.is_empty() {
        accepted.push(0); // the last entry of a trace is never used by a walk
    }
    accepted
}

fn store_name(file: &Path) -> String {
    file.file_stem().map_or_else(|| "counts".into(), |name| name.to_string_lossy().into_owned())
}

fn trace(
    id: String,
    drafting: Drafting,
    window: SkipWindow,
    predictors: Predictors,
    accepted: Vec<u32>,
) -> Trace {
    Trace {
        drafting: Some(drafting),
        skip_start: Some(window.start()),
        skip_end: Some(window.end()),
        skip_set: None,
        gamma_max: Some(predictors),
        counted_drafts: Some(predictors),
        id,
        task: None,
        prompt: 1,
        accepted,
        confidence: None,
        accept_probability: None,
        ranks: None,
    }
}
