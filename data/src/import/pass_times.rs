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

use crate::error::{Error, Result};
use crate::import::rows::{malformed, not_empty, once, positive, required};
use crate::import::setting::Setting;
use crate::plan::{Drafting, Plan, Predictors, SkipWindow};
use crate::records::latency::{Component, LatencySample};
use crate::store;
use crate::units::Seconds;
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
        setting: &Setting,
        file: &Path,
        line: u64,
    ) -> Result<Option<Plan>> {
        match self.pass.as_deref() {
            None | Some("full" | "") => Ok((width == 1).then_some(Plan::Plain)),
            Some("draft") => {
                let text = required(self.skip.as_deref(), "skip", file, line)?;
                let wrong = |e: Error| malformed(file, line, &e.to_string());
                let window: SkipWindow = text.parse().map_err(wrong)?;
                window.skip_ratio(setting.layers).map_err(wrong)?;
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
pub fn parse(bytes: &[u8], file: &Path, setting: &Setting) -> Result<Vec<LatencySample>> {
    let rows: Vec<(u64, Row)> = not_empty(store::parse_csv(bytes, file)?, file)?;
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
        let plan = row.plan(width, setting, file, line)?;
        let block = row.block.unwrap_or(0);
        once(&mut seen, (plan.clone(), width, context, block), file, line)?;
        let seconds: Seconds = format!("{time}{unit}").parse()?;
        positive(seconds.0, file, line)?;
        samples.push(sample(plan, width, context, block, seconds));
    }
    Ok(samples)
}

/// A whole pass.
pub(super) fn sample(
    plan: Option<Plan>,
    width: usize,
    context: usize,
    block: usize,
    seconds: Seconds,
) -> LatencySample {
    let component = match &plan {
        Some(Plan::Speculate(_)) => Component::DraftPass,
        _ => Component::FullPass,
    };
    LatencySample::whole(component, plan, width, context, block, seconds)
}
