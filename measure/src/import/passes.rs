//! Times of passes, as CSV.
//!
//! ```text
//! pass,skip,width,context,block,seconds
//! full,,1,256,0,0.0061
//! full,,5,256,0,0.0070
//! draft,3..9,4,256,0,0.0038
//! ```
//!
//! `pass` is `full` (the default) or `draft`; `skip` is the window that a draft pass leaves out;
//! `width` counts the tokens fed, `context` those committed, the one being fed counted in. Repeated
//! measurements of a cell are numbered by `block`. Instead of `seconds` the column may be
//! `milliseconds` or `microseconds`: one unit a file.

use super::{Outside, malformed, once, positive, required};
use crate::Result;
use s3d_data::{Component, Drafting, LatencySample, Plan, Predictors, Seconds, SkipWindow, store};
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use std::path::Path;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    pass: Option<String>,
    skip: Option<String>,
    width: Option<usize>,
    context: Option<usize>,
    block: Option<usize>,
    seconds: Option<f64>,
    milliseconds: Option<f64>,
    microseconds: Option<f64>,
}

impl Row {
    /// The time with the name of its unit.
    fn time(&self, file: &Path, line: u64) -> Result<(f64, &'static str)> {
        let given: Vec<_> =
            [(self.seconds, "s"), (self.milliseconds, "ms"), (self.microseconds, "us")]
                .into_iter()
                .filter_map(|(value, unit)| Some((value?, unit)))
                .collect();
        match given[..] {
            [(value, unit)] => Ok((positive(value, file, line)?, unit)),
            [] => required(None, "seconds", file, line),
            _ => Err(malformed(file, line, "two units on one line; expected one column of times")),
        }
    }

    fn plan(
        &self,
        width: usize,
        outside: &Outside,
        file: &Path,
        line: u64,
    ) -> Result<Option<Plan>> {
        match self.pass.as_deref() {
            None | Some("full" | "") => Ok((width == 1).then_some(Plan::Plain)),
            Some("draft") => {
                let text = required(self.skip.as_deref(), "skip", file, line)?;
                let wrong = |e: s3d_data::Error| malformed(file, line, &e.to_string());
                let window: SkipWindow = text.parse().map_err(wrong)?;
                window.skip_ratio(outside.shape.layers).map_err(wrong)?;
                let predictors = Predictors::new(width).map_err(wrong)?;
                Ok(Some(Plan::window(Drafting::Simultaneous, window, predictors)))
            }
            Some(other) => {
                let message = format!("expected pass 'full' or 'draft', found '{other}'");
                Err(malformed(file, line, &message))
            }
        }
    }
}

/// Reads pass times.
///
/// # Errors
/// A missing column, a time that is no finite number above 0, two units, a cell twice.
pub fn read(file: &Path, outside: &Outside) -> Result<Vec<LatencySample>> {
    let rows: Vec<(u64, Row)> = store::load_csv_lines(file)?;
    let mut seen = HashSet::new();
    let mut units = HashMap::new();
    let mut samples = Vec::new();
    for (line, row) in rows {
        let (time, unit) = row.time(file, line)?;
        units.insert(unit, line);
        if units.len() > 1 {
            return Err(malformed(file, line, "another unit than on the lines before"));
        }
        let width = required(row.width, "width", file, line)?;
        let context = required(row.context, "context", file, line)?;
        if width == 0 || context == 0 {
            return Err(malformed(file, line, "width and context count tokens: at least 1"));
        }
        let plan = row.plan(width, outside, file, line)?;
        let block = row.block.unwrap_or(0);
        once(&mut seen, (plan.clone(), width, context, block), file, line)?;
        let seconds = format!("{time}{unit}").parse::<Seconds>()?.0;
        samples.push(sample(plan, width, context, block, seconds));
    }
    if samples.is_empty() {
        return Err(malformed(file, 1, "no rows below the header"));
    }
    Ok(samples)
}

/// Reads a `latency.csv` that this program wrote.
///
/// # Errors
/// A row of another form, a whole pass that took no time, the same observation twice.
pub fn read_own(file: &Path) -> Result<Vec<LatencySample>> {
    let rows: Vec<(u64, LatencySample)> = store::load_csv_lines(file)?;
    let mut seen = HashSet::new();
    for (line, s) in &rows {
        // A component may be too short for the clock, and the rest a difference: not a whole pass.
        if s.component >= Component::FullPass {
            positive(s.seconds, file, *line)?;
        } else if !s.seconds.is_finite() {
            return Err(malformed(file, *line, "expected a finite time"));
        }
        let what = (s.machine, s.component, s.layer, s.plan.clone(), s.width, s.context);
        once(&mut seen, (what, s.block, s.order), file, *line)?;
    }
    Ok(rows.into_iter().map(|(_, sample)| sample).collect())
}

/// A whole pass.
pub(super) fn sample(
    plan: Option<Plan>,
    width: usize,
    context: usize,
    block: usize,
    seconds: f64,
) -> LatencySample {
    let component = match &plan {
        Some(Plan::Speculate(_)) => Component::DraftPass,
        _ => Component::FullPass,
    };
    LatencySample {
        machine: 0,
        component,
        layer: None,
        plan,
        width,
        context,
        block,
        order: 0,
        copy: 0,
        seconds,
    }
}
