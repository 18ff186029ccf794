//! `s3d run --policy auto`: drafts that adapt beside the choice, end to end.

use crate::args::OutputArgs;
use crate::shared::adaptive::AutoPlan;
use crate::shared::conclude::Conclusion;
use crate::shared::heartbeat::Heartbeat;
use crate::shared::job::Job;
use crate::shared::{show, terminal};
use s3d_data::{Plan, PolicySample, SCHEMA_VERSION};
use s3d_measure::Subject;
use s3d_measure::policy::{Rivals, contest, prompts};
use s3d_reports::Table;
use s3d_reports::table::{Cell, Column};
use s3d_simulator::policy::{PolicyComparison, PolicyMeasured, compare_policy};
use serde::Serialize;
use std::collections::HashSet;

/// Texts of a task, at most.
const TEXTS: usize = 20;

/// What `policy.json` holds.
#[derive(Serialize)]
struct Compared<'a> {
    schema_version: u64,
    /// The choice.
    plan: &'a Plan,
    /// Its window and drafting with the most drafts of an iteration.
    most: &'a Plan,
    #[serde(flatten)]
    comparison: &'a PolicyComparison,
    samples: &'a [PolicySample],
}

/// Measures, writes `policy.json`, prints the table.
pub fn compare(
    job: &Job,
    conclusion: &Conclusion,
    output: &OutputArgs,
    quiet: bool,
) -> anyhow::Result<()> {
    let (run, request) = (&conclusion.run, &conclusion.request);
    let choice = conclusion.choice.recommendation.choice.as_ref();
    let Some(plan) = choice.map(|choice| &choice.plan) else {
        terminal::note("--policy: the run chose no plan that drafts; nothing to compare");
        return Ok(());
    };
    let Some(draft) = plan.draft() else { return Ok(()) };
    let auto = AutoPlan::of(run, draft)?;
    let known: HashSet<&str> =
        run.observations.traces.iter().map(|trace| trace.id.as_str()).collect();
    let prompts = prompts(&job.request.prompts, TEXTS, |id| known.contains(id));
    terminal::note(&format!("comparing drafts that adapt with {plan} on {} texts", prompts.len()));
    let model = &job.loaded.model;
    let subject = Subject { model, before_widening: job.narrow.as_ref().unwrap_or(model) };
    let policy = || auto.policy();
    let rivals = Rivals { fixed: plan, most: &auto.plan, policy: &policy };
    let progress = Heartbeat::new(quiet);
    let done = |done: usize| {
        let count = prompts.len();
        let message = format!("{done} of {count} texts decoded plainly, by {plan}, adapting");
        progress.part(done as u64, count as u64, message);
    };
    let samples = contest(subject, &job.request, &rivals, &prompts, &job.clock, &done)?;
    progress.clear();
    let comparison = compare_policy(&samples, request)?;
    let compared = Compared {
        schema_version: SCHEMA_VERSION,
        plan,
        most: &auto.plan,
        comparison: &comparison,
        samples: &samples,
    };
    let files = job.output.draft()?;
    let file = s3d_data::RunDir::new(files.path()).policy();
    s3d_data::store::save_json(&file, &compared)?;
    files.add()?;
    if output.json {
        return Ok(());
    }
    terminal::result("")?;
    show::tables(&(), &[table(plan, &comparison)], output)
}

fn table(plan: &Plan, comparison: &PolicyComparison) -> Table {
    let columns = vec![
        Column::new("texts of"),
        Column::new("texts"),
        Column::unit(&plan.to_string(), "times"),
        Column::unit("adapting", "times"),
        Column::new("adapting / fixed"),
        Column::new("plain / plain"),
    ];
    let row = |name: &str, row: &PolicyMeasured| {
        vec![
            Cell::text(name),
            Cell::Count(row.texts as u64),
            Cell::Estimate(row.fixed, 3),
            Cell::Estimate(row.policy, 3),
            Cell::Estimate(row.over_fixed, 3),
            Cell::Estimate(row.control, 3),
        ]
    };
    let task = |own: &PolicyMeasured| row(own.task.as_deref().unwrap_or("other"), own);
    let losing = comparison.losing.iter().map(|own| row("texts where the choice loses", own));
    let title = "Drafts that adapt, measured end to end: speed over that of plain decoding";
    Table::new("policy", title, columns)
        .note("Interleaved blocks of one text each. Two copies of plain decoding show the noise.")
        .rows(comparison.by_task.iter().map(task))
        .rows(losing)
        .rows([row("all", &comparison.all)])
}
