//! Many texts at once: the best plan for each number of texts, and from how many on plain decoding
//! wins.
//!
//! In lockstep, an iteration costs the draft passes and the verify pass of one text, over the rows
//! of all; every text gets its own tokens. A text that ends is replaced by the next, so that the
//! number of texts stays the same. Then the tokens per second of `B` texts are `B` times the tokens
//! per iteration of one text over the cost of an iteration of `B`, and a speedup over plain
//! decoding of as many texts is the same formula as for one, at the costs of `B` texts.

use crate::choose::baseline::WORTH;
use crate::choose::select::Choice;
use crate::error::{Error, Result};
use crate::predict::request::Request;
use crate::statistics::{median, product, student};
use s3d_data::{
    Answer, BatchResult, BreakEvenBatch, Estimate, Plan, PlanResult, Run, ThroughputSample,
};
use std::collections::BTreeMap;

/// The run without its generations of one text, which say nothing of several.
pub(super) fn without_generations(run: &Run) -> Run {
    let mut run = run.clone();
    run.observations.throughput.clear();
    run
}

/// The best plan for each number of texts whose passes were timed, that for one text first; nothing
/// where only passes of one text were. `choose` answers for one number of texts.
pub(super) fn by_batch(
    run: &Run,
    request: &Request,
    alone: &Choice,
    choose: fn(&Run, &Request) -> Result<Choice>,
) -> Result<Vec<BatchResult>> {
    let batches = run.observations.together.batches();
    if batches.is_empty() || request.batch > 1 {
        return Ok(Vec::new());
    }
    let one = alone.recommendation.choice.as_ref();
    let plain = alone.recommendation.baseline.tokens_per_s;
    let mut rows: Vec<BatchResult> =
        one.iter().filter_map(|choice| row(1, choice, choice.measured_speedup, plain)).collect();
    for batch in batches {
        let asked = Request { batch, with_errors: false, ..request.clone() };
        match choose(run, &asked) {
            Ok(choice) => rows.extend(of_several(run, &asked, &choice)),
            Err(Error::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(rows)
}

/// What is said of `request.batch` texts: the plan that was run end to end where it is the choice
/// or tied with it, else the choice.
fn of_several(run: &Run, request: &Request, choice: &Choice) -> Option<BatchResult> {
    let found = &choice.recommendation;
    let best = found.choice.as_ref()?;
    let blocks = &run.observations.together.throughput;
    let measured = |plan: &Plan| speedup(blocks, (request.machine, request.batch), plan);
    let run_end_to_end = |plan: &&PlanResult| measured(&plan.plan).is_some();
    let plan = std::iter::once(best).chain(&found.ties).find(run_end_to_end).unwrap_or(best);
    let texts = request.batch as f64;
    let plain = found.baseline.tokens_per_s.map(|rate| rate.map(|rate| texts * rate));
    row(request.batch, plan, measured(&plan.plan), plain)
}

fn row(
    batch: usize,
    plan: &PlanResult,
    measured: Option<Estimate>,
    plain: Option<Estimate>,
) -> Option<BatchResult> {
    let predicted = plan.predicted_speedup?;
    let speedup = measured.unwrap_or(predicted);
    Some(BatchResult {
        batch,
        plan: plan.plan.clone(),
        verdict: verdict(speedup),
        predicted_speedup: predicted,
        measured_speedup: measured,
        tokens_per_iteration: plan.tokens_per_iteration?,
        plain_tokens_per_s: plain,
        tokens_per_s: plain.map(|plain| product(speedup, plain)),
        peak_memory_bytes: plan.peak_memory_bytes,
    })
}

/// By the rule of the verdict on one text.
fn verdict(speedup: Estimate) -> Answer {
    match speedup.interval() {
        Some((low, _)) if low > 1.0 => Answer::Speculate,
        Some((_, high)) if high <= WORTH => Answer::DoNot,
        _ => Answer::CannotTellYet,
    }
}

/// Tokens per second of `plan` over those of plain decoding, in the lockstep blocks that hold both;
/// its interval is Student's on the logarithm of the blocks' ratios.
fn speedup(
    samples: &[ThroughputSample],
    (machine, batch): (usize, usize),
    plan: &Plan,
) -> Option<Estimate> {
    let mut blocks: BTreeMap<usize, [Option<f64>; 2]> = BTreeMap::new();
    let own = |sample: &&ThroughputSample| sample.machine == machine && sample.batch == batch;
    for sample in samples.iter().filter(own) {
        let place = [Plan::Plain, plan.clone()].iter().position(|plan| *plan == sample.plan);
        let Some(place) = place else { continue };
        let rate = sample.tokens as f64 / sample.decode_seconds().0;
        blocks.entry(sample.block).or_default()[place] = Some(rate);
    }
    let log = |block: &[Option<f64>; 2]| Some((block[1]? / block[0]?).ln());
    let logs: Vec<f64> =
        blocks.values().filter_map(log).filter(|log: &f64| log.is_finite()).collect();
    let count = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / count;
    match logs.len() {
        0 => None,
        1 => Some(Estimate::alone(mean.exp())),
        blocks => {
            let squares: f64 = logs.iter().map(|log| (log - mean).powi(2)).sum();
            let half = student(blocks - 1) * (squares / (count - 1.0) / count).sqrt();
            Some(Estimate::new(mean.exp(), (mean - half).exp(), (mean + half).exp()))
        }
    }
}

/// How far predicted speedups are from measured ones: the median of the absolute differences as a
/// share of the measured one, and the numbers of texts at which both are known.
pub fn prediction_error(rows: &[BatchResult]) -> Option<(f64, usize)> {
    let off: Vec<f64> = rows.iter().filter_map(off).map(f64::abs).collect();
    Some((median(&off)?, off.len()))
}

/// The predicted speedup over the measured one, less 1.
fn off(row: &BatchResult) -> Option<f64> {
    Some(row.predicted_speedup.value / row.measured_speedup?.value - 1.0)
}

/// By how much the predicted speedup is off the measured one, in percent.
pub fn off_percent(row: &BatchResult) -> Option<f64> {
    off(row).map(|off| 100.0 * off)
}

/// From how many texts on plain decoding wins; nothing where the best plan is faster, or slower, at
/// every number that was timed. Beyond a number at which plain decoding surely wins, one at which
/// nobody can tell is no sign that speculation pays again.
pub(super) fn break_even(rows: &[BatchResult]) -> Option<BreakEvenBatch> {
    let lost = |row: &BatchResult| row.verdict == Answer::DoNot && row.speedup().value < 1.0;
    let lost = rows.iter().position(lost).unwrap_or(rows.len());
    let told = |(place, row): &(usize, &BatchResult)| {
        *place <= lost || row.verdict != Answer::CannotTellYet
    };
    let rows = rows.iter().enumerate().filter(told);
    let speedups: Vec<(usize, Estimate)> =
        rows.map(|(_, row)| (row.batch, row.speedup())).collect();
    let along = |of: &dyn Fn(&Estimate) -> Option<f64>| {
        let line: Option<Vec<(usize, f64)>> =
            speedups.iter().map(|(batch, speedup)| Some((*batch, of(speedup)?))).collect();
        crossing(&line?)
    };
    let (texts, below, above) = along(&|speedup| Some(speedup.value))?;
    let low = along(&|speedup| speedup.low).map(|(texts, ..)| texts);
    let high = along(&|speedup| speedup.high).map(|(texts, ..)| texts);
    let texts = match low.zip(high) {
        Some((low, high)) => Estimate::new(texts, low.min(texts), high.max(texts)),
        None => Estimate::alone(texts),
    };
    Some(BreakEvenBatch { texts, below, above })
}

/// Where a line over numbers of texts, ascending, falls below 1 for good: the place, on a
/// logarithmic axis, and the numbers beside it.
fn crossing(line: &[(usize, f64)]) -> Option<(f64, usize, usize)> {
    let last = line.iter().rposition(|(_, speedup)| *speedup >= 1.0)?;
    let ((below, before), (above, after)) = (line[last], *line.get(last + 1)?);
    let share = (before - 1.0) / (before - after);
    let place = (below as f64).ln() * (1.0 - share) + (above as f64).ln() * share;
    Some((place.exp(), below, above))
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3d_data::Seconds;

    fn estimate(batch: usize, value: f64, half: f64) -> BatchResult {
        let speedup = Estimate::new(value, value - half, value + half);
        BatchResult {
            batch,
            plan: "3..9:2".parse().unwrap(),
            verdict: verdict(speedup),
            predicted_speedup: speedup,
            measured_speedup: None,
            tokens_per_iteration: Estimate::alone(2.0),
            plain_tokens_per_s: None,
            tokens_per_s: None,
            peak_memory_bytes: None,
        }
    }

    #[test]
    fn plain_decoding_wins_from_where_the_speedup_crosses_1() {
        let rows = [estimate(1, 1.6, 0.1), estimate(4, 1.2, 0.1), estimate(16, 0.8, 0.1)];
        let found = break_even(&rows).unwrap();
        // source: by hand: half of the way from 4 to 16 on a logarithmic axis is 8; the low ends
        // 1.1 and 0.7 cross 1 after a quarter of it, 4 * 4^(1/4); the high ends 1.3 and 0.9 after
        // three quarters
        let expected = Estimate::new(8.0, 4.0 * 2f64.sqrt(), 8.0 * 2f64.sqrt());
        assert!((found.texts.value - expected.value).abs() < 1e-9, "{found:?}");
        let (low, high) = (found.texts.low.unwrap(), found.texts.high.unwrap());
        assert!((low - expected.low.unwrap()).abs() < 1e-9, "{found:?}");
        assert!((high - expected.high.unwrap()).abs() < 1e-9, "{found:?}");
        assert_eq!((found.below, found.above), (4, 16));
        assert_eq!(
            rows.map(|row| row.verdict),
            [Answer::Speculate, Answer::Speculate, Answer::DoNot]
        );
    }

    #[test]
    fn where_the_speedup_never_crosses_1_there_is_no_break_even() {
        assert!(break_even(&[estimate(1, 1.6, 0.1), estimate(4, 1.2, 0.1)]).is_none());
        assert!(break_even(&[estimate(1, 0.9, 0.1), estimate(4, 0.8, 0.1)]).is_none());
        assert!(break_even(&[]).is_none());
        let wide = [estimate(1, 1.6, 0.1), estimate(4, 0.95, 0.1)];
        let found = break_even(&wide).unwrap();
        assert_eq!(found.texts.interval(), None, "the high ends do not cross: {found:?}");
    }

    #[test]
    fn a_number_at_which_nobody_can_tell_does_not_undo_a_break_even() {
        let rows = [estimate(4, 1.2, 0.1), estimate(8, 0.8, 0.1), estimate(16, 1.01, 0.05)];
        // source: by hand: half of the way from 4 to 8 on a logarithmic axis
        let found = break_even(&rows).unwrap();
        assert!((found.texts.value - 32f64.sqrt()).abs() < 1e-9, "{found:?}");
        assert_eq!((found.below, found.above), (4, 8));
        let sure = [estimate(4, 1.2, 0.1), estimate(8, 0.8, 0.1), estimate(16, 1.1, 0.05)];
        assert!(break_even(&sure).is_none(), "where it surely pays again there is none");
    }

    #[test]
    fn a_measured_speedup_is_that_of_the_blocks_that_hold_both() {
        let sample = |block, plan: &str, tokens, seconds| ThroughputSample {
            machine: 0,
            block,
            order: 0,
            copy: 0,
            plan: plan.parse().unwrap(),
            id: "a".into(),
            tokens,
            iterations: tokens,
            prompt_seconds: Seconds(1.0),
            draft_seconds: Seconds::ZERO,
            verify_seconds: Seconds(seconds),
            seconds: Seconds(1.0 + seconds),
            cpu_seconds: None,
            batch: 4,
            start: 0,
        };
        let samples = [
            sample(0, "plain", 100, 2.0),
            sample(0, "3..9:2", 100, 1.0),
            sample(1, "plain", 100, 2.0),
            sample(1, "3..9:2", 100, 4.0),
            sample(2, "3..9:2", 100, 0.1),
        ];
        let measured = |batch, plan: &str| speedup(&samples, (0, batch), &plan.parse().unwrap());
        let found = measured(4, "3..9:2").unwrap();
        // source: by hand: ratios 2 and 1/2, so a mean of 1; Student's t(1) = 12.7062 times the
        // standard error of two logarithms, ln 2
        assert!((found.value - 1.0).abs() < 1e-12);
        assert!((found.high.unwrap().ln() - 12.7062 * 2f64.ln()).abs() < 1e-3, "{found:?}");
        assert!(measured(4, "3..9:3").is_none() && measured(2, "3..9:2").is_none());
    }

    #[test]
    fn the_error_of_predictions_is_a_median_over_what_was_measured() {
        // source: by hand: 1.2 / 1.0, 1.0 / 1.25 and 1.1 / 1.1 are off by 20, 20 and 0 percent
        let pair = |predicted, measured| BatchResult {
            measured_speedup: Some(Estimate::alone(measured)),
            ..estimate(2, predicted, 0.1)
        };
        let rows = [pair(1.2, 1.0), pair(1.0, 1.25), pair(1.1, 1.1), estimate(8, 1.0, 0.1)];
        let (error, count) = prediction_error(&rows).unwrap();
        assert!((error - 0.2).abs() < 1e-12 && count == 3, "{error} {count}");
        assert!(prediction_error(&rows[3..]).is_none());
    }
}
