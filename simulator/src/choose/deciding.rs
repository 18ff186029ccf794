//! Which limit of the question decides the choice: memory, context, most drafts.

use crate::predict::evaluated::Evaluated;
use crate::predict::request::Request;
use s3d_data::{Drafting, RunHeader};

/// A sentence for each limit but for which another plan would be chosen, or may be.
pub(super) fn limits(
    request: &Request,
    header: &RunHeader,
    all: &Evaluated,
    choice: usize,
) -> Vec<String> {
    let found = [
        memory(request, all, choice),
        context(request, header, all),
        drafts(request, header, all, choice),
    ];
    found.into_iter().flatten().collect()
}

/// A plan that does not fit the budget and is faster than the choice.
fn memory(request: &Request, all: &Evaluated, choice: usize) -> Option<String> {
    let budget = request.memory_budget?;
    let faster = |index: &usize| !all.fits[*index] && all.scores[*index] > all.scores[choice];
    let without = (0..all.scores.len())
        .filter(faster)
        .max_by(|a, b| all.scores[*a].total_cmp(&all.scores[*b]))?;
    Some(format!(
        "The memory budget of {budget} decides: without it {} would be chosen, at {:.2} times plain \
         decoding (predicted), with a peak of {}.",
        all.plan(without),
        all.scores[without],
        all.memory[without]?.peak_bytes
    ))
}

/// Another context than the run's own.
fn context(request: &Request, header: &RunHeader, all: &Evaluated) -> Option<String> {
    if request.asks_where_measured(header) {
        return None;
    }
    let how = match all.costs.extrapolated() {
        true => "lies outside those that were timed: costs are extrapolated",
        false => "is not the run's own",
    };
    Some(format!(
        "A context of {} tokens {how}; speedups are predicted, and measured ones (at {} tokens) are \
         not shown.",
        request.context(),
        header.context
    ))
}

/// A choice that drafts as many tokens as are allowed, and gained by the last of them.
fn drafts(request: &Request, header: &RunHeader, all: &Evaluated, choice: usize) -> Option<String> {
    let plan = &all.predictions[choice].plan;
    let drafts = plan.predictors.get();
    let fewer = all.predictions.iter().position(|other| {
        other.plan.draft() == plan.draft() && other.plan.predictors.get() + 1 == drafts
    })?;
    let rising = all.scores[choice] > all.scores[fewer];
    if !rising || drafts < request.gamma_max {
        return None;
    }
    let masks = header.model.shape.masks;
    let advice = match plan.drafting {
        Drafting::Simultaneous if masks > 0 && drafts > masks => {
            format!("the model has masks for {drafts}: train it for more")
        }
        _ => format!("allow more with --gamma-max {}", 2 * drafts),
    };
    Some(format!(
        "The most drafts allowed, {drafts}, decide: the last of them still gains; {advice}."
    ))
}
