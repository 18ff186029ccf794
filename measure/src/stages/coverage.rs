//! What traces cover, beside what the same would have taken by generating.

use crate::bench::Bench;
use crate::drawing;
use crate::error::Result;
use crate::pass_watch::generate;
use s3d_data::{Coverage, DraftPlan, Plan, Predictors, Seconds, Trace};

/// Plans that are generated, evenly spread over all that the traces cover.
const SAMPLED_PLANS: usize = 8;
/// Output tokens of each.
const TOKENS: usize = 24;

/// How many times as long as tracing generating would take.
pub fn times_as_long(coverage: &Coverage) -> f64 {
    coverage.generation_seconds / coverage.trace_seconds
}

/// Adds the time since `begin` to that of tracing.
pub(crate) fn add_tracing(bench: &mut Bench<'_>, begin: Seconds) {
    let seconds = bench.clock.now() - begin;
    let nothing = Coverage {
        plans: 0,
        positions: 0,
        trace_seconds: Seconds::ZERO,
        generation_seconds: Seconds::ZERO,
        sampled_plans: 0,
    };
    let run = &mut bench.recorder.run;
    let coverage = run.header.coverage.get_or_insert(nothing);
    coverage.trace_seconds += seconds;
    coverage.positions = run.observations.traces.iter().map(Trace::tokens).sum();
}

/// Extrapolates, from a few plans generated on the model as it runs, how long it would take to
/// generate what the traces cover: every position of every trace once for each number of
/// predictors.
pub(crate) fn beside_generating(bench: &mut Bench<'_>) -> Result<()> {
    // Only told for comparison: left out where the time is spent.
    if bench.clock.now() >= bench.deadline {
        return Ok(());
    }
    let Some(coverage) = bench.recorder.run.header.coverage.clone() else { return Ok(()) };
    let plans = covered(bench)?;
    if plans.is_empty() {
        return Ok(());
    }
    bench.tell("what generating would take")?;
    let (model, clock) = (bench.subject.model, bench.clock);
    let Some(prompt) = bench.request.prompts.first() else { return Ok(()) };
    let sampling = drawing::of_text(bench.request, prompt)?;
    generate(model, &Plan::Plain, prompt, TOKENS, clock, None, sampling)?; // warms up
    let sampled = SAMPLED_PLANS.min(plans.len());
    let mut per_token = 0.0;
    for index in 0..sampled {
        let plan = &plans[plans.len() * (2 * index + 1) / (2 * sampled)];
        let one = generate(model, plan, prompt, TOKENS, clock, None, sampling)?;
        per_token += one.seconds.0 / one.tokens.len().max(1) as f64 / sampled as f64;
    }
    let tokens = tokens(bench);
    bench.recorder.run.header.coverage = Some(Coverage {
        plans: plans.len(),
        generation_seconds: Seconds(per_token * tokens as f64),
        sampled_plans: sampled,
        ..coverage
    });
    bench.recorder.save_header()
}

/// Tokens of plans that the traces stand for: each position for one token of as many plans as its
/// trace covers.
pub(crate) fn tokens(bench: &Bench<'_>) -> usize {
    let traces = &bench.recorder.run.observations.traces;
    traces.iter().map(|t| t.tokens() * t.gamma_max.map_or(1, Predictors::get)).sum()
}

/// Notes that the traces stand for more tokens now than the `before` that generating was
/// extrapolated to.
pub(crate) fn grow(bench: &mut Bench<'_>, before: usize) -> Result<()> {
    let now = tokens(bench);
    if let Some(coverage) = &mut bench.recorder.run.header.coverage
        && before > 0
    {
        coverage.generation_seconds = coverage.generation_seconds * (now as f64 / before as f64);
    }
    bench.recorder.save_header()
}

/// Every plan that the request's traces speak about.
fn covered(bench: &Bench<'_>) -> Result<Vec<Plan>> {
    let (model, request) = (bench.subject.model, bench.request);
    let mut plans = Vec::new();
    for &drafting in &request.draftings {
        for skip in &request.skips {
            for predictors in 1..=request.most_predictors(model, drafting).get() {
                let predictors = Predictors::new(predictors)?;
                let plan = DraftPlan { drafting, skip: skip.clone(), predictors };
                plans.push(Plan::Speculate(plan));
            }
        }
    }
    Ok(plans)
}
