//! The choice from one run directory, or from several together.

use super::engine;
use crate::args::OptimizeArgs;
use crate::shared::conclude::{Conclusion, choice_only};
use crate::shared::extras::Extras;
use crate::shared::usage::{or_usage, usage};
use crate::shared::{load_run, resolve, show, terminal};
use s3d_data::run::drawn::words;
use s3d_data::{Plan, Predictors, Recommendation, Run, RunDir, RunHeader, TimesFrom};
use s3d_reports::Table;
use s3d_reports::table::{Cell, Column};
use s3d_simulator::choose::runs::{Candidate, compare_runs};
use s3d_simulator::explore::engine::Engine;
use s3d_simulator::{Choice, Request};
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;

/// Plans of several runs that a terminal shows.
const CANDIDATES: usize = 15;

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
    extras: Extras,
}

/// A curve says something only where no acceptance was measured.
fn check_curve(run: &Run, args: &OptimizeArgs) -> anyhow::Result<()> {
    let imported = run.header.times_from() == TimesFrom::OtherEngine;
    match args.curve.curve.is_some() && !imported && !run.observations.traces.is_empty() {
        true => {
            Err(usage("--curve: the run holds measured acceptance, which is used; leave it out"))
        }
        false => Ok(()),
    }
}

pub fn from_run(run: Run, args: &OptimizeArgs) -> anyhow::Result<()> {
    check_curve(&run, args)?;
    let rates = engine::rates(args)?;
    let sets = args.write_sets.as_deref().map(Extras::place_of_sets).transpose()?;
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
    let extras = Extras::new(&conclusion);
    if let Some(sets) = &sets {
        let plans = extras.write_sets(sets)?;
        terminal::note(&format!(
            "to judge the free sets, measure them: --plans {}",
            plans.join(",")
        ));
    }
    if args.output.json {
        return terminal::json(&Answer {
            recommendation: &choice.recommendation,
            derived: conclusion.run.header.times_from() == TimesFrom::DataSheet,
            cheapest_tie: choice.cheapest_tie.as_ref(),
            context_extrapolated: choice.extrapolated,
            engine: engine.as_ref(),
            extras,
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
    show::tables(&(), &extras.tables(), &args.output)
}

/// Precisions, devices or checkpoints: the fastest plan of all that fits.
pub fn from_runs(dirs: &[PathBuf], args: &OptimizeArgs) -> anyhow::Result<()> {
    if args.write_sets.is_some() {
        return Err(usage("--write-sets: expected one run directory, found several"));
    }
    let all: Vec<Conclusion> = dirs
        .iter()
        .map(|dir| concluded(load_run::one_machine(&RunDir::new(dir), args.machine)?, args))
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

fn concluded(run: Run, args: &OptimizeArgs) -> anyhow::Result<Conclusion> {
    let request = request(&run.header, args)?;
    choice_only(run, request)
}

/// The question of the header, changed by the flags.
pub fn request(header: &RunHeader, args: &OptimizeArgs) -> anyhow::Result<Request> {
    check_temperature(header, args)?;
    let mut request = Request { seed: args.seed, ..Request::of(header) };
    request.memory_budget = args.memory_budget.or(request.memory_budget);
    if let Some(context) = &args.context {
        request.contexts = resolve::contexts(context)?;
        let longest = request.contexts.iter().map(|(context, _)| *context).max();
        resolve::positions(header, longest.unwrap_or(0))?;
    }
    if let Some(gamma_max) = args.gamma_max {
        request.gamma_max = or_usage("--gamma-max", Predictors::new(gamma_max))?.get();
    }
    Ok(request)
}

/// Acceptance at one temperature says nothing of another.
fn check_temperature(header: &RunHeader, args: &OptimizeArgs) -> anyhow::Result<()> {
    let asked = resolve::drawn(args.temperature, args.top_p)?;
    if args.temperature.is_none() || asked == header.sampling {
        return Ok(());
    }
    Err(usage(format!(
        "--temperature: the run was traced at {}, asked for is {}; measure at it: s3d run \
         --temperature T [--top-p P] --out OTHER",
        words(header.sampling.as_ref()),
        words(asked.as_ref())
    )))
}
