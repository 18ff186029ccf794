//! Conclusions while measuring goes on: the simulator's answers to the questions of `measure`.

use crate::shared::precision::half_width;
use s3d_data::{Draft, DraftPlan, Plan, PlanResult, Run};
use s3d_measure::{Judge, JudgeResult, Standing};
use s3d_simulator::predict::blocks::Blocks;
use s3d_simulator::{Choice, Error, Request, choose};
use std::collections::BTreeSet;

/// Draws of the bootstrap while measuring: enough to rank plans, cheap enough to ask often.
const DRAWS: usize = 200;
/// Two plans are told apart well enough when the ratio of their speeds is known this closely.
const NARROW: f64 = 0.01;
/// Blocks below which the ratio between two plans is not judged.
const ENOUGH_BLOCKS: usize = 8;

/// Judges by the cost model.
#[derive(Debug, Default)]
pub struct SimulatorJudge;

impl SimulatorJudge {
    fn choice(&self, run: &Run) -> s3d_simulator::Result<Choice> {
        let request = Request { draws: DRAWS, with_errors: false, ..Request::of(&run.header) };
        choose(run, &request)
    }
}

impl Judge for SimulatorJudge {
    fn candidates(&mut self, run: &Run, wanted: usize) -> JudgeResult<Vec<Plan>> {
        let choice = self.choice(run)?;
        let ranked: Vec<&Plan> =
            choice.grid.iter().filter(|row| row.fits).map(|row| &row.plan).collect();
        Ok(leading_and_spread(&ranked, wanted))
    }

    fn leading(&mut self, run: &Run, wanted: usize) -> JudgeResult<Vec<Plan>> {
        let mut rows = self.choice(run)?.grid;
        rows.retain(|row| row.fits);
        rows.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(rows.into_iter().take(wanted).map(|row| row.plan).collect())
    }

    fn undecided(&mut self, run: &Run) -> JudgeResult<Option<Vec<Draft>>> {
        let choice = match self.choice(run) {
            Ok(choice) => choice,
            Err(Error::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let leading = choice.recommendation.ties.iter().chain(&choice.recommendation.choice);
        let sometimes_best = choice.grid.iter().filter(|row| row.probability_best > 0.0);
        let plans = leading.map(|tie| &tie.plan).chain(sometimes_best.map(|row| &row.plan));
        let drafts: BTreeSet<Draft> = plans.filter_map(Plan::draft).map(DraftPlan::draft).collect();
        Ok((!drafts.is_empty()).then(|| drafts.into_iter().collect()))
    }

    fn together(&mut self, run: &Run, batch: usize) -> JudgeResult<Option<(Plan, f64)>> {
        let request =
            Request { batch, draws: DRAWS, with_errors: false, ..Request::of(&run.header) };
        let choice = match choose(run, &request) {
            Ok(choice) => choice.recommendation.choice,
            Err(Error::Missing { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(choice.and_then(|best| Some((best.plan, best.predicted_speedup?.value))))
    }

    fn standing(&mut self, run: &Run) -> JudgeResult<Standing> {
        let choice = match self.choice(run) {
            Ok(choice) => choice,
            // Only some kinds of observation were asked for: nothing can be said, and need not be.
            Err(Error::Missing { .. }) => return Ok(Standing::default()),
            Err(error) => return Err(error.into()),
        };
        let Some(best) = choice.recommendation.choice else { return Ok(Standing::default()) };
        let speedup = best.measured_speedup.or(best.predicted_speedup);
        let settled = settled(run, &best, &choice.recommendation.ties);
        let width = speedup.as_ref().and_then(half_width);
        let from_texts = best.tokens_per_iteration.as_ref().and_then(half_width);
        Ok(Standing { best: Some(best.plan), speedup, half_width: width, from_texts, settled })
    }
}

/// Whether the end-to-end blocks tell the best plan apart from plain decoding and from every plan
/// that ties with it: the interval of each ratio excludes 1, or is narrow.
fn settled(run: &Run, best: &PlanResult, ties: &[PlanResult]) -> bool {
    let blocks = Blocks::new(run, 0, run.header.seed);
    let known = |other: &Plan| {
        let common = blocks.with_both(&best.plan, other);
        let ratio = blocks.compare(&best.plan, other, &common);
        common.len() >= ENOUGH_BLOCKS
            && ratio.and_then(|r| Some((r, r.interval()?))).is_some_and(|(r, (low, high))| {
                !r.covers(1.0) || high - low < 2.0 * NARROW * r.value
            })
    };
    let measured = |tie: &&PlanResult| !blocks.holding(&tie.plan).is_empty();
    known(&Plan::Plain) && ties.iter().filter(measured).all(|tie| known(&tie.plan))
}

/// Half of the plans from the top of the ranking, the best one of each window, since the plans of
/// one window share their errors; the others evenly from the rest, so that the prediction is also
/// checked where it did not look.
fn leading_and_spread(ranked: &[&Plan], wanted: usize) -> Vec<Plan> {
    let mut windows = Vec::new();
    let (mut top, mut rest) = (Vec::new(), Vec::new());
    for &plan in ranked {
        let window = plan.draft().map(|draft| (draft.drafting, &draft.skip));
        if top.len() < wanted.div_ceil(2) && !windows.contains(&window) {
            windows.push(window);
            top.push(plan.clone());
        } else {
            rest.push(plan);
        }
    }
    let spread = (wanted - top.len()).min(rest.len());
    let evenly = (0..spread).map(|i| rest[rest.len() * (2 * i + 1) / (2 * spread)].clone());
    top.extend(evenly);
    top
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_lead_and_spread() {
        let text =
            ["3..9:1", "3..9:2", "2..9:2", "3..9:3", "seq:3..9:2", "2..9:1", "2..9:3", "4..9:1"];
        let plans: Vec<Plan> = text.iter().map(|plan| plan.parse().unwrap()).collect();
        let ranked: Vec<&Plan> = plans.iter().collect();
        let names: Vec<String> =
            leading_and_spread(&ranked, 5).iter().map(ToString::to_string).collect();
        // source: the best plan of 3 ways, then the middles of the two halves of the 5 others
        assert_eq!(names, ["3..9:1", "2..9:2", "seq:3..9:2", "3..9:3", "2..9:3"]);
        assert_eq!(leading_and_spread(&ranked[..2], 5).len(), 2);
        assert!(leading_and_spread(&[], 5).is_empty());
    }
}
