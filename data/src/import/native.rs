//! Files that other engines and their benchmarks write, as they write them.
//!
//! | what | from | holds |
//! |---|---|---|
//! | [`llama_bench`] | llama.cpp's `llama-bench` | times of passes by width and depth |
//! | [`batched_bench`] | llama.cpp's `llama-batched-bench` | times of passes by width |
//! | [`vllm`] | vLLM's log, `/metrics`, per-request metrics | acceptance by draft position |
//! | [`accept_lengths`] | Spec-Bench, EAGLE, SWIFT | acceptance by iteration, wall times |
//! | [`ik_spec_bench`] | ik_llama.cpp's `llama-spec-bench` | acceptance by draft position, times |
//! | [`means`] | SGLang's `bench_speculative`, LayerSkip's `sweep` | mean acceptance, mean times |

pub mod accept_lengths;
pub mod batched_bench;
pub mod ik_spec_bench;
pub mod llama_bench;
pub mod means;
pub mod vllm;

use crate::import::kind::Kind;
use crate::import::outline::Outline;
use serde_json::Value;

/// The native form that `bytes` have, by their content alone.
pub(super) fn kind_of(bytes: &[u8]) -> Option<Kind> {
    let text = String::from_utf8_lossy(bytes);
    if text.contains("SpecDecoding metrics:") && text.contains("Per-position acceptance rate:") {
        return Some(Kind::VllmLog);
    }
    if text.contains(vllm::PER_POSITION) {
        return Some(Kind::VllmMetrics);
    }
    by_object(&text).or_else(|| by_names(&text))
}

/// By the keys of the first JSON object.
fn by_object(text: &str) -> Option<Kind> {
    let trimmed = text.trim_start();
    let first = match trimmed.chars().next()? {
        '[' | '{' => outline(trimmed).or_else(|| first_line(text)),
        _ => first_line(text),
    }?;
    let object = match &first {
        Value::Array(entries) => entries.first()?,
        other => other,
    };
    let has = |key: &str| object.get(key).is_some();
    if has("n_prompt") && has("n_gen") {
        return Some(Kind::LlamaBench);
    }
    if has("pl") && has("t_tg") {
        return Some(Kind::BatchedBench);
    }
    if has("acc_length") && has("step_time") {
        return Some(Kind::SglangBench);
    }
    if object.pointer("/choices/0/accept_lengths").is_some() {
        return Some(Kind::AcceptLengths);
    }
    if has("row_type") && (has("stages") || has("speculative")) {
        return Some(Kind::IkSpecBench);
    }
    vllm::request_metrics(object).map(|_| Kind::VllmRequests)
}

/// The first line that is a JSON object: logs may stand around it.
fn first_line(text: &str) -> Option<Value> {
    let mut lines = text.lines().map(str::trim).filter(|line| line.starts_with('{'));
    lines.find_map(outline)
}

fn outline(text: &str) -> Option<Value> {
    serde_json::from_str::<Outline>(text).ok().map(|outline| outline.0)
}

/// By the names above a table, drawn or as CSV.
fn by_names(text: &str) -> Option<Kind> {
    text.lines().take(LOOKED_AT).find_map(|line| {
        let drawn = line.trim().starts_with('|');
        let names: Vec<&str> = match drawn {
            true => line.trim().trim_matches('|').split('|').map(str::trim).collect(),
            false => line.split(',').map(|name| name.trim().trim_matches('"')).collect(),
        };
        let has = |all: &[&str]| all.iter().all(|name| names.contains(name));
        match drawn {
            true if has(&["test", "t/s"]) => Some(Kind::LlamaBench),
            true if has(&["PP", "TG", "B", "T_TG s"]) => Some(Kind::BatchedBench),
            false if has(&["n_prompt", "n_gen", "avg_ns"]) => Some(Kind::LlamaBench),
            false if has(&["exit_layer", "num_speculations"]) => Some(Kind::LayerSkipSweep),
            _ => None,
        }
    })
}

/// Lines in which the names of a table are looked for: an engine's log may stand above it.
const LOOKED_AT: usize = 1000;

#[cfg(test)]
mod tests;
