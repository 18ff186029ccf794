//! Acceptance as traces: for every window and drafting, how many drafts an iteration would have had
//! accepted at every position of plain texts. One pass answers all positions (see
//! [`s3d_model::trace_text`]); nothing is generated but the plain texts.
//!
//! Many windows are looked at first on few prompts; the rest of the prompts is then spent where the
//! judge says that the choice is undecided.

use crate::bench::{Bench, run_before};
use crate::drawing;
use crate::error::{Error, Result};
use crate::request::{Prompt, Request, Stage};
use crate::stages::coverage;
use crate::stages::reference::plain_text;
use crate::warning::Warning;
use s3d_data::{
    BlockPurpose, Draft, DraftPlan, Drafting, Observation, Plan, Predictors, Seconds, Skip, Trace,
};
use s3d_model::{Imposed, Model, TextTrace, trace_drawn_text, trace_text, trace_text_with_ranks};
use std::collections::{HashMap, HashSet};

/// Output tokens below which a text is not worth tracing.
const SHORTEST_TEXT: usize = 8;
/// Positions of a text that are traced where the time is over before any are.
const SHORT_TEXT: usize = 32;
/// Prompts traced between two questions to the judge.
const PROMPTS_PER_LOOK: usize = 4;
/// Prompts of the first look at every window, where time is short.
const LOOKED_AT: usize = 3;
/// Windows that further texts are for, and leading plans among which they are found.
const LEADING_WINDOWS: usize = 3;
const LEADING_PLANS: usize = 24;
/// Windows whose time on the first prompt tells how long all will take.
const SAMPLED_WINDOWS: usize = 6;

/// Stage: traces prompt after prompt, until there are enough positions or the time is spent.
pub(crate) fn trace_prompts(bench: &mut Bench<'_>) -> Result<()> {
    let request = bench.request;
    let drafts = wanted(request);
    if request.shard.is_some() {
        trace_part(bench, &drafts)?;
        return coverage::beside_generating(bench);
    }
    // A whole job divides its time anyway, and has none for an estimate.
    let whole = request.wants(Stage::Confirmation);
    if request.first_look.is_some() && request.impose.is_none() && !whole {
        announce(bench, &drafts)?;
    }
    let goal = request.first_look.unwrap_or(request.positions);
    let found = trace_until(bench, &drafts, goal, usize::MAX)?;
    if !request.wants(Stage::Refinement) {
        warn_of_few(bench, found, goal);
    }
    coverage::beside_generating(bench)
}

/// Stage: more prompts for the windows that may hold the best plan.
pub(crate) fn refine(bench: &mut Bench<'_>) -> Result<()> {
    let covered = coverage::tokens(bench);
    trace_undecided(bench)?;
    if bench.request.wants(Stage::Confirmation) {
        trace_leading(bench)?;
    }
    coverage::grow(bench, covered)
}

/// More texts for the windows of the leading plans, for as long as the stage lasts: in the end they
/// decide how closely the headline is known.
fn trace_leading(bench: &mut Bench<'_>) -> Result<()> {
    loop {
        let run = run_before(&bench.recorder.run, BlockPurpose::RunOff.blocks().start);
        let plans = bench.judge.leading(&run, LEADING_PLANS).map_err(Error::Judge)?;
        let mut drafts: Vec<Draft> = Vec::new();
        for draft in plans.iter().filter_map(Plan::draft).map(DraftPlan::draft) {
            if !drafts.contains(&draft) && drafts.len() < LEADING_WINDOWS {
                drafts.push(draft);
            }
        }
        let before = bench.recorder.run.observations.traces.len();
        if !drafts.is_empty() && bench.clock.now() < bench.deadline {
            trace_until(bench, &drafts, usize::MAX, PROMPTS_PER_LOOK)?;
        }
        if bench.recorder.run.observations.traces.len() == before {
            return Ok(());
        }
    }
}

/// Traces `drafts` on a few more prompts, where traces are the run's to make.
pub(crate) fn trace_more(bench: &mut Bench<'_>, drafts: &[Draft]) -> Result<()> {
    match bench.request.wants(Stage::Refinement) {
        true => trace_until(bench, drafts, usize::MAX, PROMPTS_PER_LOOK).map(drop),
        false => Ok(()),
    }
}

/// Traces the windows that may hold the best plan, which become fewer with every look. A whole job
/// needs no more positions of all of them than tell which ones lead.
fn trace_undecided(bench: &mut Bench<'_>) -> Result<()> {
    let all = wanted(bench.request);
    let goal = match bench.request.wants(Stage::Confirmation) {
        true => bench.request.positions.min(Request::ENOUGH_POSITIONS),
        false => bench.request.positions,
    };
    let mut announced = false;
    loop {
        let judged = bench.judge.undecided(&bench.recorder.run).map_err(Error::Judge)?;
        let drafts = judged.unwrap_or_else(|| all.clone());
        let before = positions_of(&bench.recorder.run.observations.traces, &drafts);
        if before >= goal {
            return Ok(());
        }
        if !announced {
            announce_refinement(bench, drafts.len(), all.len(), goal - before);
            announced = true;
        }
        let found = trace_until(bench, &drafts, goal, PROMPTS_PER_LOOK)?;
        if found <= before || bench.clock.now() >= bench.deadline {
            warn_of_few(bench, found, goal.min(Request::ENOUGH_POSITIONS));
            return Ok(());
        }
    }
}

/// Traces `drafts` on further prompts, at most `prompts` of them, until each has `goal` positions
/// or the time is spent; returns the positions that each has.
fn trace_until(
    bench: &mut Bench<'_>,
    drafts: &[Draft],
    goal: usize,
    prompts: usize,
) -> Result<usize> {
    let request = bench.request;
    let mut positions = positions_of(&bench.recorder.run.observations.traces, drafts);
    let mut traced = 0;
    for prompt in &request.prompts {
        let late = bench.clock.now() >= bench.deadline && (positions > 0 && looked(bench, drafts));
        if positions >= goal || traced >= prompts || late {
            break;
        }
        let missing = missing(bench, prompt, drafts);
        if missing.is_empty() {
            continue;
        }
        let what = format!(
            "acceptance of {} windows and draftings on prompt {}, {positions} positions so far",
            drafts.len(),
            prompt.id
        );
        bench.tell(&what)?;
        if trace_prompt(bench, prompt, &missing)? {
            traced += 1;
        }
        positions = positions_of(&bench.recorder.run.observations.traces, drafts);
    }
    Ok(positions)
}

/// Whether every window of `drafts` was looked at on enough prompts to tell which ones cannot hold
/// the best plan; a short budget must do with fewer.
fn looked(bench: &Bench<'_>, drafts: &[Draft]) -> bool {
    let traces = &bench.recorder.run.observations.traces;
    let of = |draft: &Draft| traces.iter().filter(|t| t.draft().as_ref() == Some(draft)).count();
    half_spent(bench) || drafts.first().is_none_or(|first| of(first) >= LOOKED_AT)
}

/// Whether so much of the time is spent that the rest of the work must be small.
fn half_spent(bench: &Bench<'_>) -> bool {
    bench.recorder.spent() > bench.request.time_budget * 0.5
}

/// Traces this shard's part of all (prompt, draft) pairs, prompts outermost, whatever the time. All
/// drafts of a prompt share its plain text, so that few prompts are met by two shards.
fn trace_part(bench: &mut Bench<'_>, drafts: &[Draft]) -> Result<()> {
    let prompts = prompts_for(bench)?;
    let part = bench.request.part(prompts.len() * drafts.len());
    for (place, prompt) in prompts.iter().enumerate() {
        let first = place * drafts.len();
        let own = part.start.clamp(first, first + drafts.len())
            ..part.end.clamp(first, first + drafts.len());
        let missing = missing(bench, prompt, &drafts[own.start - first..own.end - first]);
        if missing.is_empty() {
            continue;
        }
        let (count, id) = (missing.len(), &prompt.id);
        bench.tell(&format!("acceptance of {count} windows and draftings on prompt {id}"))?;
        trace_prompt(bench, prompt, &missing)?;
    }
    Ok(())
}

/// The prompts on which a run that is not divided traces every draft: all that were asked for by
/// number, else as many as give the positions wanted, which their plain texts tell.
fn prompts_for<'r>(bench: &mut Bench<'r>) -> Result<Vec<&'r Prompt>> {
    let request = bench.request;
    if request.positions == Request::EVERY_PROMPT {
        return Ok(request.prompts.iter().collect());
    }
    let (mut found, mut positions) = (Vec::new(), 0);
    for prompt in &request.prompts {
        if positions >= request.positions {
            return Ok(found);
        }
        bench.tell(&format!("plain text of prompt {}, to divide the work", prompt.id))?;
        let tokens = traced_tokens(bench.subject.before_widening, prompt, request)?;
        if tokens > 0 {
            positions += tokens;
            found.push(prompt);
        }
    }
    if positions < request.positions {
        let wanted = request.positions;
        bench.warnings.push(Warning::FewPositions { found: positions, wanted });
    }
    Ok(found)
}

/// Positions that a trace of this prompt has; 0 where its text is too short to be traced.
fn traced_tokens(model: &Model, prompt: &Prompt, request: &Request) -> Result<usize> {
    // Without an end token a text is as long as it may be, and need not be made.
    if request.impose.is_some() && model.config().eos_token_id.is_none() {
        return Ok(request.tokens);
    }
    let tokens = plain_text(model, prompt, request)?.len();
    let enough = request.impose.is_some() || tokens >= SHORTEST_TEXT;
    Ok(if enough { tokens } else { 0 })
}

/// Says how long the first look will take, and what may follow, from a few windows on one prompt.
fn announce(bench: &mut Bench<'_>, drafts: &[Draft]) -> Result<()> {
    let request = bench.request;
    let goal = request.first_look.unwrap_or(request.positions);
    let have = positions_of(&bench.recorder.run.observations.traces, drafts);
    let sample: Vec<Draft> =
        drafts.iter().step_by((drafts.len() / SAMPLED_WINDOWS).max(1)).cloned().collect();
    let Some((texts, both)) = timed_sample(bench, &sample)? else { return Ok(()) };
    let per_draft = (both - texts).max(0.0) / sample.len() as f64;
    let of =
        |positions: usize| Seconds(positions as f64 * (texts + per_draft * drafts.len() as f64));
    // What is announced is what there is time for.
    let stage = (bench.deadline - bench.clock.now()).max(Seconds::ZERO);
    let left = (request.time_budget - bench.recorder.spent()).max(Seconds::ZERO);
    let look = of(goal.saturating_sub(have)).min(stage);
    let all = of(request.positions).min(left);
    bench.progress.note(&format!(
        "{} windows and draftings: about {look} for a first pass over {goal} positions, then at \
         most {} where the choice is undecided (estimated from {} of them on one prompt)",
        drafts.len(),
        (all - look).max(Seconds::ZERO),
        sample.len()
    ));
    Ok(())
}

/// Says when fewer positions were traced than wanted; where every prompt was asked for by number,
/// only when the time did not reach for all of them.
fn warn_of_few(bench: &mut Bench<'_>, found: usize, wanted: usize) {
    let in_time = bench.clock.now() < bench.deadline;
    if found < wanted && !(wanted == Request::EVERY_PROMPT && in_time) {
        bench.warnings.push(Warning::FewPositions { found, wanted });
    }
}

/// Seconds per position of a plain text, and of a plain text with the traces of `sample`, on the
/// first prompt that has none of them and is long enough; none where there is no such prompt.
fn timed_sample(bench: &mut Bench<'_>, sample: &[Draft]) -> Result<Option<(f64, f64)>> {
    let request = bench.request;
    for prompt in &request.prompts {
        if missing(bench, prompt, sample) != sample {
            continue;
        }
        let begin = bench.clock.now().0;
        let tokens = plain_text(bench.subject.before_widening, prompt, request)?.len();
        let text = bench.clock.now().0 - begin;
        if tokens >= SHORTEST_TEXT && trace_prompt(bench, prompt, sample)? {
            let both = bench.clock.now().0 - begin - text;
            return Ok(Some((text / tokens as f64, both / tokens as f64)));
        }
    }
    Ok(None)
}

/// Says how much is undecided after the first look, and how long that will take.
fn announce_refinement(bench: &mut Bench<'_>, drafts: usize, all: usize, positions: usize) {
    let coverage = bench.recorder.run.header.coverage.as_ref();
    let per_position =
        coverage.map_or(Seconds::ZERO, |c| c.trace_seconds / c.positions.max(1) as f64);
    let left = (bench.deadline - bench.clock.now()).max(Seconds::ZERO);
    let time = (per_position * (drafts * positions) as f64).min(left);
    bench.progress.note(&format!(
        "{drafts} of {all} windows and draftings may hold the best plan: about {time} more for them"
    ));
}

/// Positions that each of `drafts` has: those of the sparsest.
fn positions_of(traces: &[Trace], drafts: &[Draft]) -> usize {
    let mut by_draft = HashMap::new();
    for trace in traces {
        if let Some(draft) = trace.draft() {
            *by_draft.entry(draft).or_insert(0) += trace.tokens();
        }
    }
    drafts.iter().map(|draft| by_draft.get(draft).copied().unwrap_or(0)).min().unwrap_or(0)
}

/// All that the request wants traced.
fn wanted(request: &Request) -> Vec<Draft> {
    let of = |&drafting: &Drafting| {
        request.skips.iter().map(move |skip| Draft { drafting, skip: skip.clone() })
    };
    request.draftings.iter().flat_map(of).collect()
}

/// Those of `drafts` that were not traced on this prompt.
fn missing(bench: &Bench<'_>, prompt: &Prompt, drafts: &[Draft]) -> Vec<Draft> {
    let traces = bench.recorder.run.observations.traces.iter().filter(|t| t.id == prompt.id);
    let done: HashSet<Draft> = traces.filter_map(Trace::draft).collect();
    drafts.iter().filter(|draft| !done.contains(draft)).cloned().collect()
}

/// Traces `missing` on one prompt; false where its text is too short to be worth it.
fn trace_prompt(bench: &mut Bench<'_>, prompt: &Prompt, missing: &[Draft]) -> Result<bool> {
    let (model, request) = (bench.subject.before_widening, bench.request);
    if let Some(imposed) = &request.impose {
        draw_prompt(bench, prompt, imposed, missing)?;
        return Ok(true);
    }
    let begin = bench.clock.now();
    let mut output = plain_text(model, prompt, request)?;
    if output.len() < SHORTEST_TEXT {
        return Ok(false);
    }
    let traces = &bench.recorder.run.observations.traces;
    let late = half_spent(bench) && bench.clock.now() >= bench.deadline;
    if let Some(known) = traces.iter().find(|trace| trace.id == prompt.id) {
        output.truncate(known.tokens()); // one text has one length
    } else if traces.is_empty() && late && request.wants(Stage::Confirmation) {
        output.truncate(SHORT_TEXT);
    }
    for &drafting in &request.draftings {
        let of_drafting = missing.iter().filter(|draft| draft.drafting == drafting);
        let skips: Vec<Skip> = of_drafting.map(|draft| draft.skip.clone()).collect();
        if skips.is_empty() {
            continue;
        }
        let traces = traces_of(model, request, prompt, &output, drafting, &skips)?;
        bench.recorder.append(traces.into_iter().map(Observation::Trace).collect())?;
    }
    coverage::add_tracing(bench, begin);
    Ok(true)
}

/// Writes down what is imposed, as traces: the same for every window and drafting. What it takes is
/// no time of tracing.
fn draw_prompt(
    bench: &mut Bench<'_>,
    prompt: &Prompt,
    imposed: &Imposed,
    missing: &[Draft],
) -> Result<()> {
    let (model, request) = (bench.subject.before_widening, bench.request);
    let tokens = traced_tokens(model, prompt, request)?;
    let drawn = |Draft { drafting, skip }: &Draft| {
        let most = request.most_predictors(model, *drafting);
        let count = |committed| imposed.accepted(&prompt.id, committed, most.get()) as u32;
        let drawn = TextTrace {
            accepted: (1..=tokens).map(count).collect(),
            confidence: None,
            ranks: None,
            accept_probability: None,
        };
        Observation::Trace(trace_of(prompt, *drafting, most, skip, drawn))
    };
    bench.recorder.append(missing.iter().map(drawn).collect())
}

/// The traces of one text for every skip of `skips`.
fn traces_of(
    model: &Model,
    request: &Request,
    prompt: &Prompt,
    output: &[u32],
    drafting: Drafting,
    skips: &[Skip],
) -> Result<Vec<Trace>> {
    let most = request.most_predictors(model, drafting);
    let (tokens, most_drafts, confidence) = (&prompt.tokens, most.get(), request.confidence);
    let counts = match (drawing::of_text(request, prompt)?, request.ranks, drafting) {
        (Some(sampling), _, _) => {
            let text = [&tokens[..], output];
            trace_drawn_text(model, text, sampling, drafting, skips, most_drafts, confidence)?
        }
        (None, true, Drafting::Simultaneous) => {
            trace_text_with_ranks(model, tokens, output, skips, most_drafts, confidence)?
        }
        _ => trace_text(model, tokens, output, drafting, skips, most_drafts, confidence)?,
    };
    let traces = skips.iter().zip(counts);
    Ok(traces.map(|(skip, counts)| trace_of(prompt, drafting, most, skip, counts)).collect())
}

fn trace_of(
    prompt: &Prompt,
    drafting: Drafting,
    most: Predictors,
    skip: &Skip,
    counts: TextTrace,
) -> Trace {
    Trace {
        drafting: Some(drafting),
        skip_start: skip.window().map(|window| window.start()),
        skip_end: skip.window().map(|window| window.end()),
        skip_set: match skip {
            Skip::Window(_) => None,
            Skip::Set { layers, .. } => Some(layers.as_ref().clone()),
        },
        gamma_max: Some(most),
        counted_drafts: None,
        id: prompt.id.clone(),
        task: prompt.task.clone(),
        prompt: prompt.tokens.len(),
        accepted: counts.accepted,
        confidence: counts.confidence,
        accept_probability: counts.accept_probability,
        ranks: counts.ranks,
    }
}
