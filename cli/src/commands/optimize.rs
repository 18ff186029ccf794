//! `s3d optimize`: the choice, from a run directory or from numbers.

use crate::args::OptimizeArgs;
use crate::conclude::conclude;
use crate::usage::{or_usage, usage};
use crate::{locate, show, what_if};
use s3d_data::{Drafting, Predictors, Run, RunDir, RunHeader, SkipRatio};
use s3d_reports::Table;
use s3d_reports::table::{Cell, Column};
use s3d_simulator::Request;
use s3d_simulator::optimize::with_curves::with_curves;
use s3d_simulator::what_if::{Cell as MapCell, Rates, map};
use serde_json::json;
use std::path::Path;

/// Rows of the map that a terminal shows.
const ROWS: usize = 12;
/// Context of costs where none is asked for.
const CONTEXT: usize = 256;

/// Chooses and prints; nothing is written (`s3d report` records what a run concludes).
pub fn optimize(args: &OptimizeArgs) -> anyhow::Result<()> {
    match (&args.profile, &args.dir) {
        (Some(profile), dir) => from_profile(profile, dir.as_deref(), args),
        (None, Some(dir)) => {
            let run = RunDir::new(dir).load()?;
            from_run(run, args)
        }
        (None, None) => from_numbers(args),
    }
}

/// Pass times of a profile, acceptance of a run directory or of a curve.
fn from_profile(profile: &str, dir: Option<&Path>, args: &OptimizeArgs) -> anyhow::Result<()> {
    let mut run = RunDir::new(locate::profile(profile)?).load()?;
    let Some(dir) = dir else { return from_curves(&run, profile, args) };
    let other = RunDir::new(dir).load()?;
    let (here, there) = (run.header.model.shape.layers, other.header.model.shape.layers);
    anyhow::ensure!(
        here == there,
        "{}: acceptance of {there} layers does not fit profile {profile} of {here} layers; give a \
         profile of the same model, or --curve",
        dir.display()
    );
    run.observations.traces = other.observations.traces;
    from_run(run, args)
}

fn from_curves(run: &Run, profile: &str, args: &OptimizeArgs) -> anyhow::Result<()> {
    if args.curve.curve.is_none() {
        return Err(usage("--profile needs acceptance: --curve, or a run directory with traces"));
    }
    let request = request(&run.header, args)?;
    let ceilings = args.curve.ceiling.len().max(1);
    let rates = Rates::Curves(what_if::curves(&args.curve, ceilings)?);
    let cells = with_curves(run, &request, &rates)?;
    let best = cells.first();
    let value = json!({
        "profile": profile,
        "derived": run.header.is_derived(),
        "machine": run.header.machines.first().map(|machine| &machine.model),
        "model": run.header.model.name,
        "dtype": run.header.dtype,
        "layers": run.header.model.shape.layers,
        "context": request.context(),
        "choice": best,
        "speculate": best.is_some_and(|cell| cell.answer.improvement_factor > 1.0),
        "evaluated": cells.len(),
        "cells": cells,
    });
    show::warnings(&run.header);
    let mut table = table(&cells);
    table.title = format!("The fastest plans on {}", s3d_reports::made::machine_name(&run.header));
    show::tables(&value, &[table], &args.output)
}

fn from_run(run: Run, args: &OptimizeArgs) -> anyhow::Result<()> {
    let request = request(&run.header, args)?;
    let conclusion = conclude(run, request)?;
    show::choice(&conclusion.choice.recommendation, &conclusion.run.header, &args.output)
}

/// The question of the header, changed by the flags.
fn request(header: &RunHeader, args: &OptimizeArgs) -> anyhow::Result<Request> {
    let mut request = Request { seed: args.seed, ..Request::of(header) };
    request.memory_budget = args.memory_budget.or(request.memory_budget);
    if let Some(context) = args.context {
        request.contexts = vec![(context, 1.0)];
    }
    if let Some(gamma_max) = args.gamma_max {
        request.gamma_max = or_usage("--gamma-max", Predictors::new(gamma_max))?.get();
    }
    Ok(request)
}

fn from_numbers(args: &OptimizeArgs) -> anyhow::Result<()> {
    let (Some(layers), Some(_)) = (args.layers, &args.curve.curve) else {
        return Err(usage(
            "expected a run directory, or --layers and --curve (and --costs), found neither",
        ));
    };
    let gamma_max = or_usage("--gamma-max", Predictors::new(args.gamma_max.unwrap_or(8)))?;
    let ceilings = args.curve.ceiling.len().max(1);
    let rates = Rates::Curves(what_if::curves(&args.curve, ceilings)?);
    let context = args.context.unwrap_or(CONTEXT);
    let costs = |drafting: Drafting| {
        let path = args.costs.as_deref();
        move |ratio: SkipRatio| what_if::costs(path, drafting, Some(ratio))
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

fn table(cells: &[MapCell]) -> Table {
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
