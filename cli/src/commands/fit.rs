//! `s3d fit`: curves and cost laws, from what is in a run directory.

use crate::args::FitArgs;
use crate::shared::{load_run, show};
use s3d_data::{Drafting, Estimate, Family, Fit, Holds, Output, RunDir, RunHeader, store};
use s3d_reports::table::{Cell, Column};
use s3d_reports::{Table, tables};
use s3d_simulator::FitOptions;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Fits, writes `fit.json`, prints the best curves and laws; of several runs how `U` differs.
pub fn fit(args: &FitArgs) -> anyhow::Result<()> {
    if let [dir] = args.dirs.as_slice() {
        let (_, fit) = fitted(dir, args)?;
        return show::tables(&fit, &[tables::curves(&fit), tables::laws(&fit)], &args.output);
    }
    let all: Vec<(RunHeader, Fit)> =
        args.dirs.iter().map(|dir| fitted(dir, args)).collect::<anyhow::Result<_>>()?;
    let rows = checkpoints(&args.dirs, &all);
    let value = json!(rows.iter().map(Checkpoint::json).collect::<Vec<_>>());
    show::tables(&value, &[table(&rows)], &args.output)
}

fn fitted(path: &Path, args: &FitArgs) -> anyhow::Result<(RunHeader, Fit)> {
    let dir = RunDir::new(path);
    let run = load_run::one_machine(&dir, args.machine)?;
    let output = Output::open(path, Holds::Run)?;
    let fit = s3d_simulator::fit(&run, &FitOptions { seed: args.seed, ..FitOptions::default() })?;
    let draft = output.draft()?;
    store::save_json(&RunDir::new(draft.path()).fit(), &fit)?;
    draft.add()?;
    Ok((run.header, fit))
}

/// `U` and ceiling of one predictor in one run.
struct Checkpoint<'a> {
    dir: &'a Path,
    steps: Option<u64>,
    drafting: Drafting,
    predictor: usize,
    u: Estimate,
    ceiling: Option<Estimate>,
}

impl Checkpoint<'_> {
    fn json(&self) -> serde_json::Value {
        json!({
            "run": self.dir.display().to_string(),
            "training_steps": self.steps,
            "drafting": self.drafting,
            "predictor": self.predictor,
            "family": FAMILY,
            "u": self.u,
            "ceiling": self.ceiling,
        })
    }
}

/// The family whose `U` is compared: one for all runs, so that the numbers mean the same.
const FAMILY: Family = Family::Superellipse;

/// By drafting and predictor, and within them by training steps.
fn checkpoints<'a>(dirs: &'a [PathBuf], all: &[(RunHeader, Fit)]) -> Vec<Checkpoint<'a>> {
    let mut rows = Vec::new();
    for (dir, (header, fit)) in dirs.iter().zip(all) {
        for curve in fit.curves.iter().filter(|curve| curve.family == FAMILY) {
            let named =
                |name: &str| curve.parameters.iter().find(|p| p.name == name).map(|p| p.estimate);
            let Some(u) = named("u") else { continue };
            let (drafting, predictor) = (curve.drafting, curve.predictor);
            let (steps, ceiling) = (header.model.training_steps, named("ceiling"));
            rows.push(Checkpoint { dir, steps, drafting, predictor, u, ceiling });
        }
    }
    rows.sort_by_key(|row| (row.drafting, row.predictor, row.steps));
    rows
}

fn table(rows: &[Checkpoint]) -> Table {
    let columns = vec![
        Column::new("drafting"),
        Column::new("draft"),
        Column::new("training steps"),
        Column::new("run"),
        Column::new("U"),
        Column::new("ceiling"),
    ];
    let row = |row: &Checkpoint| {
        vec![
            Cell::text(row.drafting.name()),
            Cell::Count(row.predictor as u64),
            row.steps.map_or(Cell::Unknown, Cell::Count),
            Cell::text(row.dir.display().to_string()),
            Cell::Estimate(row.u, 2),
            Cell::estimate(row.ceiling, 3),
        ]
    };
    Table::new("checkpoints", format!("U of the {FAMILY} curve in each run"), columns)
        .rows(rows.iter().map(row))
}
