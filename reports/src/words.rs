//! Results in words: the verdict, what the baseline was, and how the numbers were made.

pub mod baseline;
pub mod by_batch;
pub mod by_context;
pub mod by_task;
pub mod caveat;
pub mod provenance;
pub mod verdict;
pub mod warnings;

use s3d_simulator::PlanEvaluation;

/// `text` as the beginning of a sentence.
pub(crate) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    format!("{}{}", first.unwrap_or_default(), letters.as_str())
}

/// A plan and what is known of its speedup.
pub(crate) fn plan_words(plan: &PlanEvaluation) -> String {
    let mut words = plan.plan.to_string();
    for (name, speedup) in [("predicted", plan.prediction()), ("measured", plan.measured_speedup)] {
        if let Some(speedup) = speedup {
            words += &format!("; {name} {speedup:#}");
        }
    }
    words
}
