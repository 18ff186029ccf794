//! `s3d export`: the choice in the forms other engines read.

use crate::args::ExportArgs;
use crate::{run_of, terminal};
use anyhow::Context;
use s3d_data::whole::{fill, vacant};
use s3d_data::{PlanResult, RunDir};
use serde_json::{Value, json};
use std::path::Path;

/// Prints the choice as JSON: skip lists as Draft & Verify and SWIFT publish them, and the exit
/// layer of LayerSkip where the window reaches the top.
pub fn export(args: &ExportArgs) -> anyhow::Result<()> {
    if let Some(out) = &args.csv {
        return tables(&args.dir, &RunDir::new(out));
    }
    let dir = RunDir::new(&args.dir);
    if dir.header().is_file() && !dir.recommendation().is_file() {
        let dir = args.dir.display();
        anyhow::bail!("{dir}: no recommendation.json yet; 's3d report {dir}' writes it");
    }
    let recommendation = dir.load_recommendation()?;
    let choice = recommendation.choice.with_context(|| {
        format!("{}: the run chose no plan, so there is nothing to export", args.dir.display())
    })?;
    terminal::result(&serde_json::to_string_pretty(&forms(&choice, recommendation.speculate))?)
}

/// Writes header and tables of a run into a folder of their own.
fn tables(dir: &Path, out: &RunDir) -> anyhow::Result<()> {
    let output = vacant(out.root())?;
    let run = run_of::load(&RunDir::new(dir))?;
    let draft = output.draft()?;
    fill(&draft, &run, None)?;
    draft.add()?;
    let layers = run.header.model.shape.layers;
    terminal::result(&format!(
        "{0}: run.json, latency.csv, acceptance.jsonl, throughput.csv, memory.csv, near_ties.csv\n\
         read them again: s3d import {0}/run.json {0}/*.csv {0}/acceptance.jsonl --layers {layers} --out DIR",
        out.root().display()
    ))
}

/// The forms of one plan. `early_exit_layer` is the number of layers kept at the bottom, and null
/// for a window that does not reach the top: no early exit equals it.
fn forms(choice: &PlanResult, speculate: bool) -> Value {
    let (attention, mlp) = match (&choice.skip_set, choice.skip_start, choice.skip_end) {
        (Some(set), _, _) => (set.attention.clone(), set.mlp.clone()),
        (None, Some(start), Some(end)) => ((start..end).collect(), (start..end).collect()),
        _ => (Vec::new(), Vec::new()),
    };
    let reaches_top = choice.skip_set.is_none() && choice.skip_end == Some(choice.layers);
    json!({
        "plan": choice.plan,
        "speculate": speculate,
        "draft_tokens": choice.predictors,
        "drafting": choice.drafting,
        "early_exit_layer": if reaches_top { choice.skip_start } else { None },
        "skip_layers": { "attention": attention, "mlp": mlp },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3d_data::{Basis, Drafting, SkipRatio};

    fn plan(start: usize, end: usize) -> PlanResult {
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
