//! The choice from numbers that someone types: a curve, costs, a number of layers.

use crate::args::OptimizeArgs;
use crate::shared::usage::{or_usage, usage};
use crate::shared::{resolve, show, typed_numbers};
use s3d_data::{Drafting, Predictors, SkipRatio};
use s3d_simulator::cost::what_if::{Rates, map};
use serde_json::json;

/// Context of costs where none is asked for.
const CONTEXT: usize = 256;

/// The fastest plans of a model of `--layers`, by `--curve` and `--costs`.
///
/// # Errors
/// Flags that are missing, out of their domain, or ask for too many plans.
pub fn from_numbers(args: &OptimizeArgs) -> anyhow::Result<()> {
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
    let rates = Rates::Curves(typed_numbers::curves(&args.curve, ceilings)?);
    let contexts = args.context.as_deref().map(resolve::contexts).transpose()?;
    let context = match contexts.as_deref() {
        None => CONTEXT,
        Some([(context, _)]) => *context,
        Some(_) => return Err(usage("--context: without a run directory, expected one context")),
    };
    typed_numbers::check_size(layers, gamma_max)?;
    let known = typed_numbers::Costs::read(args.costs.as_deref())?;
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
    show::tables(&value, &[show::fastest(&cells)], &args.output)
}
