//! `s3d simulate RUN --policy auto`: drafts that adapt, replayed over the texts of a run.

use crate::args::{MachineArgs, OutputArgs};
use crate::shared::{adaptive, load_run, show, terminal};
use s3d_data::RunDir;
use s3d_reports::Table;
use s3d_reports::table::{Cell, Column};
use s3d_simulator::Request;
use s3d_simulator::policy::{PolicyReplay, PolicyRow, Settings, replay_policy};
use std::path::Path;

/// Replays and prints.
pub fn show(run: &Path, output: &OutputArgs) -> anyhow::Result<()> {
    let dir = RunDir::new(run);
    let run = load_run::one_machine(&dir, MachineArgs { machine: None })?;
    let choice = adaptive::choice_of(&dir, &run)?;
    let replay = replay_policy(&run, &Request::of(&run.header), &choice, Settings::default())?;
    if !output.json && !output.markdown {
        terminal::result(&format!("{}\n", sentences(&replay).join("\n")))?;
    }
    show::tables(&replay, &[table(&replay)], output)
}

fn sentences(replay: &PolicyReplay) -> Vec<String> {
    let (all, most) = (&replay.all, replay.most);
    let fixed = match replay.fixed_drafts {
        0 => "plain decoding, which is best of all fixed numbers".to_string(),
        1 => "always 1 draft, the best fixed number".into(),
        drafts => format!("always {drafts} drafts, the best fixed number"),
    };
    let first = format!(
        "Drafts that adapt (0 to {most}, from {} on) are {} times plain decoding: {} times {fixed}. \
         Replayed over {} texts, each judged by the others.",
        replay.plan,
        show::between(all.policy),
        show::between(all.over_fixed),
        all.texts
    );
    let losing = match &replay.losing {
        Some(row) => format!(
            "On the {} texts where {} is slower than plain decoding ({:.3}), they are {:.3} times \
             plain decoding.",
            row.texts, replay.plan, row.choice, row.policy.value
        ),
        None => format!("{} is slower than plain decoding on none of these texts.", replay.plan),
    };
    vec![first, losing]
}

fn table(replay: &PolicyReplay) -> Table {
    let columns = vec![
        Column::new("texts of"),
        Column::new("texts"),
        Column::unit("choice", "times"),
        Column::unit("best fixed", "times"),
        Column::unit("adapting", "times"),
        Column::new("adapting / fixed"),
        Column::unit("best for each text", "times"),
    ];
    let row = |name: &str, row: &PolicyRow| {
        vec![
            Cell::text(name),
            Cell::Count(row.texts as u64),
            Cell::Number(row.choice, 3),
            Cell::Number(row.fixed, 3),
            Cell::Estimate(row.policy, 3),
            Cell::Estimate(row.over_fixed, 3),
            Cell::Number(row.oracle, 3),
        ]
    };
    let task = |own: &PolicyRow| row(own.task.as_deref().unwrap_or("other"), own);
    let losing = replay.losing.iter().map(|own| row("texts where the choice loses", own));
    Table::new("policy", "Drafts that adapt, replayed: speedup over plain decoding", columns)
        .note("The best number for each text is known only afterwards.")
        .rows(replay.by_task.iter().map(task))
        .rows(losing)
        .rows([row("all", &replay.all)])
}
