//! Many texts at once in words: one line.

use s3d_data::{Answer, BatchResult, Estimate, Plan, Recommendation};

/// The plans by number of texts, and from how many on plain decoding wins; nothing where several
/// texts were not timed.
pub fn sentence(recommendation: &Recommendation) -> Option<String> {
    let rows = &recommendation.by_batch;
    let several = rows.iter().filter(|row| row.batch > 1);
    let rows: Vec<String> = several.map(one).collect();
    if rows.is_empty() {
        return None;
    }
    Some(format!(
        "Many texts at once: {}; {}.",
        rows.join(", "),
        even(recommendation, &recommendation.by_batch)
    ))
}

/// `4 texts 1.42 times with 2 drafts`, or `16 texts 1.01 times, too close to tell`.
fn one(row: &BatchResult) -> String {
    let speedup = row.speedup().value;
    match row.verdict {
        Answer::DoNot => format!("{} texts {speedup:.2} times at best", row.batch),
        Answer::CannotTellYet => {
            format!("{} texts {speedup:.2} times, too close to tell", row.batch)
        }
        _ => format!("{} texts {speedup:.2} times with {}", row.batch, drafts(&row.plan)),
    }
}

fn even(recommendation: &Recommendation, rows: &[BatchResult]) -> String {
    match &recommendation.break_even_batch {
        Some(even) => format!(
            "plain decoding wins from {:.1} texts on{} ({} and {} were timed)",
            even.texts.value,
            ends(even.texts),
            even.below,
            even.above
        ),
        None if rows.iter().all(|row| row.speedup().value >= 1.0) => {
            let most = rows.last().map_or(1, |row| row.batch);
            format!("no more than {most} were timed, and plain decoding wins at none of them")
        }
        None if rows.iter().all(|row| row.speedup().value < 1.0) => {
            "plain decoding wins at every number that was timed".into()
        }
        None => "plain decoding wins at some of these numbers, but not at every larger one".into(),
    }
}

fn ends(estimate: Estimate) -> String {
    let interval = estimate.interval();
    interval.map_or(String::new(), |(low, high)| format!(" [{low:.1}, {high:.1}]"))
}

fn drafts(plan: &Plan) -> String {
    match plan.draft().map_or(0, |draft| draft.predictors.get()) {
        1 => "1 draft".into(),
        drafts => format!("{drafts} drafts"),
    }
}
