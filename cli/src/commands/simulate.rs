//! `s3d simulate`: what if, from numbers on the command line or over the texts of a run.

mod policy;
mod trees;

use crate::args::{Policy, PromptPass, SimulateArgs};
use crate::shared::terminal;
use crate::shared::typed_numbers::{self, Costs};
use crate::shared::usage::usage;
use s3d_data::{Drafting, SkipRatio, Trace, finite};
use s3d_simulator::traces::replay::common_identity;
use s3d_simulator::{AcceptanceRate, CostModel, DraftLength, Replay, ReplayOptions};
use s3d_simulator::{expected_tokens, replay};
use serde::Serialize;
use std::path::Path;

/// Replays traces where there are any, else computes the closed form.
pub fn simulate(args: &SimulateArgs) -> anyhow::Result<()> {
    if let Some(run) = &args.run {
        return over_run(run, args);
    }
    let ratio = typed_numbers::skip_ratio(args.layers, args.skip)?;
    match &args.traces {
        Some(path) => show_replay(&replayed(path, ratio, args)?, args.output.json),
        None => show_closed_form(&closed_form(ratio, args)?, args.output.json),
    }
}

/// What is asked of a run directory.
fn over_run(run: &Path, args: &SimulateArgs) -> anyhow::Result<()> {
    match (args.policy, args.trees) {
        (Some(Policy::Auto), _) => policy::show(run, &args.output),
        (None, true) => trees::show(run, args.rows, &args.output),
        (None, false) => Err(usage(format!(
            "{}: expected --policy auto or --trees beside a run directory, found neither",
            run.display()
        ))),
    }
}

/// What closed forms say of one plan.
#[derive(Debug, Serialize)]
struct ClosedForm {
    alpha: Vec<f64>,
    expected_tokens: f64,
    improvement_factor: f64,
    skip_ratio: Option<f64>,
}

fn closed_form(ratio: Option<SkipRatio>, args: &SimulateArgs) -> anyhow::Result<ClosedForm> {
    let rates = rates(ratio, args)?;
    let drafting = args.drafting.unwrap_or(Drafting::Simultaneous);
    let costs = Costs::read(args.costs.as_deref())?.model(drafting, ratio)?;
    let cost = costs.at(args.context, args.batch).iteration(drafting, rates.len())?;
    let tokens = expected_tokens(&rates);
    Ok(ClosedForm {
        alpha: rates.iter().map(|rate| rate.get()).collect(),
        expected_tokens: tokens,
        improvement_factor: cost.improvement(tokens),
        skip_ratio: ratio.map(SkipRatio::get),
    })
}

fn rates(ratio: Option<SkipRatio>, args: &SimulateArgs) -> anyhow::Result<Vec<AcceptanceRate>> {
    if !args.alphas.is_empty() {
        return typed_numbers::rates(&args.alphas, args.predictors);
    }
    let (Some(ratio), Some(count), Some(_)) = (ratio, args.predictors, &args.curve.curve) else {
        return Err(usage(
            "expected --alphas, or --curve with --layers, --skip and --predictors, or --traces",
        ));
    };
    let count = typed_numbers::predictors(count)?.get();
    let curves = typed_numbers::curves(&args.curve, count)?;
    Ok(curves.iter().map(|curve| curve.rate(ratio)).collect())
}

fn replayed(path: &Path, ratio: Option<SkipRatio>, args: &SimulateArgs) -> anyhow::Result<Replay> {
    let traces = s3d_data::load_traces(path)?;
    let drafting = drafting(&traces, args)?;
    let draft_length = match (args.oracle, args.predictors) {
        (true, _) => DraftLength::Oracle,
        (false, Some(count)) => DraftLength::Fixed(typed_numbers::predictors(count)?),
        (false, None) => return Err(usage("--traces needs --predictors or --oracle")),
    };
    let costs = Costs::read(args.costs.as_deref())?.model(drafting, ratio)?;
    let options = ReplayOptions {
        drafting,
        draft_length,
        batch: args.batch,
        include_prompt: args.prompt_pass == PromptPass::Include,
    };
    let replay = replay(&traces, &costs, &options)?;
    if replay.extrapolated {
        terminal::note("note: some times lie outside the cost table and were extrapolated");
    }
    Ok(replay)
}

/// The drafting of the traces and the flag; a contradiction between them, or between the traces'
/// window and `--skip`, is refused.
fn drafting(traces: &[Trace], args: &SimulateArgs) -> anyhow::Result<Drafting> {
    let (traced, skip) = common_identity(traces)?;
    if let (Some(traced), Some(flag)) = (traced, args.drafting)
        && traced != flag
    {
        return Err(usage(format!("--drafting {flag}: the traces are {traced}")));
    }
    let window = skip.and_then(|skip| skip.window());
    if let (Some(window), Some(flag)) = (window, args.skip)
        && window.len() != flag
    {
        return Err(usage(format!(
            "--skip {flag}: the traces skip {} layers ({window})",
            window.len()
        )));
    }
    Ok(args.drafting.or(traced).unwrap_or(Drafting::Simultaneous))
}

fn show_closed_form(form: &ClosedForm, json: bool) -> anyhow::Result<()> {
    if json {
        return terminal::json(form);
    }
    finite::check(form)?;
    let alphas: Vec<String> = form.alpha.iter().map(|a| format!("{a:.3}")).collect();
    terminal::result(&format!(
        "acceptance per predictor  {}\ntokens per iteration      {:.4}\nimprovement factor        \
         {:.4}",
        alphas.join(" "),
        form.expected_tokens,
        form.improvement_factor
    ))
}

fn show_replay(replay: &Replay, json: bool) -> anyhow::Result<()> {
    if json {
        return terminal::json(replay);
    }
    finite::check(replay)?;
    let or_none = |value: Option<f64>| value.map_or("-".into(), |v| format!("{v:.4}"));
    let total = &replay.total;
    terminal::result(&format!(
        "texts                 {}\ntokens                {}\niterations            {}\n\
         tokens per iteration  {}\nspeedup               {} (ratio of totals), {} (mean of \
         ratios), \
         {} (ratio of mean rates)",
        replay.requests.len(),
        total.tokens,
        total.iterations,
        or_none(total.tokens_per_iteration),
        or_none(total.speedup.ratio_of_totals),
        or_none(total.speedup.mean_of_ratios),
        or_none(total.speedup.ratio_of_mean_rates),
    ))
}
