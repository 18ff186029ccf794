//! Acceptance as traces: for every window and drafting, how many drafts an iteration would have had
//! accepted at every position of plain texts. One pass answers all positions (see
//! [`s3d_model::trace_text`]); nothing is generated but the plain texts.
//!
//! Many windows are looked at first on few prompts; the rest of the prompts is then spent where the
//! judge says that the choice is undecided.

use crate::bench::Bench;
use crate::error::{Error, Result};
use crate::request::{Prompt, Request};
use crate::stages::coverage;
use crate::stages::reference::plain_text;
use crate::warning::Warning;
use s3d_data::{Drafting, Observation, Seconds, Skip, Trace};
use s3d_model::{Imposed, Model, TextTrace, trace_text};
use std::collections::{HashMap, HashSet};

/// Output tokens below which a text is not worth tracing.
const SHORTEST_TEXT: usize = 8;
/// Prompts traced between two questions to the judge.
const PROMPTS_PER_LOOK: usize = 4;
/// Windows whose time on the first prompt tells how long all will take.
const SAMPLED_WINDOWS: usize = 6;

/// What is traced: a drafting and what it leaves out.
type Way = (Drafting, Skip);

/// Stage: traces prompt after prompt, until there are enough positions or the time is spent.
pub(crate) fn trace_prompts(bench: &mut Bench<'_>) -> Result<()> {
    let request = bench.request;
    let ways = wanted(request);
    if request.shard.is_some() {
        trace_part(bench, &ways)?;
        return coverage::beside_generating(bench);
    }
    if request.first_look.is_some() && request.impose.is_none() {
        announce(bench, &ways)?;
    }
    let goal = request.first_look.unwrap_or(request.positions);
    let found = trace_until(bench, &ways, goal, usize::MAX)?;
    warn_of_few(bench, found, goal);
    coverage::beside_generating(bench)
}

/// Stage: more prompts for the windows that may hold the best plan.
pub(crate) fn refine(bench: &mut Bench<'_>) -> Result<()> {
    let goal = bench.request.positions;
    let all = wanted(bench.request);
    let mut announced = false;
    loop {
        let judged = bench.judge.undecided(&bench.recorder.run).map_err(Error::Judge)?;
        let ways = judged.unwrap_or_else(|| all.clone());
        let before = positions_of(&bench.recorder.run.observations.traces, &ways);
        if before >= goal {
            return Ok(());
        }
        if !announced {
            announce_refinement(bench, ways.len(), all.len(), goal - before);
            announced = true;
        }
        let found = trace_until(bench, &ways, goal, PROMPTS_PER_LOOK)?;
        if found <= before || bench.clock.now() >= bench.deadline {
            warn_of_few(bench, found, goal.min(Request::ENOUGH_POSITIONS));
            return coverage::beside_generating(bench);
        }
    }
}

/// Traces `ways` on further prompts, at most `prompts` of them, until each has `goal` positions or
/// the time is spent; returns the positions that each has.
fn trace_until(bench: &mut Bench<'_>, ways: &[Way], goal: usize, prompts: usize) -> Result<usize> {
    let request = bench.request;
    let mut positions = positions_of(&bench.recorder.run.observations.traces, ways);
    let mut traced = 0;
    for prompt in &request.prompts {
        let late = bench.clock.now() >= bench.deadline && positions > 0;
        if positions >= goal || traced >= prompts || late {
            break;
        }
        let missing = missing(bench, prompt, ways);
        if missing.is_empty() {
            continue;
        }
        let what = format!(
            "acceptance of {} windows and draftings on prompt {}, {positions} positions so far",
            ways.len(),
            prompt.id
        );
        bench.tell(&what)?;
        if trace_prompt(bench, prompt, &missing)? {
            traced += 1;
        }
        positions = positions_of(&bench.recorder.run.observations.traces, ways);
    }
    Ok(positions)
}

/// Traces this shard's part of all (prompt, way) pairs, prompts outermost, whatever the time. All ways of
/// a prompt share its plain text, so that few prompts are met by two shards.
fn trace_part(bench: &mut Bench<'_>, ways: &[Way]) -> Result<()> {
    let prompts = prompts_for(bench)?;
    let part = bench.request.part(prompts.len() * ways.len());
    for (place, prompt) in prompts.iter().enumerate() {
        let first = place * ways.len();
        let own =
            part.start.clamp(first, first + ways.len())..part.end.clamp(first, first + ways.len());
        let missing = missing(bench, prompt, &ways[own.start - first..own.end - first]);
        if missing.is_empty() {
            continue;
        }
        let (count, id) = (missing.len(), &prompt.id);
        bench.tell(&format!("acceptance of {count} windows and draftings on prompt {id}"))?;
        trace_prompt(bench, prompt, &missing)?;
    }
    Ok(())
}

/// The prompts on which a run that is not divided traces every way: all that were asked for by number,
/// else as many as give the positions wanted, which their plain texts tell.
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
fn announce(bench: &mut Bench<'_>, ways: &[Way]) -> Result<()> {
    let request = bench.request;
    let goal = request.first_look.unwrap_or(request.positions);
    let have = positions_of(&bench.recorder.run.observations.traces, ways);
    let sample: Vec<Way> =
        ways.iter().step_by((ways.len() / SAMPLED_WINDOWS).max(1)).cloned().collect();
    let Some((texts, both)) = timed_sample(bench, &sample)? else { return Ok(()) };
    let per_way = (both - texts).max(0.0) / sample.len() as f64;
    let of = |positions: usize| Seconds(positions as f64 * (texts + per_way * ways.len() as f64));
    let (look, all) = (of(goal.saturating_sub(have)), of(request.positions));
    bench.progress.note(&format!(
        "{} windows and draftings: about {look} for a first look on {goal} positions, then at most {} \
         where the choice is undecided (estimated from {} of them on one prompt)",
        ways.len(),
        Seconds((all.0 - look.0).max(0.0)),
        sample.len()
    ));
    Ok(())
}

/// Says when fewer positions were traced than wanted; where every prompt was asked for by number, only
/// when the time did not reach for all of them.
fn warn_of_few(bench: &mut Bench<'_>, found: usize, wanted: usize) {
    let in_time = bench.clock.now() < bench.deadline;
    if found < wanted && !(wanted == Request::EVERY_PROMPT && in_time) {
        bench.warnings.push(Warning::FewPositions { found, wanted });
    }
}

/// Seconds per position of a plain text, and of a plain text with the traces of `sample`, on the first
/// prompt that has none of them and is long enough; none where there is no such prompt.
fn timed_sample(bench: &mut Bench<'_>, sample: &[Way]) -> Result<Option<(f64, f64)>> {
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
fn announce_refinement(bench: &mut Bench<'_>, ways: usize, all: usize, positions: usize) {
    let coverage = bench.recorder.run.header.coverage.as_ref();
    let per_position = coverage.map_or(0.0, |c| c.trace_seconds / c.positions.max(1) as f64);
    let time = Seconds(per_position * (ways * positions) as f64);
    bench.progress.note(&format!(
        "{ways} of {all} windows and draftings may hold the best plan: about {time} more for them"
    ));
}

/// Positions that each of `ways` has: those of the sparsest.
fn positions_of(traces: &[Trace], ways: &[Way]) -> usize {
    let mut by_way = HashMap::new();
    for trace in traces {
        if let (Some(drafting), Some(skip)) = (trace.drafting, trace.skip()) {
            *by_way.entry((drafting, skip)).or_insert(0) += trace.tokens();
        }
    }
    ways.iter().map(|way| by_way.get(way).copied().unwrap_or(0)).min().unwrap_or(0)
}

/// All that the request wants traced.
fn wanted(request: &Request) -> Vec<Way> {
    let of = |&drafting: &Drafting| request.skips.iter().map(move |s| (drafting, s.clone()));
    request.draftings.iter().flat_map(of).collect()
}

/// Those of `ways` that were not traced on this prompt.
fn missing(bench: &Bench<'_>, prompt: &Prompt, ways: &[Way]) -> Vec<Way> {
    let traces = bench.recorder.run.observations.traces.iter().filter(|t| t.id == prompt.id);
    let done: HashSet<Way> =
        traces.filter_map(|trace| Some((trace.drafting?, trace.skip()?))).collect();
    ways.iter().filter(|way| !done.contains(way)).cloned().collect()
}

/// Traces `missing` on one prompt; false where its text is too short to be worth it.
fn trace_prompt(bench: &mut Bench<'_>, prompt: &Prompt, missing: &[Way]) -> Result<bool> {
    let (model, request) = (bench.subject.before_widening, bench.request);
    if let Some(imposed) = &request.impose {
        draw_prompt(bench, prompt, imposed, missing)?;
        return Ok(true);
    }
    let begin = bench.clock.now();
    let output = plain_text(model, prompt, request)?;
    if output.len() < SHORTEST_TEXT {
        return Ok(false);
    }
    for &drafting in &request.draftings {
        let of_drafting = missing.iter().filter(|way| way.0 == drafting);
        let skips: Vec<Skip> = of_drafting.map(|way| way.1.clone()).collect();
        if skips.is_empty() {
            continue;
        }
        let traces = traces_of(model, request, prompt, &output, drafting, &skips)?;
        bench.recorder.append(traces.into_iter().map(Observation::Trace).collect())?;
    }
    coverage::add_tracing(bench, begin);
    Ok(true)
}

/// Writes down what is imposed, as traces: the same for every window and drafting. What it takes is no
/// time of tracing.
fn draw_prompt(
    bench: &mut Bench<'_>,
    prompt: &Prompt,
    imposed: &Imposed,
    missing: &[Way],
) -> Result<()> {
    let (model, request) = (bench.subject.before_widening, bench.request);
    let tokens = traced_tokens(model, prompt, request)?;
    let drawn = |(drafting, skip): &Way| {
        let most = request.most_predictors(model, *drafting);
        let count = |committed| imposed.accepted(&prompt.id, committed, most) as u32;
        let drawn = TextTrace { accepted: (1..=tokens).map(count).collect(), confidence: None };
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
    let counts =
        trace_text(model, &prompt.tokens, output, drafting, skips, most, request.confidence)?;
    let traces = skips.iter().zip(counts);
    Ok(traces.map(|(skip, counts)| trace_of(prompt, drafting, most, skip, counts)).collect())
}

fn trace_of(
    prompt: &Prompt,
    drafting: Drafting,
    most: usize,
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
    }
}
