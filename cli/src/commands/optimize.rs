//! `s3d optimize`: the choice, from a run directory or from numbers.

use crate::args::OptimizeArgs;
use crate::beyond::Beyond;
use crate::commands::profile;
use crate::conclude::{Conclusion, choice_only};
use crate::usage::{or_usage, usage};
use crate::{engine, locate, resolve, run_of, show, terminal, what_if};
use s3d_data::{Drafting, Plan, Predictors, Recommendation, Run, RunDir, RunHeader, SkipRatio};
use s3d_reports::Table;
use s3d_reports::table::{Cell, Column};
use s3d_simulator::optimize::engine::Engine;
use s3d_simulator::optimize::runs::{Candidate, compare_runs};
use s3d_simulator::what_if::{Cell as MapCell, Rates, map};
use s3d_simulator::{Choice, Request};
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;

/// Rows of the map that a terminal shows.
const ROWS: usize = 12;
/// Context of costs where none is asked for.
const CONTEXT: usize = 256;

/// Plans of a drafting that are looked at where nothing was measured.
const MOST_CELLS: usize = 1 << 16;

/// Plans of several runs that a terminal shows.
const CANDIDATES: usize = 15;

/// Chooses and prints; nothing is written (`s3d report` records what a run concludes) but the free
/// sets that were asked for.
pub fn optimize(args: &OptimizeArgs) -> anyhow::Result<()> {
    match (&args.profile, args.dirs.as_slice()) {
        (Some(profile), dirs) => from_profile(profile, dirs, args),
        (None, []) => from_numbers(args),
        (None, [dir]) => from_run(run_of::one_machine(&RunDir::new(dir), args.machine)?, args),
        (None, _) if args.curve.curve.is_some() => {
            Err(usage("--curve gives acceptance to one imported run; found several runs"))
        }
        (None, dirs) => from_runs(dirs, args),
    }
}

/// A curve says something only where no acceptance was measured.
fn check_curve(run: &Run, args: &OptimizeArgs) -> anyhow::Result<()> {
    let imported = run.header.device == RunHeader::IMPORTED;
    match args.curve.curve.is_some() && !imported && !run.observations.traces.is_empty() {
        true => {
            Err(usage("--curve: the run holds measured acceptance, which is used; leave it out"))
        }
        false => Ok(()),
    }
}

/// Pass times of a profile, acceptance of a run directory or of a curve.
fn from_profile(name: &str, dirs: &[PathBuf], args: &OptimizeArgs) -> anyhow::Result<()> {
    let mut run = run_of::one_machine(&RunDir::new(locate::profile(name)?), args.machine)?;
    match dirs {
        [] => profile::from_curves(&run, name, &request(&run.header, args)?, args),
        [dir] => {
            profile::take_traces(&mut run, name, dir)?;
            from_run(run, args)
        }
        _ => Err(usage("--profile takes acceptance from one run directory, found several")),
    }
}

fn concluded(run: Run, args: &OptimizeArgs) -> anyhow::Result<Conclusion> {
    let request = request(&run.header, args)?;
    choice_only(run, request)
}

/// The question of the header, changed by the flags.
fn request(header: &RunHeader, args: &OptimizeArgs) -> anyhow::Result<Request> {
    let mut request = Request { seed: args.seed, ..Request::of(header) };
    request.memory_budget = args.memory_budget.or(request.memory_budget);
    if let Some(context) = &args.context {
        request.contexts = resolve::contexts(context)?;
        let longest = request.contexts.iter().map(|(context, _)| *context).max();
        if let (Some(longest), Some(positions)) = (longest, header.model.positions)
            && longest > positions
        {
            return Err(usage(format!(
                "--context {context}: the measured model decodes texts of up to {positions} tokens"
            )));
        }
    }
    if let Some(gamma_max) = args.gamma_max {
        request.gamma_max = or_usage("--gamma-max", Predictors::new(gamma_max))?.get();
    }
    Ok(request)
}

/// The recommendation, as `recommendation.json` holds it, and what else the run says.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    recommendation: &'a Recommendation,
    /// Whether times come from a data sheet and not from a clock.
    derived: bool,
    cheapest_tie: Option<&'a Plan>,
    context_extrapolated: bool,
    /// Why it is, or is not, faster on an engine that was imported.
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<&'a Engine>,
    #[serde(flatten)]
    beyond: Beyond,
}

fn from_run(run: Run, args: &OptimizeArgs) -> anyhow::Result<()> {
    check_curve(&run, args)?;
    let rates = engine::rates(args)?;
    let request = request(&run.header, args)?;
    request.check_budget(&run.header)?;
    let engine = engine::of(&run, &request, rates.as_ref())?;
    let conclusion = match &engine {
        None => choice_only(run, request)?,
        Some(engine) => match choice_only(run.clone(), request.clone()) {
            Ok(conclusion) => conclusion,
            // Nothing to choose from, but something to say of the engine.
            Err(why) => return engine::alone(&run, &request, engine, why, args),
        },
    };
    let choice = &conclusion.choice;
    let beyond = Beyond::new(&conclusion);
    if let Some(folder) = &args.write_sets {
        let plans = beyond.write_sets(folder)?;
        terminal::note(&format!(
            "to judge the free sets, measure them: --plans {}",
            plans.join(",")
        ));
    }
    if args.output.json {
        return terminal::json(&Answer {
            recommendation: &choice.recommendation,
            derived: conclusion.run.header.is_derived(),
            cheapest_tie: choice.cheapest_tie.as_ref(),
            context_extrapolated: choice.extrapolated,
            engine: engine.as_ref(),
            beyond,
        });
    }
    show::choice(&choice.recommendation, &conclusion.run.header, &args.output)?;
    if choice.extrapolated {
        terminal::note(
            "warning: the context lies outside those that were timed; costs there are extrapolated",
        );
    }
    terminal::result("")?;
    if let Some(engine) = &engine {
        terminal::result(&engine::sentences(engine).join("\n"))?;
        terminal::result("")?;
        show::tables(&(), &engine::tables(engine), &args.output)?;
        terminal::result("")?;
    }
    show::tables(&(), &beyond.tables(), &args.output)
}

/// Precisions, devices or checkpoints: the fastest plan of all that fits.
fn from_runs(dirs: &[PathBuf], args: &OptimizeArgs) -> anyhow::Result<()> {
    if args.write_sets.is_some() {
        return Err(usage("--write-sets: expected one run directory, found several"));
    }
    let all: Vec<Conclusion> = dirs
        .iter()
        .map(|dir| concluded(run_of::one_machine(&RunDir::new(dir), args.machine)?, args))
        .collect::<anyhow::Result<_>>()?;
    let choices: Vec<Choice> = all.iter().map(|one| one.choice.clone()).collect();
    let candidates = compare_runs(&choices, args.memory_budget);
    let best = candidates.first().map_or(0, |candidate| candidate.run);
    let recommendation = &choices[best].recommendation;
    let mut value = serde_json::to_value(recommendation)?;
    value["run"] = json!(dirs[best].display().to_string());
    value["candidates"] = json!(candidates);
    if args.output.json {
        return terminal::json(&value);
    }
    terminal::note(&format!("the fastest of {} runs is {}", dirs.len(), dirs[best].display()));
    show::choice(recommendation, &all[best].run.header, &args.output)?;
    terminal::result("")?;
    show::tables(&value, &[runs_table(&candidates, dirs)], &args.output)
}

/// The Pareto front of all runs, and then the fastest others.
fn runs_table(candidates: &[Candidate], dirs: &[PathBuf]) -> Table {
    let columns = vec![
        Column::new("run"),
        Column::new("dtype"),
        Column::new("plan"),
        Column::unit("speed", "tokens/s"),
        Column::new("peak memory"),
        Column::new("front"),
    ];
    let rows =
        candidates.iter().filter(|c| c.pareto).chain(candidates.iter().filter(|c| !c.pareto));
    let row = |c: &Candidate| {
        vec![
            Cell::text(dirs[c.run].display().to_string()),
            Cell::text(&c.dtype),
            Cell::text(c.plan.to_string()),
            Cell::Number(c.tokens_per_s, 1),
            c.peak_memory_bytes.map_or(Cell::Unknown, Cell::Bytes),
            Cell::text(if c.pareto { "yes" } else { "" }),
        ]
    };
    Table::new("runs", "Plans of all runs: the Pareto front of speed and memory first", columns)
        .rows(rows.take(CANDIDATES).map(row))
}

fn from_numbers(args: &OptimizeArgs) -> anyhow::Result<()> {
    if args.machine.machine.is_some() {
        return Err(usage("--machine: expected a run directory beside it, found none"));
    }
    let (Some(layers), Some(_)) = (args.layers, &args.curve.curve) else {
        return Err(usage(
            "expected a run directory, or --layers and --curve (and --costs), found neither",
        ));
    };
    let gamma_max = or_usage("--gamma-max", Predictors::new(args.gamma_max.unwrap_or(8)))?;
    let ceilings = args.curve.ceiling.len().max(1);
    let rates = Rates::Curves(what_if::curves(&args.curve, ceilings)?);
    let contexts = args.context.as_deref().map(resolve::contexts).transpose()?;
    let context = match contexts.as_deref() {
        None => CONTEXT,
        Some([(context, _)]) => *context,
        Some(_) => return Err(usage("--context: without a run directory, expected one context")),
    };
    if layers * gamma_max.get() > MOST_CELLS {
        return Err(usage(format!(
            "--layers {layers}: with --gamma-max {gamma_max} that is more than {MOST_CELLS} plans; give less of one"
        )));
    }
    let known = what_if::Costs::read(args.costs.as_deref())?;
    let costs = |drafting: Drafting| {
        let known = &known;
        move |ratio: SkipRatio| known.model(drafting, Some(ratio))
    };
    let mut cells = Vec::new();
    for drafting in Drafting::ALL {
        cells.extend(map(layers, gamma_max, drafting, &rates, context, costs(drafting))?);
    }
    cells.sort_by(|a, b| b.answer.improvement_factor.total_cmp(&a.answer.improvement_factor));
    let best = cells.first();
    let value = json!({
        "layers": layers,
        "context": context,
        "choice": best,
        "speculate": best.is_some_and(|cell| cell.answer.improvement_factor > 1.0),
        "evaluated": cells.len(),
        "cells": cells,
    });
    show::tables(&value, &[table(&cells)], &args.output)
}

/// The fastest of `cells`.
pub fn table(cells: &[MapCell]) -> Table {
    let columns = vec![
        Column::new("drafting"),
        Column::new("skipped"),
        Column::new("predictors"),
        Column::new("tokens per iteration"),
        Column::new("improvement factor"),
    ];
    let rows = cells.iter().take(ROWS).map(|cell| {
        vec![
            Cell::text(cell.drafting.name()),
            Cell::Count(cell.skipped as u64),
            Cell::Count(cell.predictors as u64),
            Cell::Number(cell.answer.expected_tokens, 3),
            Cell::Number(cell.answer.improvement_factor, 3),
        ]
    });
    Table::new("map", "The fastest plans, computed from the model", columns).rows(rows)
}
