//! Several runs of one model (precisions, devices, checkpoints) chosen from together.

use crate::choose::select::Choice;
use crate::choose::speed_memory::per_gib;
use crate::statistics::quotient;
use s3d_data::{Bytes, Estimate, Plan, PlanResult};
use serde::Serialize;

/// One way to run the model: of one run, one plan (or plain decoding).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// Place of its run in the list.
    pub run: usize,
    /// Precision of its weights.
    pub dtype: String,
    /// How it decodes.
    pub plan: Plan,
    /// Tokens per second.
    pub tokens_per_s: f64,
    /// Peak memory; null where it is not known, and for plain decoding of a run without any plan.
    pub peak_memory_bytes: Option<u64>,
    /// Whether nothing that fits is both faster and smaller.
    pub pareto: bool,
}

/// Every plan of every run that fits `budget`, and plain decoding of each run, the fastest first,
/// with the Pareto front of speed and memory over all runs marked. The first is the choice.
pub fn compare_runs(choices: &[Choice], budget: Option<Bytes>) -> Vec<Candidate> {
    let budget = budget.map_or(u64::MAX, |budget| budget.0);
    let mut all: Vec<Candidate> =
        choices.iter().enumerate().flat_map(|(i, c)| of_run(i, c)).collect();
    all.retain(|candidate| candidate.peak_memory_bytes.is_none_or(|bytes| bytes <= budget));
    all.sort_by(|a, b| b.tokens_per_s.total_cmp(&a.tokens_per_s));
    let mut smallest = u64::MAX;
    for candidate in &mut all {
        let bytes = candidate.peak_memory_bytes.unwrap_or(u64::MAX);
        candidate.pareto = bytes < smallest;
        smallest = smallest.min(bytes);
    }
    all
}

fn of_run(run: usize, choice: &Choice) -> Vec<Candidate> {
    let recommendation = &choice.recommendation;
    let Some(plain) = recommendation.baseline.tokens_per_s else { return Vec::new() };
    let dtype = &recommendation.dtype;
    let candidate = |plan: Plan, tokens_per_s: f64, peak_memory_bytes: Option<u64>| Candidate {
        run,
        dtype: dtype.clone(),
        plan,
        tokens_per_s,
        peak_memory_bytes,
        pareto: false,
    };
    // Plain decoding needs less than any plan of its run: at most what the smallest one needs.
    let smallest = choice.grid.iter().filter_map(|row| row.peak_memory_bytes).min();
    let plans = choice.grid.iter().map(|row| {
        let speedup = row.measured_speedup.unwrap_or(row.predicted_speedup).value;
        candidate(row.plan.clone(), plain.value * speedup, row.peak_memory_bytes)
    });
    std::iter::once(candidate(Plan::Plain, plain.value, smallest)).chain(plans).collect()
}

/// The choice of one run beside that of the first.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Beside {
    /// Its speed over that of the first run's choice.
    pub over_first: Option<Estimate>,
    /// Its speed over its peak memory, in tokens per second and GiB.
    pub per_gib: Option<Estimate>,
}

/// Sets `choice` beside `first`, the choice of the first run; runs are independent.
pub fn beside(choice: &PlanResult, first: Option<&PlanResult>) -> Beside {
    let speed = choice.tokens_per_s;
    let memory = choice.peak_memory_bytes.map(Bytes);
    Beside {
        over_first: speed
            .zip(first.and_then(|first| first.tokens_per_s))
            .map(|(speed, first)| quotient(speed, first)),
        per_gib: speed.zip(memory).map(|(speed, memory)| per_gib(speed, memory)),
    }
}
