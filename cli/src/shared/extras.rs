//! What else a run says beside its choice: free sets of sub-layers, drafts ended early, what more
//! training would buy. Each is left out where the run does not hold what it needs.

use crate::shared::conclude::Conclusion;
use anyhow::Context;
use s3d_data::{Drafting, Holds, Output, Plan};
use s3d_reports::table::{Cell, Column};
use s3d_reports::{Table, tables};
use s3d_simulator::cost::memory::PlanMemory;
use s3d_simulator::explore::early_stop::{EarlyStop, early_stop};
use s3d_simulator::explore::sublayers::{FreeSets, Proposal, free_sets};
use s3d_simulator::explore::training::{TrainingGain, training_gain};
use serde::Serialize;
use std::path::Path;

/// Free sets that are listed.
const SETS: usize = 5;
/// What every `U` is multiplied with.
const FACTORS: [f64; 5] = [0.5, 1.0, 1.5, 2.0, 4.0];
/// Confidences below which a draft would end.
const THRESHOLDS: [f64; 6] = [0.0, 0.3, 0.5, 0.7, 0.8, 0.9];

/// What a run says beside its choice; null where it cannot.
#[derive(Serialize)]
pub struct Extras {
    /// Drafting of the choice, for which all of this holds.
    drafting: Option<Drafting>,
    /// Sets of sub-layers, and the best window by the same estimate.
    free_sets: Option<FreeSets>,
    /// The choice with drafts ended early; needs traces with confidences.
    early_stop: Option<Vec<EarlyStop>>,
    /// The fastest plan if `U` were larger.
    training: Option<Vec<TrainingGain>>,
    /// Memory of plain decoding, of the choice and of leading ties, and what drafting adds.
    drafting_memory: Vec<PlanMemory>,
}

impl Extras {
    /// Asks all of a concluded run.
    pub fn new(conclusion: &Conclusion) -> Self {
        let Conclusion { run, request, fit, choice, .. } = conclusion;
        let chosen = choice.recommendation.choice.as_ref().and_then(|c| Plan::draft(&c.plan));
        let drafting = chosen.map(|plan| plan.drafting);
        Self {
            drafting,
            free_sets: drafting.and_then(|d| free_sets(run, request, d, SETS).ok()),
            early_stop: chosen.and_then(|plan| early_stop(run, request, plan, &THRESHOLDS).ok()),
            training: drafting.and_then(|d| training_gain(run, fit, request, d, &FACTORS).ok()),
            drafting_memory: conclusion.plan_memory().unwrap_or_default(),
        }
    }

    /// Tables of what is known.
    pub fn tables(&self) -> Vec<Table> {
        let sets = self.free_sets.as_ref().map(sets_table);
        let early = self.early_stop.as_deref().map(early_table);
        let training = self.training.as_deref().map(training_table);
        let known = |memory: &&[PlanMemory]| !memory.is_empty();
        let memory = Some(&self.drafting_memory[..]).filter(known).map(tables::drafting_memory);
        [memory, sets, early, training].into_iter().flatten().collect()
    }

    /// Takes the folder of `--write-sets`: asked before anything is computed.
    ///
    /// # Errors
    /// A folder that is not for skip lists.
    pub fn place_of_sets(folder: &Path) -> anyhow::Result<Output> {
        Output::open(folder, Holds::Sets).context("--write-sets")
    }

    /// Writes each free set as a skip list `set-N.json` into `output`; returns the plans to
    /// measure.
    ///
    /// # Errors
    /// When a file cannot be written, or there is no set.
    pub fn write_sets(&self, output: &Output) -> anyhow::Result<Vec<String>> {
        let sets = self.free_sets.as_ref().map_or(&[][..], |found| &found.sets);
        anyhow::ensure!(
            !sets.is_empty(),
            "no free sets: measure acceptance of three windows or more"
        );
        let prefix = if self.drafting == Some(Drafting::Sequential) { "seq:" } else { "" };
        let draft = output.draft()?;
        let mut plans = Vec::new();
        for (place, proposal) in sets.iter().enumerate() {
            let name = format!("set-{}.json", place + 1);
            s3d_data::store::save_json(&draft.path().join(&name), &proposal.set)?;
            let file = output.file(&name);
            plans.push(format!("{prefix}set={}:{}", file.display(), proposal.predictors));
        }
        draft.add()?;
        Ok(plans)
    }
}

fn sets_table(found: &FreeSets) -> Table {
    let columns = vec![
        Column::new("skipped attention"),
        Column::new("skipped MLP"),
        Column::new("drafts"),
        Column::unit("speedup", "times"),
        Column::new("acceptance"),
    ];
    let row = |proposal: &Proposal, basis: &str| {
        vec![
            Cell::text(ranges(&proposal.set.attention)),
            Cell::text(ranges(&proposal.set.mlp)),
            Cell::Count(proposal.predictors as u64),
            Cell::Number(proposal.speedup, 2),
            Cell::text(basis),
        ]
    };
    let basis = |judged: bool| if judged { "measured" } else { "estimated" };
    let window = found.window.iter().map(|(_, window)| row(window, "estimated (best window)"));
    let sets = found.sets.iter().map(|set| row(set, basis(set.judged)));
    Table::new("free_sets", "Free sets of sub-layers beside the best window", columns)
        .note("Computed from the model: damages of layers add up. Measure a set to judge it.")
        .rows(sets.chain(window))
}

/// `2-5, 8`: runs of numbers joined.
fn ranges(layers: &[usize]) -> String {
    let runs = layers.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [one] => one.to_string(),
        _ => format!("{}-{}", run[0], run[run.len() - 1]),
    });
    let runs: Vec<String> = runs.collect();
    if runs.is_empty() { "none".into() } else { runs.join(", ") }
}

fn early_table(rows: &[EarlyStop]) -> Table {
    let columns = vec![
        Column::new("confidence below"),
        Column::new("drafts per iteration"),
        Column::new("tokens per iteration"),
        Column::unit("speedup", "times"),
    ];
    let row = |stop: &EarlyStop| {
        vec![
            Cell::Number(stop.threshold, 1),
            Cell::Number(stop.drafts_per_iteration, 2),
            Cell::Number(stop.tokens_per_iteration, 2),
            Cell::Number(stop.speedup, 2),
        ]
    };
    Table::new("early_stop", "The choice if drafts end where confidence is low, replayed", columns)
        .rows(rows.iter().map(row))
}

fn training_table(rows: &[TrainingGain]) -> Table {
    let columns =
        vec![Column::new("U times"), Column::new("plan"), Column::unit("speedup", "times")];
    let row = |gain: &TrainingGain| {
        vec![
            Cell::Number(gain.factor, 1),
            Cell::text(gain.plan.to_string()),
            Cell::Number(gain.speedup, 2),
        ]
    };
    Table::new("training", "What more training would buy, by the fitted curves", columns)
        .rows(rows.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_layers_are_joined() {
        assert_eq!(ranges(&[2, 3, 4, 7, 9, 10]), "2-4, 7, 9-10");
        assert_eq!(ranges(&[]), "none");
    }
}
