//! From evaluated plans to the recommendation: which is best, what ties with it, whether to
//! speculate at all.

use crate::choose::baseline::{WORTH, baseline, plain_rate};
use crate::choose::by_task::by_task;
use crate::choose::deciding::limits;
use crate::choose::grid::{PlanEvaluation, grid};
use crate::choose::notes;
use crate::choose::regret::regret;
use crate::choose::states;
use crate::error::Result;
use crate::predict::evaluated::Evaluated;
use crate::predict::held_out::{Errors, held_out_of};
use crate::predict::reported::ENOUGH_BLOCKS;
use crate::predict::request::Request;
use crate::statistics::{product, quantile, tail};
use rayon::prelude::*;
use s3d_data::{
    Answer, Basis, Plan, PlanResult, Recommendation, Run, RunHeader, SCHEMA_VERSION, Skip,
    SkipRatio, TimesFrom,
};
use serde::Serialize;

/// Ties beyond this number are counted but not listed.
const MOST_TIES: usize = 64;

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// What is recorded and printed.
    pub recommendation: Recommendation,
    /// Every plan, the fastest prediction first.
    pub grid: Vec<PlanEvaluation>,
    /// Of the choice and its ties, the one with the least memory.
    pub cheapest_tie: Option<Plan>,
    /// Whether a context lies outside those that were timed.
    pub extrapolated: bool,
    /// Predictions of plans that were held out, where they were asked for.
    #[serde(skip)]
    pub held_out: Option<Errors>,
}

/// A chosen plan: its index, and the blocks left to report it.
pub(super) struct Chosen {
    pub(super) index: usize,
    report: Vec<usize>,
}

pub(super) fn select(run: &Run, request: &Request, all: &Evaluated) -> Result<Choice> {
    let chosen = choose_index(all);
    let ties = chosen.as_ref().map_or(Vec::new(), |chosen| ties(all, chosen.index));
    let choice = chosen.as_ref().map(|c| result(run, all, c.index, &c.report)).transpose()?;
    let listed: Vec<PlanResult> = ties
        .iter()
        .take(MOST_TIES)
        .map(|&tie| {
            let report = all.blocks.purposes(&all.plan(tie)).reporting();
            result(run, all, tie, &report)
        })
        .collect::<Result<_>>()?;
    let members = chosen.iter().map(|c| c.index).chain(ties.iter().copied());
    let cheapest = members
        .filter_map(|index| Some((all.memory[index]?.peak_bytes, index)))
        .min_by_key(|(bytes, _)| *bytes);
    let cheapest_tie = cheapest.map(|(_, index)| all.plan(index));
    let known = chosen.as_ref().filter(|_| all.traced);
    let regret = known.and_then(|c| regret(run, all, c.index));
    let index = chosen.as_ref().map(|chosen| chosen.index);
    let (answer, reason) = answer(choice.as_ref().zip(index), request, all, &run.header);
    let mut notes = notes::of(all, index.map(|index| &all.predictions[index]));
    notes.extend(states::two_best(run, request, all).map(|two| two.sentence()));
    notes.extend(index.and_then(|choice| states::holds_for(all, choice)));
    notes.extend(index.iter().flat_map(|choice| limits(request, run, all, *choice)));
    notes.extend(index.and_then(|index| notes::tie(all, index, &ties)));
    let header = &run.header;
    let errors = request.with_errors.then(|| held_out_of(run, request, &all.walked)).transpose()?;
    let held_out = errors.flatten();
    let prediction_error = held_out.as_ref().map(|errors| errors.summary.clone());
    let recommendation = Recommendation {
        schema_version: SCHEMA_VERSION,
        model: header.model.name.clone(),
        device: header.device.clone(),
        machine: header.machines.get(request.machine).map(|machine| machine.model.clone()),
        dtype: header.dtype.clone(),
        widen: header.widen,
        context: request.context(),
        imposed: header.imposed.clone(),
        sampling: header.sampling,
        baseline: baseline(run, request, all),
        choice,
        speculate: answer == Answer::Speculate,
        verdict: Some(answer),
        reason,
        notes,
        ties: listed,
        by_batch: Vec::new(),
        break_even_batch: None,
        by_task: index.map_or(Vec::new(), |index| by_task(all, index, request)),
        by_context: Vec::new(),
        context_limit: None,
        regret_bound: regret.as_ref().map(|r| r.estimate),
        regret_basis: regret.map(|r| r.basis),
        prediction_error,
        evaluated: all.predictions.len(),
        seconds_measuring: header.seconds_measuring,
    };
    let extrapolated = all.costs.extrapolated();
    let grid = grid(run, all, &recommendation);
    Ok(Choice { recommendation, grid, cheapest_tie, extrapolated, held_out })
}

/// The plan that was chosen before and confirmed since, unless another is better now; else the
/// best.
pub(super) fn choose_index(all: &Evaluated) -> Option<Chosen> {
    let best = best_index(all)?;
    let confirmed = |index: usize| all.blocks.purposes(&all.plan(index)).confirmed();
    let stands = |&index: &usize| {
        all.fits[index] && confirmed(index) && (index == best || may_be_as_good(all, index, best))
    };
    let index = (0..all.predictions.len()).find(stands).unwrap_or(best);
    Some(Chosen { index, report: all.blocks.purposes(&all.plan(index)).reporting() })
}

/// The best plan that fits. Where leading plans were set beside each other for this question, one
/// of them; else by prediction and by what end-to-end blocks say about costs, of the plan itself
/// and of plans like it.
fn best_index(all: &Evaluated) -> Option<usize> {
    let fitting = || (0..all.predictions.len()).filter(|&index| all.fits[index]);
    let ran_off = |&index: &usize| all.ran_off[index];
    let better = |a: &usize, b: &usize| all.scores[*a].total_cmp(&all.scores[*b]);
    fitting().filter(ran_off).max_by(better).or_else(|| fitting().max_by(better))
}

/// Whether the paired interval of `choice - plan` reaches 0: of their measured speedups where both
/// have one, else of the predictions.
fn may_be_as_good(all: &Evaluated, index: usize, choice: usize) -> bool {
    let (plan, choice) = match (&all.reported[index], &all.reported[choice]) {
        (Some(plan), Some(choice)) => (&plan.draws, &choice.draws),
        _ => (&all.predictions[index].draws, &all.predictions[choice].draws),
    };
    let at_least = plan.iter().zip(choice).filter(|(plan, choice)| plan >= choice).count();
    at_least as f64 >= tail(all.prompts) * plan.len() as f64
}

/// Plans that fit and cannot be told apart from the choice, the fastest first.
fn ties(all: &Evaluated, choice: usize) -> Vec<usize> {
    let tied =
        |&index: &usize| index != choice && all.fits[index] && may_be_as_good(all, index, choice);
    let mut ties: Vec<usize> = (0..all.predictions.len()).into_par_iter().filter(tied).collect();
    let value = |index: usize| {
        let reported = all.reported[index].as_ref().map(|reported| reported.speedup);
        reported.unwrap_or(all.predictions[index].speedup).value
    };
    ties.sort_by(|&a, &b| value(b).total_cmp(&value(a)));
    ties
}

/// What is recorded of one plan.
pub(super) fn result(
    run: &Run,
    all: &Evaluated,
    index: usize,
    report: &[usize],
) -> Result<PlanResult> {
    let prediction = &all.predictions[index];
    let (draft, layers) = (&prediction.plan, run.header.model.shape.layers);
    let plan = Plan::Speculate(draft.clone());
    let window = draft.skip.window();
    let measured = all.reported[index].as_ref().map(|reported| reported.speedup);
    let direct = all.blocks.speedup(&plan, report);
    // Speed is speedup times that of plain decoding, so that one plan has one speedup wherever it
    // is read.
    let rate = plain_rate(all).map(|plain| product(measured.unwrap_or(prediction.speedup), plain));
    Ok(PlanResult {
        plan,
        drafting: draft.drafting,
        skip_start: window.map(|w| w.start()),
        skip_end: window.map(|w| w.end()),
        layers,
        skip_ratio: skip_ratio(&draft.skip, layers)?,
        skip_set: match &draft.skip {
            Skip::Set { layers, .. } => Some((**layers).clone()),
            Skip::Window(_) => None,
        },
        predictors: draft.predictors.get(),
        predicted_speedup: all.traced.then_some(prediction.speedup),
        measured_speedup: measured,
        direct_speedup: direct,
        tokens_per_s: rate,
        tokens_per_iteration: Some(prediction.tokens_per_iteration),
        basis: if measured.is_some() { Basis::Measured } else { Basis::Predicted },
        peak_memory_bytes: all.memory[index].map(|memory| memory.peak_bytes.0),
        // Of one text every draw is the same.
        probability_best: (all.prompts > 1).then(|| all.probability_best[index]),
    })
}

fn skip_ratio(skip: &Skip, layers: usize) -> Result<SkipRatio> {
    let ratio = crate::traces::table::skipped_layers(skip) / layers.max(1) as f64;
    Ok(SkipRatio::new(ratio)?)
}

/// Whether to speculate, and why not. *Speculate*: 95 % sure that the choice is faster than plain
/// decoding. *Do not*: 95 % sure that no plan gains more than [`WORTH`]. Else, and where the choice
/// was run in too few blocks to have a measured speedup: *cannot tell yet*.
pub(super) fn answer(
    choice: Option<(&PlanResult, usize)>,
    request: &Request,
    all: &Evaluated,
    header: &RunHeader,
) -> (Answer, Option<String>) {
    let Some((choice, index)) = choice else {
        let budget = request.memory_budget.map_or(String::new(), |budget| budget.to_string());
        return (Answer::DoNot, Some(format!("no plan fits the memory budget of {budget}")));
    };
    let plan = &choice.plan;
    let prediction = &all.predictions[index];
    let (how, speedup, most) = match choice.measured_speedup {
        Some(measured) => ("measured", measured, measured.ends().1),
        None => ("predicted", prediction.speedup, best_speedup(all)),
    };
    let blocks = all.block_counts[index];
    let imported = header.times_from() == TimesFrom::OtherEngine;
    if (1..ENOUGH_BLOCKS).contains(&blocks) && !imported {
        let known = if all.traced { "predicted" } else { "so far" };
        let reason = format!(
            "{plan} was run in {blocks} of the {ENOUGH_BLOCKS} end-to-end blocks that a measured \
             speedup needs \
             ({known}: {speedup:#.2} times plain decoding); run again with a longer --time-budget"
        );
        return (Answer::CannotTellYet, Some(reason));
    }
    if speedup.is_above(1.0) {
        return (Answer::Speculate, None);
    }
    if speedup.interval().is_some() && most <= WORTH {
        let reason = format!(
            "no plan gains more than 3 %, with 95 % confidence; the best, {plan}, is {how} at \
             {speedup:#.2} times \
             plain decoding"
        );
        return (Answer::DoNot, Some(reason));
    }
    let more = match how {
        _ if imported => "import more texts, or times of more repetitions",
        "measured" => "run again with a longer --time-budget",
        _ => "measure it end to end: s3d run",
    };
    let reason = format!(
        "the best plan, {plan}, is {how} at {speedup:#.2} times plain decoding, too uncertain to \
         say whether it is faster; {more}"
    );
    (Answer::CannotTellYet, Some(reason))
}

/// The speedup that no plan exceeds, with 95 % confidence.
fn best_speedup(all: &Evaluated) -> f64 {
    let best: Vec<f64> = all.best_of_draws.iter().map(|(_, speedup)| *speedup).collect();
    quantile(&best, 0.95).unwrap_or(f64::INFINITY)
}
