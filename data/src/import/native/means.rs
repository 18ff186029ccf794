//! Sweeps that keep means alone: `bench_speculative` of SGLang (JSON lines) and `sweep` of
//! LayerSkip (CSV).
//!
//! Each row becomes one generation of a thousand iterations of its mean. What they do not hold:
//! acceptance by position, times of single passes, any spread; LayerSkip's sweep neither the speed
//! of plain decoding (`--plain-tokens-per-s`).

use crate::error::Result;
use crate::import::rows::{malformed, positive};
use crate::import::setting::{Found, Setting};
use crate::import::table::{Row, rows};
use crate::plan::{Drafting, Plan, Predictors, SkipWindow};
use crate::records::observation::Observation;
use crate::records::throughput::ThroughputSample;
use crate::units::Seconds;
use std::path::Path;

/// Iterations that a mean is written out as.
const ITERATIONS: usize = 1000;

/// Reads SGLang's sweep: rows with `steps` 0 are plain decoding. Trees (`topk` above 1) are left
/// out, and so are larger batches than the smallest one.
///
/// # Errors
/// A number that is missing or not above 0; no row of a chain.
pub(crate) fn parse_sglang(bytes: &[u8], file: &Path, setting: &Setting) -> Result<Found> {
    let rows = setting.kept(rows(bytes, file)?, file)?;
    let mut found = Found::default();
    let batches: Vec<usize> =
        rows.iter().map(|row| row.count("batch_size", file)).collect::<Result<_>>()?;
    let batch = batches.iter().min().copied().unwrap_or(1);
    let mut trees = 0;
    for (row, _) in rows.iter().zip(&batches).filter(|(_, own)| **own == batch) {
        found.facts.model = found.facts.model.or_else(|| row.text("model_path"));
        let (steps, topk) = (row.count("steps", file)?, row.count("topk", file)?);
        let seconds = row.positive("step_time", file)?;
        let tokens = row.positive("acc_length", file)?;
        let plan = match steps {
            0 => Plan::Plain,
            _ if topk > 1 => {
                trees += 1;
                continue;
            }
            _ => chain(row, setting.window(file, row.line)?, steps, file)?,
        };
        let tokens = if steps == 0 { 1.0 } else { tokens };
        found.observations.push(mean(row, plan, tokens, seconds, file)?);
    }
    let notes = &mut found.facts.notes;
    notes.push(format!("of SGLang's sweep: means at batch {batch}"));
    if batches.iter().any(|own| *own != batch) {
        notes.push(format!("batches above {batch} are not used (--only batch_size=N for another)"));
    }
    if trees > 0 {
        notes.push(format!("{trees} rows of trees (topk above 1) are not used"));
    }
    match found.observations.is_empty() {
        true => Err(malformed(file, 1, "no row of a chain: expected steps 0, or topk 1")),
        false => Ok(found),
    }
}

/// Reads LayerSkip's sweep: the draft runs the first `exit_layer` layers.
///
/// # Errors
/// A number that is missing or out of range; an exit beyond the model.
pub(crate) fn parse_layerskip(bytes: &[u8], file: &Path, setting: &Setting) -> Result<Found> {
    let mut found = Found::default();
    for row in setting.kept(rows(bytes, file)?, file)? {
        let (exit, steps) = (row.count("exit_layer", file)?, row.count("num_speculations", file)?);
        let wrong = |message: &str| row.wrong("exit_layer", message, file);
        if exit == 0 || exit >= setting.layers {
            return Err(wrong(&format!("expected 1 to {}, found {exit}", setting.layers - 1)));
        }
        let rate = row.number("acceptance_rate", file)?;
        if rate > 1.0 {
            let message = format!("expected a share of 1, found {rate}");
            return Err(row.wrong("acceptance_rate", &message, file));
        }
        // Accepted over drafted tokens: an iteration drafts `num_speculations`.
        let tokens = 1.0 + steps as f64 * rate;
        let seconds = tokens * row.positive("time_per_token", file)?;
        let window = SkipWindow::new(exit, setting.layers).map_err(|e| wrong(&e.to_string()))?;
        let plan = chain(&row, window, steps, file)?;
        found.observations.push(mean(&row, plan, tokens, seconds, file)?);
    }
    found.facts.notes.push("of LayerSkip's sweep: means over its texts".into());
    Ok(found)
}

/// Plain decoding at a speed that someone gives.
pub fn plain(tokens_per_s: f64) -> ThroughputSample {
    sample(Plan::Plain, 0, 1.0, tokens_per_s.recip())
}

/// A plan of single passes, one a draft.
fn chain(row: &Row, window: SkipWindow, steps: usize, file: &Path) -> Result<Plan> {
    let predictors =
        Predictors::new(steps).map_err(|e| row.wrong("drafts", &e.to_string(), file))?;
    Ok(Plan::window(Drafting::Sequential, window, predictors))
}

/// Iterations that each commit `tokens` and take `seconds`, in the mean.
fn mean(row: &Row, plan: Plan, tokens: f64, seconds: f64, file: &Path) -> Result<Observation> {
    if !(1.0..=Predictors::MAX as f64 + 1.0).contains(&tokens) {
        let message = format!("expected 1 to 65 tokens per iteration, found {tokens}");
        return Err(malformed(file, row.line, &message));
    }
    positive(seconds * ITERATIONS as f64, file, row.line)?;
    Ok(Observation::Throughput(sample(plan, row.line as usize, tokens, seconds)))
}

/// Iterations that each commit `tokens` and take `seconds`.
fn sample(plan: Plan, order: usize, tokens: f64, seconds: f64) -> ThroughputSample {
    let total = Seconds(seconds * ITERATIONS as f64);
    ThroughputSample {
        machine: 0,
        block: 0,
        order,
        copy: 0,
        plan,
        id: "mean".into(),
        // The prompt pass commits the first token.
        tokens: (tokens * ITERATIONS as f64).round() as usize + 1,
        iterations: ITERATIONS,
        prompt_seconds: Seconds::ZERO,
        draft_seconds: Seconds::ZERO,
        verify_seconds: total,
        seconds: total,
        cpu_seconds: None,
        start: 0,
        batch: 1,
    }
}
