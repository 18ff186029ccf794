//! `llama-bench` of llama.cpp: JSON, JSON lines, CSV, or the table that it draws.
//!
//! `pp N` times one pass over `N` tokens, `tg N` the mean of `N` passes over one, both at a depth
//! of committed tokens. JSON holds every repetition, which become blocks; the other forms a mean.
//! What the file does not hold: acceptance, and the time of a draft pass.

use crate::error::Result;
use crate::import::pass_times;
use crate::import::rows::{malformed, positive};
use crate::import::setting::{Facts, Found, Setting};
use crate::import::table::{Row, number_of, rows};
use crate::plan::Plan;
use crate::plan::Predictors;
use crate::records::observation::Observation;
use crate::units::Seconds;
use serde_json::Value;
use std::path::Path;

/// What differs between rows of one measurement; all else must be the same.
const VARYING: [&str; 15] = [
    "n_prompt",
    "n_gen",
    "n_depth",
    "test",
    "t/s",
    "test_time",
    "avg_ns",
    "stddev_ns",
    "avg_ts",
    "stddev_ts",
    "samples_ns",
    "samples_ts",
    "size",
    "params",
    "n_gen_warmup",
];

/// What a row timed: tokens fed, tokens passed over in one sample, tokens committed before.
struct Test {
    prompt: usize,
    generated: usize,
    depth: usize,
}

/// Reads pass times.
///
/// # Errors
/// Rows of several settings, a number that is missing or not above 0: with the line.
pub fn parse(bytes: &[u8], file: &Path, setting: &Setting) -> Result<Found> {
    let all: Vec<Row> = setting.kept(rows(bytes, file)?, file)?;
    one_setting(&all, file)?;
    let tests: Vec<(Test, &Row)> =
        all.iter().map(|row| Ok((test(row, file)?, row))).collect::<Result<_>>()?;
    // A pass over one token is measured like the wider ones where `-p 1` was asked for.
    let single = tests.iter().any(|(test, _)| test.prompt == 1 && test.generated == 0);
    let mut found = Found { facts: facts(&all, bytes), ..Found::default() };
    let mut unused = Vec::new();
    for (test, row) in &tests {
        let (width, tokens) = match (test.prompt, test.generated) {
            (0, generated) if generated > 0 && !single => (1, generated),
            (prompt, 0) if (1..=Predictors::MAX + 1).contains(&prompt) && fits(row, prompt) => {
                (prompt, 1)
            }
            _ => {
                unused.push(name(test));
                continue;
            }
        };
        // The mean context over the passes of one sample, the token being fed counted in.
        let context = test.depth.saturating_add(if width == 1 { tokens.div_ceil(2) } else { 1 });
        let plan = (width == 1).then_some(Plan::Plain);
        for (block, seconds) in seconds(row, test, file)?.into_iter().enumerate() {
            let each = positive(seconds / tokens as f64, file, row.line)?;
            let sample = pass_times::sample(plan.clone(), width, context, block, Seconds(each));
            found.observations.push(Observation::Latency(sample));
        }
    }
    if !unused.is_empty() {
        unused.sort_unstable();
        unused.dedup();
        found.facts.notes.push(format!("not used of llama-bench: {}", unused.join(", ")));
    }
    if found.observations.is_empty() {
        return Err(malformed(file, 1, NOTHING));
    }
    Ok(found)
}

const NOTHING: &str = "no pass over 1 to 65 tokens among the tests; time some, such as llama-bench \
                       -p 1,2,3,4,5,6,8,9 -n 0 -d 512 -o jsonl";

/// Whether a prompt was one pass: `n_ubatch` divides longer ones.
fn fits(row: &Row, prompt: usize) -> bool {
    let most = row.fields.get("n_ubatch").and_then(number_of);
    most.is_none_or(|most| prompt as f64 <= most)
}

fn name(test: &Test) -> String {
    let depth = if test.depth > 0 { format!(" @ d{}", test.depth) } else { String::new() };
    match (test.prompt, test.generated) {
        (prompt, 0) => format!("pp{prompt}{depth}"),
        (0, generated) => format!("tg{generated}{depth}"),
        (prompt, generated) => format!("pp{prompt}+tg{generated}{depth}"),
    }
}

fn test(row: &Row, file: &Path) -> Result<Test> {
    if let Some(words) = row.text("test") {
        return drawn(&words).ok_or_else(|| {
            row.wrong("test", "expected a test such as pp4, tg128 or pp4 @ d512", file)
        });
    }
    let depth = if row.fields.contains_key("n_depth") { row.count("n_depth", file)? } else { 0 };
    let (prompt, generated) = (row.count("n_prompt", file)?, row.count("n_gen", file)?);
    Ok(Test { prompt, generated, depth })
}

/// `pp512`, `tg 128`, `pp4 @ d512`, `pp512+tg128`.
fn drawn(words: &str) -> Option<Test> {
    let (tests, depth) = match words.split_once('@') {
        Some((tests, depth)) => (tests, depth.trim().strip_prefix('d')?.trim().parse().ok()?),
        None => (words, 0),
    };
    let mut test = Test { prompt: 0, generated: 0, depth };
    for part in tests.split('+').map(str::trim) {
        match part.split_at_checked(2)? {
            ("pp", tokens) => test.prompt = tokens.trim().parse().ok()?,
            ("tg", tokens) => test.generated = tokens.trim().parse().ok()?,
            _ => return None,
        }
    }
    Some(test)
}

/// Seconds of every repetition of a test; of the mean where that is all there is.
fn seconds(row: &Row, test: &Test, file: &Path) -> Result<Vec<f64>> {
    let nanoseconds = |value: &Value| {
        let number = number_of(value).filter(|n| n.is_finite() && *n > 0.0);
        let wrong = || row.wrong("samples_ns", "expected times above 0", file);
        Ok(Seconds::from_nanoseconds(number.ok_or_else(wrong)?).0)
    };
    if let Some(Value::Array(samples)) = row.fields.get("samples_ns")
        && !samples.is_empty()
    {
        return samples.iter().map(nanoseconds).collect();
    }
    if row.fields.contains_key("avg_ns") {
        return Ok(vec![Seconds::from_nanoseconds(row.positive("avg_ns", file)?).0]);
    }
    let tokens = test.prompt.saturating_add(test.generated) as f64;
    if row.fields.contains_key("avg_ts") {
        return Ok(vec![tokens / row.positive("avg_ts", file)?]);
    }
    let rate = row.text("t/s").and_then(|words| words.split('±').next()?.trim().parse().ok());
    let rate = rate.filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    Ok(vec![tokens / rate.ok_or_else(|| row.wrong("t/s", "expected tokens per second", file))?])
}

/// Whether all rows have one setting.
fn one_setting(all: &[Row], file: &Path) -> Result<()> {
    let Some(first) = all.first() else { return Ok(()) };
    for row in all {
        for name in row.fields.keys().filter(|name| !VARYING.contains(&name.as_str())) {
            let (one, other) = (first.text(name), row.text(name));
            if one != other {
                let words = |value: Option<String>| value.unwrap_or_else(|| "nothing".into());
                let (one, other) = (words(one), words(other));
                let message = format!(
                    "rows of several settings: {name} is {one} on line {} and {other} here; keep \
                     one with --only '{name}={other}'",
                    first.line
                );
                return Err(malformed(file, row.line, &message));
            }
        }
    }
    Ok(())
}

fn facts(all: &[Row], bytes: &[u8]) -> Facts {
    let mut facts = Facts::default();
    let Some(row) = all.first() else { return facts };
    let of = |names: &[&str]| names.iter().find_map(|name| row.text(name));
    facts.model = of(&["model_type", "model"]);
    facts.machine = of(&["gpu_info"]).or_else(|| of(&["cpu_info", "backends", "backend"]));
    facts.threads = of(&["n_threads", "threads"]).and_then(|threads| threads.parse().ok());
    facts.dtype = facts.model.as_deref().and_then(dtype);
    let printed = String::from_utf8_lossy(bytes);
    let build = of(&["build_commit"]).map(|commit| {
        let number = of(&["build_number"]).map(|n| format!(" ({n})")).unwrap_or_default();
        format!("{commit}{number}")
    });
    let line = || printed.lines().find_map(|line| line.trim().strip_prefix("build: "));
    if let Some(build) = build.or_else(|| line().map(str::to_string)) {
        facts.notes.push(format!("times of llama.cpp, build {build}"));
    }
    facts
}

/// The number type in a model's words: `qwen2 7B Q4_K - Medium` is `q4_k`.
pub(super) fn dtype(words: &str) -> Option<String> {
    let is_type = |word: &&str| {
        let quantized = word.strip_prefix("IQ").or_else(|| word.strip_prefix('Q'));
        ["F16", "BF16", "F32"].contains(word)
            || quantized.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    words.split_whitespace().find(is_type).map(str::to_ascii_lowercase)
}
