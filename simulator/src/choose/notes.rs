//! What a recommendation leaves open, in sentences: why there is no interval, and what counts do
//! not say.

use crate::predict::evaluated::Evaluated;
use crate::predict::prediction::Prediction;

/// Notes on the evaluated plans, and on the prediction of the chosen one.
pub(super) fn of(all: &Evaluated, chosen: Option<&Prediction>) -> Vec<String> {
    let mut notes = Vec::new();
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
