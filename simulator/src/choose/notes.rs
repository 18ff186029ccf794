//! What a recommendation leaves open, in sentences: why there is no interval, and what counts do
//! not say.

use crate::predict::evaluated::Evaluated;
use crate::predict::prediction::Prediction;

/// Notes on the evaluated plans, and on the prediction of the chosen one.
pub(super) fn of(all: &Evaluated, chosen: Option<&Prediction>) -> Vec<String> {
    let mut notes = Vec::new();
    if !all.traced {
        notes.push(format!(
            "Chosen among the {} plans that were run end to end: nothing was traced, so no other \
             plan is predicted (s3d run traces).",
            all.predictions.len()
        ));
    }
    if all.prompts == 1 {
        notes.push(
            "One text: no interval. Give several texts or workloads, each with an id of its own."
                .into(),
        );
    }
    if all.costs.blocks == 1 {
        notes.push(
            "One block of times: no interval of speedups. Time every pass several times and \
             number the \
             rounds by 'block'."
                .into(),
        );
    }
    notes.extend(chosen.and_then(counted));
    notes
}

/// Why the choice is the choice although a tied plan shows a higher number.
pub(super) fn tie(all: &Evaluated, choice: usize, ties: &[usize]) -> Option<String> {
    let shown = |index: usize| {
        let reported = all.reported[index].as_ref().map(|reported| reported.speedup.value);
        reported.unwrap_or(all.predictions[index].speedup.value)
    };
    let highest = ties.iter().copied().max_by(|&a, &b| shown(a).total_cmp(&shown(b)))?;
    let ahead = format!("{:.2}", shown(highest));
    if shown(highest) <= shown(choice) || ahead == format!("{:.2}", shown(choice)) {
        return None;
    }
    let why = match (all.ran_off[choice], all.scores[choice] >= all.scores[highest]) {
        (true, true) if all.ran_off[highest] => {
            "where the leading plans ran side by side, the choice was ahead"
        }
        (true, true) => "the choice was the best of the leading plans that ran side by side",
        (_, true) => "by all that is known of costs the choice is ahead",
        (_, false) => "the choice was confirmed by blocks of its own, and no plan is surely better",
    };
    let plan = all.plan(highest);
    Some(format!("{plan} shows {ahead}, which is within the intervals: {why}."))
}

/// What counts of more drafts leave open about fewer.
fn counted(chosen: &Prediction) -> Option<String> {
    let (counted, (low, high)) = (chosen.counted?, chosen.readings?);
    let drafts = match chosen.plan.predictors.get() {
        1 => "1 draft".to_string(),
        drafts => format!("{drafts} drafts"),
    };
    Some(format!(
        "Acceptance was counted at {counted} drafts per iteration; {drafts} per iteration would \
         start at \
         other positions, which the counts do not know. Tokens per iteration then lie between \
         {low:.2} (a token \
         that failed deep in a draft fails as a first draft too) and {high:.2} (it does not)."
    ))
}
