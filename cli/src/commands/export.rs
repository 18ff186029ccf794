//! `s3d export`: the choice in the forms other engines read.

mod engines;
mod table;

use crate::args::ExportArgs;
use crate::shared::{load_run, terminal};
use anyhow::Context;
use s3d_data::run::replace::{fill, vacant};
use s3d_data::{Observations, PlanResult, Recommendation, RunDir, store};
use s3d_reports::words::verdict::quoted;
use serde_json::{Value, json};
use std::path::Path;

/// Prints the choice for the engine of `--to`, or as JSON: skip lists as Draft & Verify and SWIFT
/// publish them, and the exit layer of LayerSkip where the window reaches the top.
pub fn export(args: &ExportArgs) -> anyhow::Result<()> {
    if let Some(out) = &args.csv {
        return tables(&args.dir, &RunDir::new(out));
    }
    let dir = RunDir::new(&args.dir);
    if dir.header().is_file() && !dir.recommendation().is_file() {
        let dir = args.dir.display();
        anyhow::bail!("{dir}: no recommendation.json yet; 's3d report {dir}' writes it");
    }
    let text = match args.table {
        Some(kind) => table::text(args, kind)?,
        None => choice(&dir, args)?,
    };
    match &args.out {
        Some(file) => {
            store::save_atomically(file, format!("{text}\n").as_bytes())?;
            terminal::result(&file.display().to_string())
        }
        None => terminal::result(&text),
    }
}

/// The choice in the form that was asked for.
fn choice(dir: &RunDir, args: &ExportArgs) -> anyhow::Result<String> {
    let recommendation = dir.load_recommendation()?;
    let choice = advised(&recommendation, args)?;
    Ok(match args.to {
        None => format!("{:#}", forms(choice, recommendation.speculate)),
        Some(engine) => {
            let export = engines::of(engine, choice, &recommendation);
            for sentence in &export.cannot {
                terminal::note(&format!("note: {sentence}"));
            }
            export.text
        }
    })
}

/// The choice, if it is advice, or wanted anyway.
fn advised<'a>(
    recommendation: &'a Recommendation,
    args: &ExportArgs,
) -> anyhow::Result<&'a PlanResult> {
    let dir = args.dir.display();
    let choice = recommendation
        .choice
        .as_ref()
        .with_context(|| format!("{dir}: the run chose no plan, so there is nothing to export"))?;
    if !recommendation.speculate && !args.anyway {
        let reason = recommendation.reason.as_deref().unwrap_or("no plan beats plain decoding");
        anyhow::bail!(
            "{dir}: the verdict is not 'speculate', so no advice is exported: {reason}. --anyway \
             exports the best \
             plan all the same"
        );
    }
    if !recommendation.speculate {
        terminal::note("note: the verdict of this run is not 'speculate'");
    }
    Ok(choice)
}

/// Writes header and tables of a run into a folder of their own.
fn tables(dir: &Path, out: &RunDir) -> anyhow::Result<()> {
    let output = vacant(out.root())?;
    let run = load_run::load(&RunDir::new(dir))?;
    let draft = output.draft()?;
    fill(&draft, &run, None)?;
    draft.add()?;
    let folder = out.root().to_string_lossy();
    let layers = run.header.model.shape.layers;
    terminal::result(&format!(
        "{folder}: run.json, latency.csv, acceptance.jsonl, throughput.csv, memory.csv, \
         near_ties.csv\n\
         read them again: {} --layers {layers} --out DIR",
        import_command(&folder, &run.observations)
    ))
}

/// How a shell reads the tables again; those without a row hold nothing to import.
fn import_command(folder: &str, seen: &Observations) -> String {
    let tables = [
        ("run.json", true),
        ("latency.csv", !seen.latency.is_empty()),
        ("acceptance.jsonl", !seen.traces.is_empty()),
        ("throughput.csv", !seen.throughput.is_empty()),
        ("memory.csv", !seen.memory.is_empty()),
        ("near_ties.csv", !seen.near_ties.is_empty()),
    ];
    let files = tables.iter().filter(|(_, held)| *held);
    let files = files.map(|(name, _)| quoted(&format!("{folder}/{name}")));
    format!("s3d import {}", files.collect::<Vec<_>>().join(" "))
}

/// The forms of one plan. `early_exit_layer` is the number of layers kept at the bottom, and null
/// for a window that does not reach the top: no early exit equals it.
fn forms(choice: &PlanResult, speculate: bool) -> Value {
    let set = engines::skipped(choice);
    json!({
        "plan": choice.plan,
        "speculate": speculate,
        "draft_tokens": choice.predictors,
        "drafting": choice.drafting,
        "early_exit_layer": choice.early_exit_layer(),
        "skip_layers": { "attention": set.attention, "mlp": set.mlp },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3d_data::{Basis, Drafting, SkipRatio};

    /// A sequential plan of three drafts that skips `start..end` of six layers.
    pub(super) fn plan(start: usize, end: usize) -> PlanResult {
        PlanResult {
            plan: format!("seq:{start}..{end}:3").parse().unwrap(),
            drafting: Drafting::Sequential,
            skip_start: Some(start),
            skip_end: Some(end),
            layers: 6,
            skip_ratio: SkipRatio::new((end - start) as f64 / 6.0).unwrap(),
            skip_set: None,
            predictors: 3,
            predicted_speedup: None,
            measured_speedup: None,
            direct_speedup: None,
            tokens_per_s: None,
            tokens_per_iteration: None,
            basis: Basis::Predicted,
            peak_memory_bytes: None,
            probability_best: None,
        }
    }

    #[test]
    fn a_window_to_the_top_is_an_early_exit() {
        // source: LayerSkip, arXiv 2404.16710: exit at layer E = the first E layers are run
        assert_eq!(forms(&plan(2, 6), true)["early_exit_layer"], 2);
        let middle = forms(&plan(1, 3), true);
        assert_eq!(middle["early_exit_layer"], Value::Null);
        assert_eq!(middle["skip_layers"]["attention"], json!([1, 2]));
    }
}
