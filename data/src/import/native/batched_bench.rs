//! `llama-batched-bench` of llama.cpp: JSON lines, or the table that it draws.
//!
//! After a prompt of `PP` tokens, `TG` passes over `B` tokens (`-npl`), each of a sequence of its
//! own. A verify pass feeds its tokens to one sequence and reads one cache: it costs this or less.
//! What the file does not hold: acceptance, the time of a draft pass, repetitions, the model's
//! name.

use crate::error::Result;
use crate::import::pass_times;
use crate::import::rows::{malformed, positive};
use crate::import::setting::{Facts, Found, Setting};
use crate::import::table::{Row, rows};
use crate::plan::Plan;
use crate::plan::Predictors;
use crate::records::observation::Observation;
use crate::units::Seconds;
use std::collections::BTreeMap;
use std::path::Path;

/// Reads pass times.
///
/// # Errors
/// A number that is missing or not above 0; no width up to 65: with the line.
pub fn parse(bytes: &[u8], file: &Path, setting: &Setting) -> Result<Found> {
    let mut found = Found { facts: facts(bytes), ..Found::default() };
    let mut seen: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for row in setting.kept(rows(bytes, file)?, file)? {
        let either = |drawn: &'static str, json: &'static str| {
            if row.fields.contains_key(json) { json } else { drawn }
        };
        let count = |drawn, json| row.count(either(drawn, json), file);
        let (prompt, passes, width) = (count("PP", "pp")?, count("TG", "tg")?, count("B", "pl")?);
        if passes == 0 || width == 0 || width > Predictors::MAX + 1 {
            continue;
        }
        let seconds = row.positive(either("T_TG s", "t_tg"), file)?;
        let context = prompt + passes.div_ceil(2);
        // The same cell again is another block.
        let block = seen.entry((width, context)).or_default();
        let plan = (width == 1).then_some(Plan::Plain);
        let seconds = positive(seconds / passes as f64, file, row.line)?;
        let sample = pass_times::sample(plan, width, context, *block, Seconds(seconds));
        found.observations.push(Observation::Latency(sample));
        *block += 1;
        found.facts.threads = found.facts.threads.or_else(|| threads(&row));
    }
    match found.observations.is_empty() {
        true => {
            Err(malformed(file, 1, "no passes over 1 to 65 tokens; ask for -npl 1,2,3,4,5,6,8"))
        }
        false => Ok(found),
    }
}

fn threads(row: &Row) -> Option<usize> {
    row.text("n_threads")?.parse().ok()
}

fn facts(bytes: &[u8]) -> Facts {
    let text = String::from_utf8_lossy(bytes);
    let after = text.split("n_threads = ").nth(1);
    let digits = after.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    let note = "passes of llama-batched-bench feed every token to a sequence of its own: a verify \
                pass costs this or less";
    Facts {
        threads: digits.and_then(|digits| digits.parse().ok()),
        notes: vec![note.into()],
        ..Facts::default()
    }
}
