//! The choice by task in words: one line a task where tasks differ, nothing where they do not.

use crate::words::capital;
use s3d_data::{Answer, Estimate, Plan, Recommendation, Share, TaskResult};

/// Tasks that have a sentence of their own; the table on the page has all.
const MOST: usize = 8;

/// One sentence for each task and one for the one plan, where tasks differ beyond their intervals.
pub fn sentences(recommendation: &Recommendation) -> Vec<String> {
    let tasks = &recommendation.by_task;
    let Some(choice) = recommendation.choice.as_ref().filter(|_| differ(tasks)) else {
        return Vec::new();
    };
    // What asks for something else than the choice is said first.
    let mut told: Vec<&TaskResult> = tasks.iter().collect();
    told.sort_by_key(|task| task.verdict != Answer::DoNot && !task.loss_of_choice.is_above(0.0));
    let lines = told.iter().take(MOST).map(|task| sentence(task, &choice.plan));
    let more = tasks.len().checked_sub(MOST).filter(|more| *more > 0);
    let more = more.map(|more| format!("{more} more tasks stand in the table by task."));
    lines.chain(more).chain(one_plan(tasks)).collect()
}

/// Whether two tasks differ in speedup beyond their intervals, the choice loses in one, or no plan
/// pays in one.
fn differ(tasks: &[TaskResult]) -> bool {
    let known = |task: &&TaskResult| !task.speedup.is_wide();
    let ends = || tasks.iter().filter(known).filter_map(|task| task.speedup.interval());
    let lowest = ends().map(|(_, high)| high).fold(f64::INFINITY, f64::min);
    let highest = ends().map(|(low, _)| low).fold(f64::NEG_INFINITY, f64::max);
    let lost = |task: &TaskResult| task.loss_of_choice.is_above(0.0);
    highest > lowest || tasks.iter().any(|task| lost(task) || task.verdict == Answer::DoNot)
}

/// `code: 3.10 times [2.90, 3.31] with 6 drafts (2..10:6)`.
fn sentence(task: &TaskResult, choice: &Plan) -> String {
    let name = capital(&task.task);
    if task.speedup.is_wide() {
        return format!("{name}: more texts are needed ({} were traced).", task.texts);
    }
    let speedup = format!("{:.2} times plain decoding{}", task.speedup.value, ends(task.speedup));
    let plan = match task.plan == *choice {
        true => "with the choice".to_string(),
        false => format!("with a plan of its own, {} ({})", drafts(&task.plan), task.plan),
    };
    match task.verdict {
        Answer::Speculate => format!("{name}: {speedup} {plan}."),
        Answer::DoNot => format!("{name}: no plan beats plain decoding; the best is at {speedup}."),
        Answer::CannotTellYet => format!("{name}: {speedup} {plan}, which may be no gain."),
    }
}

fn ends(estimate: Estimate) -> String {
    let interval = estimate.interval();
    interval.map_or(String::new(), |(low, high)| format!(" [{low:.2}, {high:.2}]"))
}

fn drafts(plan: &Plan) -> String {
    match plan.draft().map_or(0, |draft| draft.predictors.get()) {
        1 => "1 draft".into(),
        drafts => format!("{drafts} drafts"),
    }
}

/// What one plan for all loses in the task where it loses most.
fn one_plan(tasks: &[TaskResult]) -> Option<String> {
    let lost = tasks.iter().filter(|task| task.loss_of_choice.is_above(0.0));
    let worst = lost.max_by(|a, b| a.loss_of_choice.value.total_cmp(&b.loss_of_choice.value))?;
    let interval = worst.loss_of_choice.interval();
    let ends = interval.map(|(low, high)| format!(" [{}, {}]", Share(low), Share(high)));
    Some(format!(
        "One plan for all loses {}{} in {}.",
        Share(worst.loss_of_choice.value),
        ends.unwrap_or_default(),
        worst.task
    ))
}
