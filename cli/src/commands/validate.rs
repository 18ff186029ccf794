//! `s3d validate`: prediction error, coverage, regret, waterfall, and exact replay.

use crate::args::ValidateArgs;
use crate::conclude::{Conclusion, conclude};
use crate::{show, terminal};
use s3d_data::{Plan, RunDir};
use s3d_reports::tables;
use s3d_simulator::Request;
use s3d_simulator::validate::{self, bookkeeping, waterfall};
use serde_json::json;

/// Judges a run; fails when a generation did not take the iterations that its trace replays.
pub fn validate(args: &ValidateArgs) -> anyhow::Result<()> {
    let run = RunDir::new(&args.dir).load()?;
    let replays = validate::replayed_iterations(&run)?;
    terminal::note(&format!(
        "replay: {} of {} generations took exactly the iterations that their traces replay",
        replays.equal, replays.compared
    ));
    if !run.observations.latency.is_empty() {
        let request = Request { seed: args.seed, ..Request::of(&run.header) };
        judgement(&conclude(run, request)?, args)?;
    }
    anyhow::ensure!(
        replays.equal == replays.compared,
        "{}: {} generations differ from their replay; the first: {}",
        args.dir.display(),
        replays.compared - replays.equal,
        replays.first_difference.unwrap_or_default()
    );
    Ok(())
}

fn judgement(conclusion: &Conclusion, args: &ValidateArgs) -> anyhow::Result<()> {
    let (run, request) = (&conclusion.run, &conclusion.request);
    let known = bookkeeping(run, request)?;
    let chosen = conclusion.choice.recommendation.choice.as_ref();
    let steps = match chosen.and_then(|choice| Plan::draft(&choice.plan)) {
        Some(draft) => waterfall::waterfall(run, request, draft)?,
        None => Vec::new(),
    };
    let value = json!({
        "held_out": conclusion.held_out,
        "bookkeeping": known,
        "regret_bound": conclusion.choice.recommendation.regret_bound,
        "regret_basis": conclusion.choice.recommendation.regret_basis,
        "waterfall": steps,
    });
    let input = conclusion.report_input()?;
    show::tables(&value, &[tables::held_out(&input)], &args.output)
}
