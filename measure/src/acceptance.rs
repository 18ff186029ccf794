//! Acceptance as traces: for every window and drafting, how many drafts an iteration would have had
//! accepted at every position of plain texts. One pass answers all positions (see
//! [`s3d_model::shadow`]); nothing is generated but the plain texts.

use crate::reference::plain_text;
use crate::run::Bench;
use crate::warning::Warning;
use crate::{Prompt, Request, Result};
use s3d_data::{Drafting, Observation, Skip, Trace};
use s3d_model::{Imposed, Model, TextTrace, trace_text};
use std::collections::HashSet;

/// Output tokens below which a text is not worth tracing.
const SHORTEST_TEXT: usize = 8;

/// Stage: traces prompt after prompt, until there are enough positions or the time is spent.
pub(crate) fn trace_prompts(bench: &mut Bench<'_>) -> Result<()> {
    let request = bench.request;
    let mut positions = traced_positions(&bench.recorder.run.observations.traces);
    for prompt in &request.prompts {
        let late = bench.clock.now() >= bench.deadline && positions > 0;
        if positions >= request.positions || late {
            break;
        }
        if is_traced(bench, prompt) {
            continue;
        }
        bench.tell(&format!("acceptance on prompt {}, {positions} positions so far", prompt.id))?;
        positions += trace_prompt(bench, prompt)?;
    }
    if positions < request.positions {
        let wanted = request.positions;
        bench.warnings.push(Warning::FewPositions { found: positions, wanted });
    }
    Ok(())
}

/// Positions that every window and drafting has: those of the sparsest.
fn traced_positions(traces: &[Trace]) -> usize {
    let mut by_window = std::collections::HashMap::new();
    for trace in traces {
        *by_window.entry((trace.drafting, trace.skip())).or_insert(0) += trace.tokens();
    }
    by_window.into_values().min().unwrap_or(0)
}

/// The windows and draftings that were traced on this prompt.
fn traced(bench: &Bench<'_>, prompt: &Prompt) -> HashSet<(Drafting, Skip)> {
    let traces = bench.recorder.run.observations.traces.iter().filter(|t| t.id == prompt.id);
    traces.filter_map(|trace| Some((trace.drafting?, trace.skip()?))).collect()
}

/// All that the request wants traced.
fn wanted<'a>(bench: &Bench<'a>) -> impl Iterator<Item = (Drafting, &'a Skip)> + use<'a> {
    let request = bench.request;
    request.draftings.iter().flat_map(|&drafting| request.skips.iter().map(move |s| (drafting, s)))
}

fn is_traced(bench: &Bench<'_>, prompt: &Prompt) -> bool {
    let done = traced(bench, prompt);
    wanted(bench).all(|(drafting, skip)| done.contains(&(drafting, named_as_traced(skip))))
}

/// A free set goes by the name `set` in traces.
fn named_as_traced(skip: &Skip) -> Skip {
    match skip {
        Skip::Window(_) => skip.clone(),
        Skip::Set { layers, .. } => Skip::Set { file: "set".into(), layers: layers.clone() },
    }
}

/// Traces what is missing of one prompt; returns its positions.
fn trace_prompt(bench: &mut Bench<'_>, prompt: &Prompt) -> Result<usize> {
    let (model, request) = (bench.subject.before_widening, bench.request);
    if let Some(imposed) = &request.impose {
        return draw_prompt(bench, prompt, imposed);
    }
    let output = plain_text(model, prompt, request)?;
    if output.len() < SHORTEST_TEXT {
        return Ok(0);
    }
    let done = traced(bench, prompt);
    for &drafting in &request.draftings {
        let missing: Vec<Skip> = request
            .skips
            .iter()
            .filter(|skip| !done.contains(&(drafting, named_as_traced(skip))))
            .cloned()
            .collect();
        let traces = traces_of(model, request, prompt, &output, drafting, &missing)?;
        bench.recorder.append(traces.into_iter().map(Observation::Trace).collect())?;
    }
    Ok(output.len())
}

/// Writes down what is imposed, as traces: the same for every window and drafting.
fn draw_prompt(bench: &mut Bench<'_>, prompt: &Prompt, imposed: &Imposed) -> Result<usize> {
    let (model, request) = (bench.subject.before_widening, bench.request);
    // Without an end token a text is as long as it may be, and need not be made.
    let tokens = match model.config().eos_token_id {
        None => request.tokens,
        Some(_) => plain_text(model, prompt, request)?.len(),
    };
    let drawn = |most: usize| {
        let count = |committed| imposed.accepted(&prompt.id, committed, most) as u32;
        TextTrace { accepted: (1..=tokens).map(count).collect(), confidence: None }
    };
    let done = traced(bench, prompt);
    for &drafting in &request.draftings {
        let most = most_predictors(model, request, drafting);
        let missing =
            request.skips.iter().filter(|skip| !done.contains(&(drafting, named_as_traced(skip))));
        let traces: Vec<Observation> = missing
            .map(|skip| Observation::Trace(trace_of(prompt, drafting, most, skip, drawn(most))))
            .collect();
        bench.recorder.append(traces)?;
    }
    Ok(tokens)
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
    let most = most_predictors(model, request, drafting);
    let counts =
        trace_text(model, &prompt.tokens, output, drafting, skips, most, request.confidence)?;
    let traces = skips.iter().zip(counts);
    Ok(traces.map(|(skip, counts)| trace_of(prompt, drafting, most, skip, counts)).collect())
}

/// Drafts that are traced; a model with few masks is traced as far as it can draft.
fn most_predictors(model: &Model, request: &Request, drafting: Drafting) -> usize {
    match drafting {
        Drafting::Simultaneous => request.gamma_max.min(model.shape().masks + 1),
        Drafting::Sequential => request.gamma_max,
    }
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
        id: prompt.id.clone(),
        task: prompt.task.clone(),
        prompt: prompt.tokens.len(),
        accepted: counts.accepted,
        confidence: counts.confidence,
    }
}
