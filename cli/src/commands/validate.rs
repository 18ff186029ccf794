//! `s3d validate`: prediction error, coverage, regret, waterfall, and exact replay.

use crate::args::ValidateArgs;
use crate::conclude::{Conclusion, conclude};
use crate::{show, terminal};
use s3d_data::{Plan, Run, RunDir, Share};
use s3d_reports::tables;
use s3d_simulator::Request;
use s3d_simulator::validate::{self, bookkeeping, control, sums, waterfall};
use serde_json::json;

/// Judges a run; fails when a generation did not take the iterations that its trace replays.
pub fn validate(args: &ValidateArgs) -> anyhow::Result<()> {
    let run = RunDir::new(&args.dir).load()?;
    let replays = validate::replayed_iterations(&run)?;
    terminal::note(&format!(
        "replay: {} of {} generations took exactly the iterations that their traces replay",
        replays.equal, replays.compared
    ));
    checks(&run, args.seed);
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

/// What the measurements say about themselves: the two copies of the control, and whether the times
/// of components add up to those of passes.
fn checks(run: &Run, seed: u64) {
    if let Some((ratio, blocks)) = control::control(run, 0, seed) {
        let covered = if ratio.covers(1.0) { "covers" } else { "does not cover" };
        terminal::note(&format!(
            "control: two copies of plain decoding: {ratio:.4} over {blocks} blocks, {covered} 1"
        ));
    }
    if let Some(sums) = sums::sums(run, 0) {
        let share = |value: Option<f64>| value.map_or("unknown".into(), |v| Share(v).to_string());
        terminal::note(&format!(
            "sums: components add up to passes within {} (median of {} cells), {} (worst); {} of a pass \
             is paid whatever its depth; draft passes summed from the layers of a full pass come out \
             {} too long (what the cache saves), which is why they are timed in place",
            Share(sums.median),
            sums.cells.len(),
            Share(sums.worst),
            share(sums.fixed),
            share(sums.cache),
        ));
    }
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
        "sums": sums::sums(run, request.machine),
        "control": control::control(run, request.machine, request.seed).map(|(ratio, _)| ratio),
        "held_out": conclusion.held_out,
        "bookkeeping": known,
        "regret_bound": conclusion.choice.recommendation.regret_bound,
        "regret_basis": conclusion.choice.recommendation.regret_basis,
        "waterfall": steps,
    });
    let input = conclusion.report_input()?;
    show::tables(&value, &[tables::held_out(&input)], &args.output)
}
