//! Per-position acceptance of vLLM: lines of its log, the text of its `/metrics`, or the metrics of
//! single requests (`--per-request-spec-decode-metrics`).
//!
//! What none of them holds: how drafts were made and what they cost (`--drafting`, `--skip` or
//! `--draft-share`), and times of passes.

use crate::error::Result;
use crate::import::counts;
use crate::import::rows::malformed;
use crate::import::setting::{Found, Setting};
use crate::import::table::rows;
use crate::records::observation::Observation;
use crate::records::trace::AcceptanceCounts;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// The counter of accepted drafts by position.
pub(super) const PER_POSITION: &str = "vllm:spec_decode_num_accepted_tokens_per_pos";
/// The counter of iterations.
const DRAFTS: &str = "vllm:spec_decode_num_drafts";

/// Reads the lines `SpecDecoding metrics: ...` of a log; each covers some seconds and is one
/// workload.
///
/// # Errors
/// A line without its counts, or with rates that rise by position.
pub(crate) fn parse_log(bytes: &[u8], file: &Path, setting: &Setting) -> Result<Found> {
    let text = String::from_utf8_lossy(bytes);
    let mut found = Found::default();
    for (index, line) in text.lines().enumerate() {
        let Some((_, metrics)) = line.split_once("SpecDecoding metrics:") else { continue };
        let number = index as u64 + 1;
        let wrong = |what: &str| {
            malformed(file, number, &format!("expected '{what}' among the metrics of this line"))
        };
        let drafted = after(metrics, "Drafted:").ok_or_else(|| wrong("Drafted: N tokens"))?;
        let rates =
            rates(metrics).ok_or_else(|| wrong("Per-position acceptance rate: 0.8, 0.6"))?;
        // Every iteration drafts as many tokens as there are positions.
        let drafts = (drafted / rates.len() as f64).round();
        if drafts < 1.0 {
            continue;
        }
        let accepted: Vec<u64> = rates.iter().map(|rate| (rate * drafts).round() as u64).collect();
        let counts =
            by_position(drafts as u64, &accepted).ok_or_else(|| malformed(file, number, RISING))?;
        found.observations.push(trace(&format!("line-{number}"), counts, setting, file, number)?);
    }
    match found.observations.is_empty() {
        true => Err(malformed(file, 1, "no iteration was counted on any line")),
        false => Ok(found),
    }
}

const RISING: &str = "a draft cannot be accepted more often than the one before it; expected rates \
                      and counts that fall by position";

/// The number behind a name, such as `Drafted: 3556 tokens`.
fn after(metrics: &str, name: &str) -> Option<f64> {
    let word = metrics.split_once(name)?.1.split_whitespace().next()?;
    let number: f64 = word.trim_end_matches(',').parse().ok()?;
    Some(number).filter(|number| number.is_finite() && (0.0..1e15).contains(number))
}

fn rates(metrics: &str) -> Option<Vec<f64>> {
    let (_, list) = metrics.split_once("Per-position acceptance rate:")?;
    let numbers = list.split(',').map_while(|word| word.trim().parse::<f64>().ok());
    let rates: Vec<f64> = numbers.collect();
    let valid = !rates.is_empty() && rates.iter().all(|rate| (0.0..=1.0).contains(rate));
    valid.then_some(rates)
}

/// Reads the text of `/metrics`; each engine is one workload.
///
/// # Errors
/// Counts of positions without the count of iterations, or that rise by position.
pub(crate) fn parse_metrics(bytes: &[u8], file: &Path, setting: &Setting) -> Result<Found> {
    let text = String::from_utf8_lossy(bytes);
    let mut found = Found::default();
    let mut engines: BTreeMap<String, (f64, BTreeMap<usize, f64>)> = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let Some((name, labels, value)) = counter(line) else { continue };
        let label = |name: &str| labels.iter().find(|(known, _)| *known == name).map(|(_, v)| *v);
        let engine = engines.entry(label("engine").unwrap_or("0").to_string()).or_default();
        found.facts.model = found.facts.model.or_else(|| label("model_name").map(str::to_string));
        match name.strip_suffix("_total").unwrap_or(name) {
            DRAFTS => engine.0 += value,
            PER_POSITION => {
                let position = label("position").and_then(|position| position.parse().ok());
                let missing =
                    || malformed(file, index as u64 + 1, "expected a label position=\"N\"");
                *engine.1.entry(position.ok_or_else(missing)?).or_default() += value;
            }
            _ => {}
        }
    }
    for (engine, (drafts, positions)) in engines {
        if drafts < 1.0 {
            continue;
        }
        let gaps = positions.keys().copied().ne(0..positions.len());
        let accepted: Vec<u64> = positions.values().map(|value| *value as u64).collect();
        let counts = by_position(drafts as u64, &accepted).filter(|_| !gaps);
        let counts = counts.ok_or_else(|| malformed(file, 1, RISING))?;
        found.observations.push(trace(&format!("engine-{engine}"), counts, setting, file, 1)?);
    }
    match found.observations.is_empty() {
        true => Err(malformed(
            file,
            1,
            &format!("no iteration was counted: {DRAFTS}_total is missing or 0"),
        )),
        false => Ok(found),
    }
}

/// A counter's name, its labels with their values, and what it has counted.
type Counter<'a> = (&'a str, Vec<(&'a str, &'a str)>, f64);

/// `name{label="value",...} number`: a line of the Prometheus text format.
fn counter(line: &str) -> Option<Counter<'_>> {
    let line = line.trim();
    if !line.starts_with("vllm:spec_decode") {
        return None;
    }
    let (name, rest) = match line.split_once('{') {
        Some((name, rest)) => (name, rest),
        None => (line.split_whitespace().next()?, line),
    };
    let (labels, values) = rest.rsplit_once('}').unwrap_or(("", rest));
    let value: f64 = match labels.is_empty() {
        false => values.split_whitespace().next()?,
        true => values.split_whitespace().nth(1)?,
    }
    .parse()
    .ok()?;
    let label = |pair| {
        let (name, value): (&str, &str) = str::split_once(pair, '=')?;
        Some((name.trim(), value.trim().trim_matches('"')))
    };
    let labels = labels.split(',').filter_map(label).collect();
    (value.is_finite() && (0.0..1e15).contains(&value)).then_some((name, labels, value))
}

/// The metrics of one request in a response of vLLM: `{"speculative_decoding": {...}}`, wherever it
/// stands.
pub(super) fn request_metrics(value: &Value) -> Option<&Value> {
    let places = [
        "/metrics/speculative_decoding",
        "/data/metrics/speculative_decoding",
        "/response/metrics/speculative_decoding",
        "/speculative_decoding",
    ];
    let found = places.iter().find_map(|place| value.pointer(place)).unwrap_or(value);
    found.get("acceptance_histogram").map(|_| found)
}

/// Reads responses with the metrics of their request, one each.
///
/// # Errors
/// No response with metrics; a histogram that is no list of counts.
pub(crate) fn parse_requests(bytes: &[u8], file: &Path, setting: &Setting) -> Result<Found> {
    let mut found = Found::default();
    for row in rows(bytes, file)? {
        let value = Value::Object(row.fields);
        let Some(metrics) = request_metrics(&value) else { continue };
        let list = metrics.get("acceptance_histogram").and_then(Value::as_array);
        let exactly: Option<Vec<u64>> =
            list.and_then(|list| list.iter().map(Value::as_u64).collect());
        let wrong = || {
            let expected =
                "'acceptance_histogram': expected a list of counts, iterations by accepted drafts";
            malformed(file, row.line, expected)
        };
        let exactly = exactly.filter(|list| list.len() >= 2).ok_or_else(wrong)?;
        let counts = of_histogram(&exactly).ok_or_else(wrong)?;
        if counts.attempted[0] == 0 {
            continue;
        }
        let id = value.get("id").or_else(|| value.pointer("/data/id")).and_then(Value::as_str);
        let id = id.map_or_else(|| format!("request-{}", row.line), str::to_string);
        found.facts.model = found
            .facts
            .model
            .or_else(|| value.get("model").and_then(Value::as_str).map(str::to_string));
        found.observations.push(trace(&id, counts, setting, file, row.line)?);
    }
    match found.observations.is_empty() {
        true => Err(malformed(file, 1, "no request with speculative iterations")),
        false => Ok(found),
    }
}

/// Counts from iterations by number of accepted drafts.
fn of_histogram(exactly: &[u64]) -> Option<AcceptanceCounts> {
    let mut reached = exactly.iter().try_fold(0u64, |sum, count| sum.checked_add(*count))?;
    let drafts = reached;
    let mut accepted = Vec::new();
    for count in &exactly[..exactly.len() - 1] {
        reached -= count;
        accepted.push(reached);
    }
    by_position(drafts, &accepted)
}

/// Counts from iterations and accepted drafts by position; none where they rise.
pub(super) fn by_position(drafts: u64, accepted: &[u64]) -> Option<AcceptanceCounts> {
    let attempted: Vec<u64> =
        std::iter::once(drafts).chain(accepted.iter().copied()).take(accepted.len()).collect();
    let falls = attempted.iter().zip(accepted).all(|(attempted, accepted)| accepted <= attempted);
    (falls && !accepted.is_empty())
        .then(|| AcceptanceCounts { attempted, accepted: accepted.to_vec() })
}

/// Counts of one workload as a trace of the draft that the setting names.
pub(super) fn trace(
    id: &str,
    counts: AcceptanceCounts,
    setting: &Setting,
    file: &Path,
    line: u64,
) -> Result<Observation> {
    let drafting = setting.drafting(None, file, line)?;
    let window = setting.window(file, line)?;
    counts::trace_of(id, drafting, window, counts)
        .map(Observation::Trace)
        .map_err(|message| malformed(file, line, &message))
}
