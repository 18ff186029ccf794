//! `s3d optimize`: the choice, from a run directory or from numbers.

use crate::args::OptimizeArgs;
use crate::conclude::conclude;
use crate::usage::{or_usage, usage};
use crate::{show, what_if};
use s3d_data::{Drafting, Predictors, RunDir, SkipRatio};
use s3d_reports::Table;
use s3d_reports::table::{Cell, Column};
use s3d_simulator::Request;
use s3d_simulator::what_if::{Cell as MapCell, Rates, map};
use serde_json::json;
use std::path::Path;

/// Rows of the map that a terminal shows.
const ROWS: usize = 12;
/// Context of costs where none is asked for.
const CONTEXT: usize = 256;

/// Chooses and prints; nothing is written (`s3d report` records what a run concludes).
pub fn optimize(args: &OptimizeArgs) -> anyhow::Result<()> {
    match &args.dir {
        Some(dir) => from_run(dir, args),
        None => from_numbers(args),
    }
}

fn from_run(path: &Path, args: &OptimizeArgs) -> anyhow::Result<()> {
    let dir = RunDir::new(path);
    let run = dir.load()?;
    let mut request = Request { seed: args.seed, ..Request::of(&run.header) };
    request.memory_budget = args.memory_budget.or(request.memory_budget);
    if let Some(context) = args.context {
        request.contexts = vec![(context, 1.0)];
    }
    if let Some(gamma_max) = args.gamma_max {
        request.gamma_max = or_usage("--gamma-max", Predictors::new(gamma_max))?.get();
    }
    let conclusion = conclude(run, request)?;
    show::choice(&conclusion.choice.recommendation, &conclusion.run.header, &args.output)
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
