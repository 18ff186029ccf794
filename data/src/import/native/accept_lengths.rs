//! Answers of Spec-Bench, EAGLE and SWIFT: one JSON object a question, with `accept_lengths`
//! (tokens that each iteration committed, the free one counted in), `new_tokens`, `decoding_steps`
//! and `wall_time`.
//!
//! A file whose iterations all committed one token is plain decoding: the baseline of the others.
//! SWIFT's last line names the sub-layers that were skipped. What the file does not hold: how
//! drafts were made, what they left out (SWIFT alone does), how many were drafted (the most that
//! were ever accepted is taken, or `--draft-length`), and times of single passes. Of trees it does
//! not say how wide they were.

use crate::error::Result;
use crate::import::rows::{malformed, once};
use crate::import::setting::{Found, Setting};
use crate::import::table::{Row, number_of, rows};
use crate::plan::LayerSet;
use crate::plan::{DraftPlan, Plan, Predictors, Skip};
use crate::records::observation::Observation;
use crate::records::throughput::ThroughputSample;
use crate::records::trace::Trace;
use crate::units::Seconds;
use serde_json::Value;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

/// One answer.
struct Answer {
    line: u64,
    id: String,
    task: Option<String>,
    lengths: Vec<u32>,
    tokens: usize,
    steps: usize,
    seconds: Seconds,
}

/// Reads acceptance and wall times.
///
/// # Errors
/// A list that is missing or of other things; a time that is not above 0; a question twice.
pub fn parse(bytes: &[u8], file: &Path, setting: &Setting) -> Result<Found> {
    let rows = rows(bytes, file)?;
    let mut answers = Vec::new();
    for row in &rows {
        let choices = row.fields.get("choices").and_then(Value::as_array);
        for (index, choice) in choices.into_iter().flatten().enumerate() {
            answers.push(answer(row, choice, index, file)?);
        }
    }
    let mut seen = HashSet::new();
    for answer in &answers {
        once(&mut seen, answer.id.clone(), file, answer.line)?;
    }
    let mut found = Found::default();
    found.facts.model = rows.iter().find_map(|row| row.text("model_id"));
    found.facts.notes.push("wall times hold the prompt pass".into());
    let most = answers.iter().flat_map(|answer| &answer.lengths).max().copied().unwrap_or(0);
    let plan = match most {
        0 => return Err(malformed(file, 1, "no iteration in any answer")),
        1 => Plan::Plain,
        most => Plan::Speculate(draft(&rows, most, file, setting, &mut found.facts.notes)?),
    };
    for (block, answer) in answers.iter().enumerate() {
        if let Plan::Speculate(draft) = &plan {
            found.observations.push(Observation::Trace(trace(answer, draft)));
        }
        found.observations.push(Observation::Throughput(sample(answer, &plan, block)));
    }
    Ok(found)
}

fn answer(row: &Row, choice: &Value, index: usize, file: &Path) -> Result<Answer> {
    let wrong = |message: &str| malformed(file, row.line, message);
    let lengths = choice.get("accept_lengths").and_then(Value::as_array);
    let length = |value: &Value| {
        let length =
            value.as_u64().filter(|length| (1..=Predictors::MAX as u64 + 1).contains(length));
        length.map(|length| length as u32)
    };
    let lengths: Option<Vec<u32>> = lengths.and_then(|list| list.iter().map(length).collect());
    let lengths = lengths.filter(|list| !list.is_empty()).ok_or_else(|| {
        wrong(
            "'accept_lengths': expected a list of the tokens that each iteration committed, 1 to \
         65",
        )
    })?;
    let sum = |name: &str| {
        let value = choice.get(name)?;
        let numbers: Option<Vec<f64>> = match value {
            Value::Array(list) => list.iter().map(number_of).collect(),
            other => number_of(other).map(|number| vec![number]),
        };
        numbers.map(|numbers| numbers.iter().sum::<f64>())
    };
    let positive = |name: &str| {
        let found = sum(name).filter(|sum| sum.is_finite() && *sum > 0.0 && *sum < 1e12);
        found.ok_or_else(|| wrong(&format!("'{name}': expected numbers above 0")))
    };
    let question = row.text("question_id").unwrap_or_else(|| format!("answer-{}", row.line));
    Ok(Answer {
        line: row.line,
        id: if index == 0 { question } else { format!("{question}-{}", index + 1) },
        task: row.text("category"),
        steps: lengths.len(),
        tokens: positive("new_tokens")? as usize,
        seconds: Seconds(positive("wall_time")?),
        lengths,
    })
}

/// The plan of the drafts: SWIFT's sub-layers, else what the setting names.
fn draft(
    rows: &[Row],
    most: u32,
    file: &Path,
    setting: &Setting,
    notes: &mut Vec<String>,
) -> Result<DraftPlan> {
    let accepted = most as usize - 1;
    let predictors = match setting.draft_length {
        Some(given) if given < accepted => {
            let message =
                format!("--draft-length {given}: an iteration accepted {accepted} drafts");
            return Err(malformed(file, 1, &message));
        }
        Some(given) => given,
        None => {
            notes.push(format!(
                "the draft length is not in the file; {accepted} is the most that was accepted \
                 (give --draft-length where more were drafted)"
            ));
            accepted
        }
    };
    let skip = match skipped(rows, file, setting)? {
        Some(set) => set,
        None => setting.window(file, 1)?.into(),
    };
    let drafting = setting.drafting(None, file, 1)?;
    Ok(DraftPlan { drafting, skip, predictors: Predictors::new(predictors)? })
}

/// The sub-layers on SWIFT's last line.
fn skipped(rows: &[Row], file: &Path, setting: &Setting) -> Result<Option<Skip>> {
    let Some(row) = rows.iter().find(|row| row.fields.contains_key("Best Attn Layer Set")) else {
        return Ok(None);
    };
    let set = |name: &str| -> Option<Vec<usize>> {
        let list = row.fields.get(name)?.as_array()?;
        list.iter().map(|layer| Some(layer.as_u64()? as usize)).collect()
    };
    let sets = set("Best Attn Layer Set").zip(set("Best MLP Layer Set"));
    let (attention, mlp) = sets.ok_or_else(|| {
        malformed(
            file,
            row.line,
            "'Best Attn Layer Set' and 'Best MLP Layer Set': expected lists of layers",
        )
    })?;
    let wrong = |e: crate::error::Error| malformed(file, row.line, &e.to_string());
    let set = LayerSet::new(attention, mlp).map_err(wrong)?;
    let skip = Skip::Set { layers: Arc::new(set) };
    skip.check(setting.layers).map_err(wrong)?;
    Ok(Some(skip))
}

/// The iterations in their order. Between their starts a trace is filled in as counts are.
fn trace(answer: &Answer, draft: &DraftPlan) -> Trace {
    let mut accepted: Vec<u32> = Vec::new();
    for length in &answer.lengths {
        accepted.extend((0..*length).rev());
    }
    accepted.push(0); // the last entry of a trace is never used by a walk
    let window = draft.skip.window();
    Trace {
        drafting: Some(draft.drafting),
        skip_start: window.map(|window| window.start()),
        skip_end: window.map(|window| window.end()),
        skip_set: match &draft.skip {
            Skip::Set { layers } => Some((**layers).clone()),
            Skip::Window(_) => None,
        },
        gamma_max: Some(draft.predictors),
        counted_drafts: Some(draft.predictors),
        id: answer.id.clone(),
        task: answer.task.clone(),
        prompt: 1,
        accepted,
        confidence: None,
        accept_probability: None,
        ranks: None,
    }
}

/// Answers at the same place of two files are to the same question: a block holds both.
fn sample(answer: &Answer, plan: &Plan, block: usize) -> ThroughputSample {
    ThroughputSample {
        machine: 0,
        block,
        order: usize::from(plan.draft().is_some()),
        copy: 0,
        plan: plan.clone(),
        id: answer.id.clone(),
        tokens: answer.tokens,
        iterations: answer.steps,
        prompt_seconds: Seconds::ZERO,
        draft_seconds: Seconds::ZERO,
        verify_seconds: answer.seconds,
        seconds: answer.seconds,
        cpu_seconds: None,
        start: 0,
        batch: 1,
    }
}
