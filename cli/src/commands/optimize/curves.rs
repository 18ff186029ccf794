//! `s3d optimize --profile`: the pass times of a machine that one need not own.

use crate::args::OptimizeArgs;
use crate::shared::usage::usage;
use crate::shared::{load_run, show, terminal, typed_numbers};
use s3d_data::{ModelIdentity, Run, RunDir, TimesFrom};
use s3d_reports::words::provenance;
use s3d_simulator::Request;
use s3d_simulator::choose::with_curves::with_curves;
use s3d_simulator::cost::what_if::Rates;
use serde_json::json;
use std::path::Path;

/// Puts the traces of another run of the same model in place of the profile's own, and says whose
/// acceptance it then is. Generations of the profile stay where they were those of the same
/// weights; of other weights (or random ones) only plain decoding does, since they accepted other
/// drafts.
///
/// # Errors
/// A run that does not load, without traces, or of another number of layers.
pub fn take_traces(run: &mut Run, profile: &str, dir: &Path) -> anyhow::Result<()> {
    let other = load_run::load(&RunDir::new(dir))?;
    let (here, there) = (run.header.model.shape.layers, other.header.model.shape.layers);
    anyhow::ensure!(
        here == there,
        "{}: acceptance of {there} layers does not fit profile {profile} of {here} layers; give a \
         profile of the same model, or --curve",
        dir.display()
    );
    anyhow::ensure!(
        !other.observations.traces.is_empty(),
        "{}: no acceptance traces in it; measure some with s3d measure acceptance --out DIR",
        dir.display()
    );
    let mine = &mut run.header;
    let note = format!(
        "times are those of profile {profile} ({} at {}), acceptance that of {} ({} at {})",
        mine.model.name,
        mine.dtype,
        dir.display(),
        other.header.model.name,
        other.header.dtype
    );
    terminal::note(&note);
    mine.warnings.push(note);
    let same = !mine.model.content_hash.is_empty()
        && mine.model.content_hash == other.header.model.content_hash
        && mine.imposed == other.header.imposed
        && mine.sampling == other.header.sampling;
    if !same {
        run.observations.throughput.retain(|sample| sample.plan.draft().is_none());
    }
    mine.model = ModelIdentity { shape: mine.model.shape.clone(), ..other.header.model };
    mine.imposed = other.header.imposed;
    mine.sampling = other.header.sampling;
    run.observations.traces = other.observations.traces;
    Ok(())
}

/// The fastest plans on the profile with the acceptance curve of the flags.
///
/// # Errors
/// No curve; a profile without a plain pass.
pub fn from_curves(
    run: &Run,
    profile: &str,
    request: &Request,
    args: &OptimizeArgs,
) -> anyhow::Result<()> {
    if args.curve.curve.is_none() {
        return Err(usage("--profile needs acceptance: --curve, or a run directory with traces"));
    }
    let ceilings = args.curve.ceiling.len().max(1);
    let rates = Rates::Curves(typed_numbers::curves(&args.curve, ceilings)?);
    let cells = with_curves(run, request, &rates)?;
    let best = cells.first();
    let value = json!({
        "profile": profile,
        "derived": run.header.times_from() == TimesFrom::DataSheet,
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
    let mut table = show::fastest(&cells);
    table.title = format!("The fastest plans on {}", provenance::machine_name(&run.header));
    show::tables(&value, &[table], &args.output)
}
