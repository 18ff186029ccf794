//! `s3d run --policy auto`: drafts that adapt beside the choice, end to end.

use crate::args::OutputArgs;
use crate::shared::adaptive::AutoPlan;
use crate::shared::conclude::Conclusion;
use crate::shared::heartbeat::Heartbeat;
use crate::shared::job::Job;
use crate::shared::{show, terminal};
use s3d_data::run::shard::digest;
use s3d_data::{Plan, PolicySample, SCHEMA_VERSION, Seconds};
use s3d_measure::policy::{Contest, GENERATIONS, Rivals, prompts};
use s3d_measure::{Prompt, Subject};
use s3d_reports::Table;
use s3d_reports::table::{Cell, Column};
use s3d_simulator::policy::{PolicyComparison, PolicyMeasured, compare_policy};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::Path;

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
    #[serde(flatten)]
    measured: &'a Measured,
}

/// The generations, and what going on with them needs.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Measured {
    /// A digest of what is compared: choice, policy, texts.
    of: String,
    samples: Vec<PolicySample>,
    /// Texts that ended at once.
    left_out: Vec<String>,
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
    let names = prompts.iter().map(|prompt| prompt.id.clone());
    let of = digest(
        [plan.to_string(), auto.described(), job.request.tokens.to_string()]
            .into_iter()
            .chain(names),
    );
    let file = s3d_data::RunDir::new(job.output.path()).policy();
    let mut measured = kept(&file, of, &prompts);
    let left: Vec<(usize, &Prompt)> =
        prompts.iter().copied().enumerate().filter(|(_, prompt)| !measured.has(prompt)).collect();
    if !left.is_empty() {
        let progress = Heartbeat::new(quiet);
        let mut contest = Contest::new(subject, &job.request, &rivals, &prompts, &job.clock)?;
        for (block, prompt) in left {
            let (done, count) = (block as u64, prompts.len() as u64);
            let message = format!("{done} of {count} texts decoded plainly, by {plan}, adapting");
            progress.part(done, count, message);
            measured.add(prompt, contest.block(block, prompt)?);
            if contest.is_to_be_kept() && !measured.samples.is_empty() {
                save(job, &rivals, &compare_policy(&measured.samples, request)?, &measured)?;
            }
        }
        progress.clear();
    }
    let comparison = compare_policy(&measured.samples, request)?;
    save(job, &rivals, &comparison, &measured)?;
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
    measured: &Measured,
) -> anyhow::Result<()> {
    let compared = Compared {
        schema_version: SCHEMA_VERSION,
        plan: rivals.fixed,
        most: rivals.most,
        comparison,
        measured,
    };
    let files = job.output.draft()?;
    s3d_data::store::save_json(&s3d_data::RunDir::new(files.path()).policy(), &compared)?;
    Ok(files.add()?)
}

impl Measured {
    fn has(&self, prompt: &Prompt) -> bool {
        self.left_out.contains(&prompt.id) || self.samples.iter().any(|s| s.id == prompt.id)
    }

    fn add(&mut self, prompt: &Prompt, samples: Vec<PolicySample>) {
        if samples.is_empty() {
            self.left_out.push(prompt.id.clone());
        }
        self.samples.extend(samples);
    }
}

/// What the file holds of the same comparison, in whole blocks; nothing where it is of another one,
/// or is no such file: then all is measured anew.
fn kept(file: &Path, of: String, prompts: &[&Prompt]) -> Measured {
    let new = |of| Measured { of, ..Measured::default() };
    if !file.exists() {
        return new(of);
    }
    let found: Option<Measured> = s3d_data::store::load_json(file).ok();
    let Some(mut measured) = found.filter(|found| found.of == of) else {
        terminal::note("policy.json does not compare this choice on these texts: measured anew");
        return new(of);
    };
    let same = |sample: &PolicySample| {
        let prompt = prompts.get(sample.block);
        prompt.is_some_and(|prompt| prompt.id == sample.id) && sample.seconds > Seconds::ZERO
    };
    measured.samples.retain(same);
    let generations = |block| measured.samples.iter().filter(|s| s.block == block).count();
    let whole: HashSet<usize> =
        (0..prompts.len()).filter(|block| generations(*block) == GENERATIONS).collect();
    measured.samples.retain(|sample| whole.contains(&sample.block));
    measured
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

    #[test]
    fn whole_blocks_of_the_same_comparison_are_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.json");
        let prompt = |id: &str| Prompt { id: id.into(), task: None, tokens: vec![1] };
        let [a, b] = ["a", "b"].map(prompt);
        let texts = [&a, &b];
        let sample = |block, id: &str, order| PolicySample {
            block,
            order,
            copy: 0,
            drafts: DraftCount::Plain,
            id: id.into(),
            task: None,
            tokens: 9,
            iterations: 8,
            seconds: Seconds(1.0),
        };
        let whole: Vec<PolicySample> = (0..4).map(|order| sample(0, "a", order)).collect();
        let mut samples = whole.clone();
        samples.extend((0..3).map(|order| sample(1, "b", order)));
        samples.push(sample(usize::MAX, "b", 3));
        let measured = Measured { of: "this".into(), samples, left_out: vec!["c".into()] };
        let new = |of: &str| Measured { of: of.into(), ..Measured::default() };
        assert_eq!(kept(&file, "this".into(), &texts), new("this"), "no file yet");
        s3d_data::store::save_json(&file, &measured).unwrap();
        let found = kept(&file, "this".into(), &texts);
        assert_eq!(found, Measured { samples: whole, ..measured }, "b is not whole");
        assert_eq!(texts.map(|prompt| found.has(prompt)), [true, false]);
        assert!(found.has(&prompt("c")), "left out");
        assert_eq!(kept(&file, "that".into(), &texts), new("that"), "another comparison");
        for damaged in ["", "{}", "[1", "{\"of\": 1}"] {
            std::fs::write(&file, damaged).unwrap();
            assert_eq!(kept(&file, "this".into(), &texts), new("this"), "{damaged}");
        }
    }
}
