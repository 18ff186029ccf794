//! The choice by context: which plan at which length of text, and where speculation stops to pay.
//!
//! Acceptance is taken as that of the traced texts at every context. What moves is the cost: of an
//! iteration, and of the plain step that it is measured by. Each context is answered as if it alone
//! had been asked about ([`crate::choose()`]); at the run's own context that is the run's own
//! answer.

use crate::choose::baseline::plain_rate;
use crate::choose::select::{answer, choose_index, result};
use crate::cost::memory::plain_memory;
use crate::error::{Error, Result};
use crate::predict::evaluated::Evaluated;
use crate::predict::request::Request;
use crate::statistics::{interval, product, quantile_of_sorted, tail};
use s3d_data::results::CONTEXTS;
use s3d_data::{ContextBasis, ContextLimit, ContextResult, Estimate, Plan, PlanResult, Run};

/// What there is to say at several contexts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ByContext {
    /// Each context, rising.
    pub contexts: Vec<ContextResult>,
    /// Up to which of them speculation pays.
    pub limit: Option<ContextLimit>,
    /// Plain decoding, the choice, and each plan that is best at one of them.
    pub curves: Vec<PlanCurve>,
}

/// A plan over contexts.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanCurve {
    /// The plan.
    pub plan: Plan,
    /// Contexts at which its speed is known, rising.
    pub points: Vec<PlanAtContext>,
}

/// A plan at one context.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlanAtContext {
    /// Tokens of context.
    pub context: usize,
    /// Speedup over plain decoding there; 1 of plain decoding.
    pub speedup: Estimate,
    /// Tokens per second, where the speed of plain decoding is known.
    pub tokens_per_s: Option<Estimate>,
    /// Peak memory, where the model's shape is known.
    pub peak_memory_bytes: Option<u64>,
    /// How the speedup is known.
    pub basis: ContextBasis,
}

/// What stays of one context while the others are evaluated.
struct Asked {
    result: ContextResult,
    /// Speedup of the plan in each draw.
    draws: Vec<f64>,
    /// Texts, the clusters of the draws.
    prompts: usize,
    plain: PlanAtContext,
    /// Every plan.
    plans: Vec<(Plan, PlanAtContext)>,
}

/// The choice at each of `contexts`, beside `choice`, the one plan for all. Nothing where they are
/// fewer than two, nothing was traced, or `request` asks about another context than the run did.
///
/// # Errors
/// What [`crate::choose()`] refuses; more contexts than [`CONTEXTS`].
pub fn by_context(
    run: &Run,
    request: &Request,
    contexts: &[usize],
    choice: Option<&PlanResult>,
) -> Result<ByContext> {
    if contexts.len() > CONTEXTS {
        return Err(Error::domain("contexts", format!("at most {CONTEXTS}"), contexts.len()));
    }
    let traced = !run.observations.traces.is_empty();
    if contexts.len() < 2 || !traced || !request.asks_where_measured(&run.header) {
        return Ok(ByContext::default());
    }
    let choice = choice.map(|choice| &choice.plan);
    let one = |&context: &usize| asked(run, request, context, choice);
    let asked: Vec<Asked> = contexts.iter().map(one).collect::<Result<_>>()?;
    let curves = curves(&asked, choice);
    Ok(ByContext {
        limit: limit(&asked),
        contexts: asked.into_iter().map(|one| one.result).collect(),
        curves,
    })
}

/// Asks about one context alone.
fn asked(run: &Run, request: &Request, context: usize, choice: Option<&Plan>) -> Result<Asked> {
    let at = Request { contexts: vec![(context, 1.0)], with_errors: false, ..request.clone() };
    let all = Evaluated::new(run, &at)?;
    let chosen = choose_index(&all);
    let best = chosen.map(|c| Ok::<_, Error>((result(run, &all, c.index, &[])?, c.index)));
    let best = best.transpose()?;
    let (verdict, _) = answer(best.as_ref().map(|(b, index)| (b, *index)), &at, &all, &run.header);
    let own = choice.and_then(|plan| (0..all.fits.len()).find(|&i| all.plan(i) == *plan));
    let own = own.filter(|&index| all.fits[index]);
    let index = best.as_ref().map(|(_, index)| *index);
    let plain = at_context(context, Estimate::exact(1.0), &all, None);
    let plain = PlanAtContext {
        peak_memory_bytes: plain_memory(run, context)?.map(|memory| memory.peak_bytes.0),
        ..plain
    };
    let result = ContextResult {
        context,
        verdict,
        basis: index.map_or(plain.basis, |index| basis(&all, index)),
        speedup: index.map(|index| speedup(&all, index)),
        speedup_of_choice: own.map(|index| speedup(&all, index)),
        loss_of_choice: index.zip(own).map(|(best, own)| loss(&all, best, own)),
        tokens_per_s: best.as_ref().and_then(|(best, _)| best.tokens_per_s),
        plain_tokens_per_s: plain.tokens_per_s,
        peak_memory_bytes: index.and_then(|index| Some(all.memory[index]?.peak_bytes)),
        plan: best.map(|(best, _)| best.plan),
    };
    let row = |index: usize| {
        let at = at_context(context, speedup(&all, index), &all, Some(index));
        (all.plan(index), at)
    };
    let draws = index.map_or(Vec::new(), |index| draws(&all, index).to_vec());
    let plans = (0..all.predictions.len()).map(row).collect();
    Ok(Asked { result, draws, prompts: all.prompts, plain, plans })
}

fn at_context(
    context: usize,
    speedup: Estimate,
    all: &Evaluated,
    index: Option<usize>,
) -> PlanAtContext {
    let plain = plain_rate(all);
    PlanAtContext {
        context,
        speedup,
        tokens_per_s: plain.map(|plain| product(speedup, plain)),
        peak_memory_bytes: index.and_then(|index| Some(all.memory[index]?.peak_bytes.0)),
        basis: index.map_or(predicted(all), |index| basis(all, index)),
    }
}

/// Measured where that is reported, else predicted: the number that the run reports elsewhere.
fn speedup(all: &Evaluated, index: usize) -> Estimate {
    let reported = all.reported[index].as_ref().map(|reported| reported.speedup);
    reported.unwrap_or(all.predictions[index].speedup)
}

fn draws<'a>(all: &'a Evaluated, index: usize) -> &'a [f64] {
    let reported = all.reported[index].as_ref().map(|reported| &reported.draws);
    reported.unwrap_or(&all.predictions[index].draws)
}

fn basis(all: &Evaluated, index: usize) -> ContextBasis {
    match all.reported[index] {
        Some(_) => ContextBasis::Measured,
        None => predicted(all),
    }
}

fn predicted(all: &Evaluated) -> ContextBasis {
    match all.costs.extrapolated() {
        true => ContextBasis::Extrapolated,
        false => ContextBasis::Predicted,
    }
}

/// What plan `own` loses against plan `best`. Measured costs are compared with measured ones only,
/// predicted with predicted.
fn loss(all: &Evaluated, best: usize, own: usize) -> Estimate {
    let alike = all.reported[best].is_some() == all.reported[own].is_some();
    let of = |index: usize| match alike {
        true => (speedup(all, index).value, draws(all, index)),
        false => (all.predictions[index].speedup.value, &all.predictions[index].draws[..]),
    };
    let ((best, of_best), (own, of_own)) = (of(best), of(own));
    let lost = of_own.iter().zip(of_best).map(|(own, best)| 1.0 - own / best);
    // A draw without a prompt of a plan says nothing about it.
    interval(1.0 - own / best, lost.filter(|lost| lost.is_finite()).collect(), all.prompts)
}

/// Plain decoding, the choice, and what is best somewhere, each where its speed is known.
fn curves(asked: &[Asked], choice: Option<&Plan>) -> Vec<PlanCurve> {
    let mut plans: Vec<&Plan> = choice.into_iter().collect();
    for best in asked.iter().filter_map(|one| one.result.plan.as_ref()) {
        if !plans.contains(&best) {
            plans.push(best);
        }
    }
    let curve = |plan: &Plan| {
        let point = |one: &Asked| one.plans.iter().find(|(other, _)| other == plan).map(|p| p.1);
        PlanCurve { plan: plan.clone(), points: asked.iter().filter_map(point).collect() }
    };
    let plain =
        PlanCurve { plan: Plan::Plain, points: asked.iter().map(|one| one.plain).collect() };
    std::iter::once(plain).chain(plans.into_iter().map(curve)).collect()
}

/// Up to which context the best plan is faster than plain decoding; nothing where no plan fits at
/// any.
fn limit(asked: &[Asked]) -> Option<ContextLimit> {
    let known = |one: &Asked| Some((one.result.context, one.result.speedup?.value));
    let line: Vec<(usize, f64)> = asked.iter().filter_map(known).collect();
    let last = last_paying(&line);
    let context = |place: usize| line.get(place).map(|(context, _)| *context);
    (!line.is_empty()).then(|| ContextLimit {
        pays_up_to: last.and_then(context),
        stops_by: context(last.map_or(0, |last| last + 1)),
        crossing: crossing(&line).map(|value| with_interval(value, asked)),
    })
}

/// The crossing with its interval over draws, which all contexts share. An end beyond the contexts
/// that were asked about is not known.
fn with_interval(value: f64, asked: &[Asked]) -> Estimate {
    let count = asked.iter().map(|one| one.draws.len()).filter(|draws| *draws > 0).min();
    let draw = |draw: usize| {
        let at = |one: &Asked| Some((one.result.context, *one.draws.get(draw)?));
        let line: Vec<(usize, f64)> = asked.iter().filter_map(at).collect();
        match last_paying(&line) {
            None => f64::NEG_INFINITY,
            Some(_) => crossing(&line).unwrap_or(f64::INFINITY),
        }
    };
    let mut found: Vec<f64> = (0..count.unwrap_or(0)).map(draw).collect();
    found.sort_by(f64::total_cmp);
    let outside = tail(asked.iter().map(|one| one.prompts).min().unwrap_or(0));
    let seen = asked.iter().all(|one| one.prompts > 1);
    let end = |q: f64| quantile_of_sorted(&found, q).filter(|end| seen && end.is_finite());
    Estimate { value, low: end(outside), high: end(1.0 - outside) }
}

/// The last place of a line through `(context, speedup)` at which speculation pays.
fn last_paying(line: &[(usize, f64)]) -> Option<usize> {
    line.iter().rposition(|(_, speedup)| *speedup >= 1.0)
}

/// Where a line falls to 1 for the last time; nothing where it does not.
fn crossing(line: &[(usize, f64)]) -> Option<f64> {
    let last = last_paying(line)?;
    let ((from, above), (to, below)) = (line[last], *line.get(last + 1)?);
    let share = (above - 1.0) / (above - below);
    Some(from as f64 + share * (to as f64 - from as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crossing_lies_between_the_contexts_on_both_sides_of_one() {
        // source: by hand: from 1.5 at 100 to 0.5 at 300 the middle is 1
        assert_eq!(crossing(&[(50, 2.0), (100, 1.5), (300, 0.5)]), Some(200.0));
        assert_eq!(crossing(&[(50, 2.0), (100, 1.5)]), None, "pays at all");
        assert_eq!(crossing(&[(50, 0.9), (100, 0.8)]), None, "pays at none");
        // What falls, rises and falls again stops for good at its last fall.
        assert_eq!(crossing(&[(1, 0.75), (2, 1.25), (4, 0.75)]), Some(3.0));
    }
}
