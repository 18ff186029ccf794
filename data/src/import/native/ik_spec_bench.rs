//! `llama-spec-bench` of ik_llama.cpp (`--output-format jsonl`), compact or detailed: one row an
//! attempt, with drafted and accepted tokens by position, generated tokens and the seconds they
//! took.
//!
//! Attempts without a stage are plain decoding: the baseline of the others. What the file does not
//! hold: what drafts left out (`--skip` or `--draft-share`), how they were made, times of single
//! passes.

use super::vllm::{by_position, trace};
use crate::error::Result;
use crate::import::rows::malformed;
use crate::import::setting::{Found, Setting};
use crate::import::table::{Row, number_of, rows};
use crate::plan::{DraftPlan, Plan, Predictors};
use crate::records::observation::Observation;
use crate::records::throughput::ThroughputSample;
use crate::units::Seconds;
use serde_json::Value;
use std::path::Path;

/// Reads acceptance and decoding times.
///
/// # Errors
/// A number that is missing or below 0; counts that rise by position: with the line.
pub fn parse(bytes: &[u8], file: &Path, setting: &Setting) -> Result<Found> {
    let mut found = Found::default();
    let mut block = 0;
    let mut uneven = false;
    for row in rows(bytes, file)? {
        let kind = row.text("row_type").unwrap_or_default();
        if kind.is_empty() || kind == "summary" || failed(&row) {
            continue;
        }
        let value = Value::Object(row.fields);
        let row = Attempt { value: &value, line: row.line, file };
        let stages = row.stages();
        let plan = match stages.as_slice() {
            [] => Plan::Plain,
            [stage] => {
                let (draft, short) = row.draft(stage, setting)?;
                uneven |= short;
                let id = row.id();
                let counts = row.counts(stage, draft.predictors.get())?;
                found.observations.push(trace(&id, counts, setting, file, row.line)?);
                Plan::Speculate(draft)
            }
            _ => {
                let message = "several stages of drafts in one attempt; expected one (--spec-type \
                 of one kind)";
                return Err(malformed(file, row.line, message));
            }
        };
        found.observations.push(Observation::Throughput(row.sample(plan, &stages, block)?));
        block += 1;
    }
    if uneven {
        let note = "drafts were of different lengths: one that ended early counts as failed there";
        found.facts.notes.push(note.into());
    }
    match found.observations.is_empty() {
        true => Err(malformed(file, 1, "no attempt that succeeded")),
        false => Ok(found),
    }
}

fn failed(row: &Row) -> bool {
    row.fields.get("ok") == Some(&Value::Bool(false))
}

/// A row, compact or detailed.
struct Attempt<'a> {
    value: &'a Value,
    line: u64,
    file: &'a Path,
}

impl<'a> Attempt<'a> {
    fn stages(&self) -> Vec<&'a Value> {
        let places = ["/stages", "/speculative/stages"];
        let list = places.iter().find_map(|place| self.value.pointer(place)?.as_array());
        list.into_iter().flatten().collect()
    }

    /// The task and which run of it.
    fn id(&self) -> String {
        let text = |place: &str| match self.value.pointer(place)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let task = ["/task", "/task/name", "/name", "/id"].iter().find_map(|place| text(place));
        let run = ["/run", "/repeat_index"].iter().find_map(|place| text(place));
        let task = task.unwrap_or_else(|| format!("attempt-{}", self.line));
        run.map_or(task.clone(), |run| format!("{task}-{run}"))
    }

    fn number(&self, places: &[&str]) -> Result<f64> {
        let found = places.iter().find_map(|place| number_of(self.value.pointer(place)?));
        let valid = found.filter(|n| n.is_finite() && *n > 0.0 && *n < 1e12);
        valid.ok_or_else(|| {
            let message = format!("expected a number above 0 at '{}'", places[0]);
            malformed(self.file, self.line, &message)
        })
    }

    fn list(&self, stage: &Value, name: &str) -> Result<Vec<u64>> {
        let list = stage.get(name).and_then(Value::as_array);
        let counts: Option<Vec<u64>> =
            list.and_then(|list| list.iter().map(Value::as_u64).collect());
        counts.filter(|counts| !counts.is_empty()).ok_or_else(|| {
            malformed(self.file, self.line, &format!("'{name}': expected a list of counts"))
        })
    }

    /// The plan, and whether some drafts were shorter than others.
    fn draft(&self, stage: &Value, setting: &Setting) -> Result<(DraftPlan, bool)> {
        let drafted = self.list(stage, "drafted_by_position")?;
        let wrong = |e: crate::error::Error| malformed(self.file, self.line, &e.to_string());
        let draft = DraftPlan {
            drafting: setting.drafting(None, self.file, self.line)?,
            skip: setting.window(self.file, self.line)?.into(),
            predictors: Predictors::new(drafted.len()).map_err(wrong)?,
        };
        let short = drafted.iter().any(|count| *count != drafted[0]);
        Ok((draft, short))
    }

    fn counts(
        &self,
        stage: &Value,
        predictors: usize,
    ) -> Result<crate::records::trace::AcceptanceCounts> {
        let drafted = self.list(stage, "drafted_by_position")?;
        let mut accepted = self.list(stage, "accepted_by_position")?;
        accepted.resize(predictors, 0);
        by_position(drafted[0], &accepted).filter(|_| drafted[0] > 0).ok_or_else(|| {
            let message = "a draft cannot be accepted more often than the one before it";
            malformed(self.file, self.line, message)
        })
    }

    fn sample(&self, plan: Plan, stages: &[&Value], block: usize) -> Result<ThroughputSample> {
        let tokens = self.number(&["/generated", "/tokens/generated"])? as usize;
        let seconds = Seconds(self.number(&["/decode_s", "/timing/decode_s"])?);
        let accepted = |stage: &&Value| {
            let total = stage.get("accepted").or_else(|| stage.get("accepted_tokens"));
            total.and_then(Value::as_u64).unwrap_or(0) as usize
        };
        let accepted: usize = stages.iter().map(accepted).sum();
        let drafts = |stage: &&Value| stage.get("t_draft_s").and_then(Value::as_f64).map(Seconds);
        let draft_seconds: Seconds = stages.iter().filter_map(drafts).sum();
        let draft_seconds = draft_seconds.max(Seconds::ZERO).min(seconds);
        Ok(ThroughputSample {
            machine: 0,
            block,
            order: usize::from(plan.draft().is_some()),
            copy: 0,
            plan,
            id: self.id(),
            tokens,
            // Every iteration commits its accepted drafts and one token more.
            iterations: tokens.saturating_sub(accepted).max(1),
            prompt_seconds: Seconds::ZERO,
            draft_seconds,
            verify_seconds: seconds - draft_seconds,
            seconds,
            cpu_seconds: None,
            start: 0,
            batch: 1,
        })
    }
}
