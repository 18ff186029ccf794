//! `s3d run --policy auto`: drafts that adapt beside the choice, end to end.

use crate::args::OutputArgs;
use crate::shared::adaptive::AutoPlan;
use crate::shared::conclude::Conclusion;
use crate::shared::heartbeat::Heartbeat;
use crate::shared::job::Job;
use crate::shared::{show, terminal};
use s3d_data::{Plan, PolicySample, SCHEMA_VERSION, Seconds};
use s3d_measure::policy::{Contest, Rivals, prompts};
use s3d_measure::{Clock, Prompt, Subject};
use s3d_reports::Table;
use s3d_reports::table::{Cell, Column};
use s3d_simulator::policy::{PolicyComparison, PolicyMeasured, compare_policy};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::Path;

/// Texts of a task, at most.
const TEXTS: usize = 20;
/// How often what was measured is kept.
const KEEP_EVERY: Seconds = Seconds(20.0);

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

/// What going on needs of it.
#[derive(Deserialize)]
struct Kept {
    plan: Plan,
    most: Plan,
    samples: Vec<PolicySample>,
}

/// Measures, writes `policy.json`, prints the table. Texts that the file holds already are not
/// measured again.
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
    let file = s3d_data::RunDir::new(job.output.path()).policy();
    let mut samples = kept(&file, &rivals, &prompts)?;
    let measured: HashSet<usize> = samples.iter().map(|sample| sample.block).collect();
    if measured.len() < prompts.len() {
        let progress = Heartbeat::new(quiet);
        let mut contest = Contest::new(subject, &job.request, &rivals, &prompts, &job.clock)?;
        let mut saved = job.clock.now();
        for (block, prompt) in prompts.iter().enumerate().filter(|(b, _)| !measured.contains(b)) {
            let (done, count) = (block as u64, prompts.len() as u64);
            let message = format!("{done} of {count} texts decoded plainly, by {plan}, adapting");
            progress.part(done, count, message);
            samples.extend(contest.block(block, prompt)?);
            if job.clock.now() - saved > KEEP_EVERY && !samples.is_empty() {
                save(job, &rivals, &compare_policy(&samples, request)?, &samples)?;
                saved = job.clock.now();
            }
        }
        progress.clear();
    }
    let comparison = compare_policy(&samples, request)?;
    save(job, &rivals, &comparison, &samples)?;
    if output.json {
        return Ok(());
    }
    terminal::result("")?;
    show::tables(&(), &[table(plan, &comparison)], output)
}

fn save(
    job: &Job,
    rivals: &Rivals<'_>,
    comparison: &PolicyComparison,
    samples: &[PolicySample],
) -> anyhow::Result<()> {
    let compared = Compared {
        schema_version: SCHEMA_VERSION,
        plan: rivals.fixed,
        most: rivals.most,
        comparison,
        samples,
    };
    let files = job.output.draft()?;
    s3d_data::store::save_json(&s3d_data::RunDir::new(files.path()).policy(), &compared)?;
    Ok(files.add()?)
}

/// What was measured of the same rivals on the same texts before, in whole blocks.
fn kept(
    file: &Path,
    rivals: &Rivals<'_>,
    prompts: &[&Prompt],
) -> anyhow::Result<Vec<PolicySample>> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let kept: Kept = s3d_data::store::load_versioned(file, SCHEMA_VERSION, |_| Ok(()))?;
    let same = |sample: &PolicySample| {
        prompts.get(sample.block).is_some_and(|prompt| prompt.id == sample.id)
    };
    let goes_on =
        kept.plan == *rivals.fixed && kept.most == *rivals.most && kept.samples.iter().all(same);
    if !goes_on {
        terminal::note("policy.json compares another plan or other texts: it is measured anew");
        return Ok(Vec::new());
    }
    Ok(kept.samples)
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

#[cfg(test)]
mod tests {
    use super::*;
    use s3d_data::DraftCount;
    use s3d_model::DraftPolicy;

    struct Never;

    impl DraftPolicy for Never {
        fn drafts(&mut self) -> usize {
            0
        }

        fn told(&mut self, _: usize, _: usize) {}
    }

    #[test]
    fn only_the_same_plan_and_texts_are_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.json");
        let plans: [Plan; 3] = ["1..2:2", "1..2:4", "1..2:3"].map(|plan| plan.parse().unwrap());
        let never = || Box::new(Never) as Box<dyn DraftPolicy>;
        let rivals = |fixed| Rivals { fixed, most: &plans[1], policy: &never };
        let prompt = |id: &str| Prompt { id: id.into(), task: None, tokens: vec![1] };
        let [a, b] = ["a", "b"].map(prompt);
        let sample = PolicySample {
            block: 0,
            order: 0,
            copy: 0,
            drafts: DraftCount::Plain,
            id: "a".into(),
            task: None,
            tokens: 9,
            iterations: 8,
            seconds: Seconds(1.0),
        };
        assert_eq!(kept(&file, &rivals(&plans[0]), &[&a, &b]).unwrap(), [], "no file yet");
        let whole = serde_json::json!({
            "schema_version": SCHEMA_VERSION, "plan": plans[0], "most": plans[1], "samples": [sample],
            "losing": null,
        });
        std::fs::write(&file, whole.to_string()).unwrap();
        assert_eq!(kept(&file, &rivals(&plans[0]), &[&a, &b]).unwrap(), [sample]);
        assert_eq!(kept(&file, &rivals(&plans[2]), &[&a, &b]).unwrap(), [], "another choice");
        assert_eq!(kept(&file, &rivals(&plans[0]), &[&b, &a]).unwrap(), [], "another text");
        std::fs::write(&file, "{}").unwrap();
        let error = kept(&file, &rivals(&plans[0]), &[&a]).unwrap_err().to_string();
        assert!(error.contains("policy.json"), "{error}");
    }
}
