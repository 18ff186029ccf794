//! Acceptance by predictor, as CSV: what serving engines log.
//!
//! ```text
//! drafting,skip_start,skip_end,predictor,attempted,accepted
//! simultaneous,3,9,1,1000,890
//! simultaneous,3,9,2,890,730
//! ```
//!
//! Draft `i` is attempted where drafts `1..i` were accepted. Counts, not rates: a rate without its
//! count has no interval. The counts become one trace per window whose walk gives them back exactly:
//! iterations of each accepted length, spread evenly. Between the starts of iterations a trace is
//! filled in as if the draft failed at the same token wherever it started, which is what greedy
//! drafting mostly does; numbers of predictors below the one that was logged rest on that.

use super::{Outside, malformed, once};
use crate::Result;
use s3d_data::{AcceptanceCounts, Drafting, SkipWindow, Trace, store};
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(default)]
    drafting: Option<Drafting>,
    skip_start: usize,
    skip_end: usize,
    predictor: usize,
    attempted: u64,
    accepted: u64,
}

/// Counts of one window by predictor, with the line of the first.
type Windows = BTreeMap<(Drafting, SkipWindow), (u64, AcceptanceCounts)>;

/// Reads counts and writes them out as one trace per window and drafting.
///
/// # Errors
/// A missing column, a window that does not fit, predictors that do not follow each other, more
/// accepted than attempted, or more attempted than accepted before.
pub fn read(file: &Path, outside: &Outside) -> Result<Vec<Trace>> {
    let rows: Vec<(u64, Row)> = store::load_csv_lines(file)?;
    let mut seen = HashSet::new();
    let mut windows = Windows::new();
    for (line, row) in rows {
        let wrong = |e: s3d_data::Error| malformed(file, line, &e.to_string());
        let window = SkipWindow::new(row.skip_start, row.skip_end).map_err(wrong)?;
        window.skip_ratio(outside.shape.layers).map_err(wrong)?;
        let drafting = row.drafting.unwrap_or(Drafting::Simultaneous);
        once(&mut seen, (drafting, window, row.predictor), file, line)?;
        let fresh = || (line, AcceptanceCounts::default());
        let (_, counts) = windows.entry((drafting, window)).or_insert_with(fresh);
        check(&row, counts).map_err(|message| malformed(file, line, &message))?;
        counts.attempted.push(row.attempted);
        counts.accepted.push(row.accepted);
    }
    if windows.is_empty() {
        return Err(malformed(file, 1, "no rows below the header"));
    }
    windows
        .into_iter()
        .map(|((drafting, window), (line, counts))| {
            let accepted = walk(&counts);
            let id = store_name(file);
            let empty = "no iterations: predictor 1 was never attempted";
            (!accepted.is_empty())
                .then(|| trace(id, drafting, window, counts.attempted.len(), accepted))
                .ok_or_else(|| malformed(file, line, empty))
        })
        .collect()
}

/// Whether a row follows from those before it.
fn check(row: &Row, before: &AcceptanceCounts) -> std::result::Result<(), String> {
    let next = before.attempted.len() + 1;
    if row.predictor != next {
        return Err(format!("expected predictor {next} of this window, found {}", row.predictor));
    }
    if row.accepted > row.attempted {
        return Err(format!("{} accepted of {} attempted", row.accepted, row.attempted));
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
    gamma_max: usize,
    accepted: Vec<u32>,
) -> Trace {
    Trace {
        drafting: Some(drafting),
        skip_start: Some(window.start()),
        skip_end: Some(window.end()),
        skip_set: None,
        gamma_max: Some(gamma_max),
        id,
        task: None,
        prompt: 1,
        accepted,
        confidence: None,
    }
}
