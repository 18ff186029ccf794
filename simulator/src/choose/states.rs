//! Does the best plan depend on the state of the machine?
//!
//! A host moves between states: other programs take memory bandwidth, clocks change. Narrow passes
//! and wide ones do not suffer alike, so different plans may be best in different states. Blocks
//! are parted by how fast plain decoding was in them, and the leading plans compared in each part.

use crate::predict::additive::{Additive, StartSpread};
use crate::predict::evaluated::Evaluated;
use crate::predict::request::Request;
use crate::statistics::median;
use s3d_data::{Plan, Run, Seconds, ThroughputSample};
use std::collections::{BTreeMap, BTreeSet};

/// Plain decoding in the slow state over that in the fast one, below which there is one state.
const APART: f64 = 1.08;
/// Blocks of a plan in each state, below which it is not compared.
const ENOUGH_BLOCKS: usize = 4;
/// Standard deviation over the blocks of what the state does to costs, above which it is told.
const MATTERS: f64 = 0.02;
/// How sure it must be that one plan is faster than another.
const SURE: f64 = 0.95;

/// The best plan in each of two states, where they differ with 95 % confidence in both.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TwoBest {
    /// Seconds of a plain step, and the best plan, while that is fast.
    fast: (Seconds, Plan),
    /// The same while it is slow.
    slow: (Seconds, Plan),
}

impl TwoBest {
    /// In one sentence.
    pub(super) fn sentence(&self) -> String {
        let (fast, slow) = (&self.fast, &self.slow);
        format!(
            "The best plan depends on the state of the machine: {} while a plain step takes {}, {} \
             while it takes {}.",
            fast.1, fast.0, slow.1, slow.0
        )
    }
}

/// What the measured speedups hold for, where the machine moved enough to matter: the mean of the
/// run's blocks, and what another state makes of that of `choice`.
pub(super) fn holds_for(all: &Evaluated, choice: usize) -> Option<String> {
    let state = all.walked.timed.state()?;
    let slope = state.slope(&all.plan(choice));
    if (slope * state.spread).abs() <= MATTERS {
        return None;
    }
    let change = 100.0 * (1.1_f64.powf(-slope) - 1.0);
    let direction = if change > 0.0 { "higher" } else { "lower" };
    Some(format!(
        "Measured speedups are for a plain step of {}, the mean of the run's blocks; when plain \
         steps take 10 % longer, that of the choice is about {:.0} % {direction}.",
        state.plain,
        change.abs()
    ))
}

/// The end-to-end blocks of one state.
struct State<'a> {
    plain: Seconds,
    timed: Additive<'a>,
}

/// Compares the plans of `run` in its two states; nothing where there is one, or one plan is best.
pub(super) fn two_best(run: &Run, request: &Request, all: &Evaluated) -> Option<TwoBest> {
    let [fast, slow] = states(run, request)?;
    let index = |state: &State| best(all, state);
    let (in_fast, in_slow) = (index(&fast)?, index(&slow)?);
    let differ = surely_faster(all, &fast, in_fast, in_slow)? >= SURE
        && surely_faster(all, &slow, in_slow, in_fast)? >= SURE;
    differ.then(|| TwoBest {
        fast: (fast.plain, all.plan(in_fast)),
        slow: (slow.plain, all.plan(in_slow)),
    })
}

/// The blocks in which plain decoding was faster than in the middle one, and the others.
fn states<'a>(run: &'a Run, request: &Request) -> Option<[State<'a>; 2]> {
    let own = |sample: &&ThroughputSample| sample.machine == request.machine;
    let mut plain: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for sample in run.observations.throughput.iter().filter(own) {
        if sample.plan == Plan::Plain && sample.tokens > 1 {
            let seconds = sample.decode_seconds().0;
            plain.entry(sample.block).or_default().push(seconds / (sample.tokens - 1) as f64);
        }
    }
    let steps: BTreeMap<usize, f64> =
        plain.iter().filter_map(|(block, steps)| Some((*block, median(steps)?))).collect();
    let middle = median(&steps.values().copied().collect::<Vec<f64>>())?;
    let state = |fast: bool| {
        let here = steps.iter().filter(|(_, step)| (**step < middle) == fast);
        let (blocks, steps): (BTreeSet<usize>, Vec<f64>) = here.unzip();
        let samples = run.observations.throughput.iter().filter(own);
        let timed = samples.filter(|sample| blocks.contains(&sample.block));
        let timed = Additive::fit(timed, StartSpread::NONE);
        Some(State { plain: Seconds(median(&steps)?), timed })
    };
    let [fast, slow] = [state(true)?, state(false)?];
    (slow.plain.0 > APART * fast.plain.0).then_some([fast, slow])
}

/// The plan that is fastest in a state, of those that were run often enough in it.
fn best(all: &Evaluated, state: &State<'_>) -> Option<usize> {
    let speed = |index: usize| {
        let plan = all.plan(index);
        let enough = all.fits[index] && state.timed.blocks(&plan) >= ENOUGH_BLOCKS;
        let (log, _) = state.timed.log_cost(&plan).filter(|_| enough)?;
        Some((index, all.predictions[index].tokens_per_iteration.value / log.exp()))
    };
    let speeds = (0..all.predictions.len()).filter_map(speed);
    speeds.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(index, _)| index)
}

/// The share of draws in which plan `one` is faster than `other` in a state.
fn surely_faster(all: &Evaluated, state: &State<'_>, one: usize, other: usize) -> Option<f64> {
    let speeds = |index: usize| {
        let plan = all.plan(index);
        let tokens = all.walked.texts.of(plan.draft()?)?.draws;
        let costs = state.timed.log_draws(&plan, &all.walked.pool)?;
        Some(tokens.into_iter().zip(costs).map(|(tokens, cost)| tokens / cost.exp()))
    };
    let faster: Vec<bool> = speeds(one)?.zip(speeds(other)?).map(|(a, b)| a > b).collect();
    Some(faster.iter().filter(|faster| **faster).count() as f64 / faster.len().max(1) as f64)
}
