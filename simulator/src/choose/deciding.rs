//! Which limit of the question decides the choice: memory, context, most drafts.

use crate::cost::memory::room;
use crate::predict::evaluated::Evaluated;
use crate::predict::request::Request;
use s3d_data::{Drafting, Run, RunHeader, Share};

/// Share of the memory that should stay free.
const FREE: f64 = 0.05;
/// What was reported of a plan that left less: sudoingX/qwen38-mtp, pull request 48, a card of
/// 10 GB whose last megabytes decide.
const REPORTED: &str = "reported of a card of 10 GB: 47 % faster at 8k tokens of context, 43 % \
                        slower at 16k; github.com/sudoingX/qwen38-mtp/pull/48";

/// A sentence for each limit but for which another plan would be chosen, or may be, and one where
/// the choice comes near the edge of the memory.
pub(super) fn limits(request: &Request, run: &Run, all: &Evaluated, choice: usize) -> Vec<String> {
    let header = &run.header;
    let found = [
        memory(request, all, choice),
        edge(request, run, all, choice),
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

/// A choice that leaves less than [`FREE`] of the memory.
fn edge(request: &Request, run: &Run, all: &Evaluated, choice: usize) -> Option<String> {
    let (peak, room) = (all.memory[choice]?.peak_bytes, room(run, request)?);
    let free = 1.0 - peak.0 as f64 / room.bytes.0.max(1) as f64;
    let which = if room.budget { "the memory budget of" } else { "the device's memory of" };
    let (plan, context) = (all.plan(choice), request.context());
    (free < FREE).then(|| {
        format!(
            "Near the edge of the memory: at {context} tokens of context {plan} leaves {} of \
             {which} {} free, less than {}. Beyond that edge engines get slower, without an error \
             ({REPORTED}).",
            Share(free.max(0.0)),
            room.bytes,
            Share(FREE),
        )
    })
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
