//! Plans compared across blocks that hold only some of them: each generation's cost is that of its
//! plan times that of its block.
//!
//! The state of the machine moves between blocks. Plain decoding, twice in each, tells by how much,
//! and so does every other plan in the block: with additive effects of plans and blocks on the
//! logarithm of seconds per iteration, all of them count (intra-block analysis of incomplete
//! blocks: Yates 1936; Cochran and Cox, Experimental Designs, ch. 9).
//!
//! The state does not slow all plans alike: where memory is slow, narrow passes suffer more than
//! wide ones, which compute. So what a plan costs in plain steps moves with the plain step of its
//! block, by one slope a draft (analysis of covariance: Fisher 1932), and every plan is told for
//! the mean state of all blocks, whichever blocks it was in. What is left over of the generations
//! of one block still goes together, and errors are counted by block (Liang and Zeger, Biometrika
//! 73, 1986), those of few blocks moderated by what all plans scatter (Smyth, Statistical
//! Applications in Genetics and Molecular Biology 3, 2004). Draws multiply what is left of a block
//! by one deviate for all plans (wild cluster bootstrap: Cameron, Gelbach and Miller, Review of
//! Economics and Statistics 90, 2008), so differences between plans of the same blocks are paired.
//!
//! A process keeps its memory layout, so its blocks share an error that they do not show: the
//! spread from start to start is added, by what the run's starts say and what is usual.

mod least_squares;

use crate::predict::prediction::Pool;
use crate::predict::timing_error::TimingError;
use crate::statistics::{Z95, student};
use least_squares::{LeastSquares, Point, drafts};
use s3d_data::{Estimate, Plan, Seconds, Starts, ThroughputSample};
use std::collections::BTreeMap;

/// Place in the pool of the deviates of the first block, apart from those of passes.
const FIRST_DEVIATE: usize = 32_768;
/// The same of the first start; those of further ones come before it.
const FIRST_START: usize = FIRST_DEVIATE - 1;
/// Blocks that the scatter of all plans counts for, beside a plan's own.
const SHARED_BLOCKS: f64 = 8.0;

/// Usual standard deviation, from start to start of a process, of what an iteration costs in plain
/// steps, and the degrees of freedom that it counts for beside what a run sees.
const USUAL_START: f64 = 0.02;
const USUAL_DEGREES: f64 = 4.0;

/// How much starts of a process differ: standard deviation and degrees of freedom.
#[derive(Debug, Clone, Copy)]
pub struct StartSpread {
    deviation: f64,
    degrees: f64,
}

impl StartSpread {
    /// No difference: where only what one process measured is compared.
    pub(crate) const NONE: Self = Self { deviation: 0.0, degrees: USUAL_DEGREES };

    /// What a run says of its starts, moderated by what is usual.
    pub fn of(starts: Option<&Starts>) -> Self {
        let seen =
            starts.and_then(|starts| Some((starts.spread?, starts.degrees_of_freedom as f64)));
        let (spread, own) = seen.unwrap_or((0.0, 0.0));
        let degrees = USUAL_DEGREES + own;
        let squares = USUAL_DEGREES * USUAL_START.powi(2) + own * spread.powi(2);
        Self { deviation: (squares / degrees).sqrt(), degrees }
    }

    /// By how much Student's law widens errors.
    fn widening(self) -> f64 {
        student(self.degrees as usize) / Z95
    }
}

/// The costs of plans.
#[derive(Debug, Clone, Default)]
pub struct Additive<'a> {
    plans: BTreeMap<&'a Plan, PlanCost>,
    state: Option<State>,
    /// By how much Student's law widens what starts of a process add.
    widening_of_starts: f64,
}

/// The machine over all blocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct State {
    /// What costs are told for: geometric mean over the blocks of a plain step.
    pub plain: Seconds,
    /// Standard deviation over the blocks of its logarithm.
    pub spread: f64,
    /// By how many per cent a cost in plain steps grows, for each draft of an iteration, where
    /// plain steps are 1 % longer.
    pub slope_per_draft: f64,
}

impl State {
    /// By how many per cent the cost of `plan` in plain steps grows where these are 1 % longer.
    pub fn slope(&self, plan: &Plan) -> f64 {
        self.slope_per_draft * drafts(plan)
    }
}

/// The cost of one plan against plain decoding.
#[derive(Debug, Clone, Default)]
struct PlanCost {
    /// Logarithm of iteration over plain step.
    log: f64,
    /// Its standard error, widened as Student's law asks of few samples; none: too few.
    error: Option<f64>,
    /// What the rest of each block adds to the logarithm.
    by_block: Vec<f64>,
    /// The error without the widening, in parts.
    timing: TimingError,
    /// Blocks that hold the plan.
    held: usize,
}

impl<'a> Additive<'a> {
    /// Fits the samples of blocks that hold plain decoding; of a plain step every token is an
    /// iteration.
    pub fn fit(samples: impl Iterator<Item = &'a ThroughputSample>, starts: StartSpread) -> Self {
        let points: Vec<Point> = samples.filter_map(Point::new).collect();
        let Some(found) = LeastSquares::solve(points) else { return Self::default() };
        let correlated = found.correlated();
        let cost = |(index, plan): (usize, &&'a Plan)| {
            let generations = found.generations(index);
            let mut by_block = found.by_block(index);
            let (of_blocks, widening) =
                moderate(&mut by_block, found.variance(index), generations.held, found.free);
            let known = generations.all >= 2.0 && of_blocks.is_finite();
            let shares = shares_of_starts(&found.points, plan);
            let by_start: BTreeMap<usize, f64> =
                shares.iter().map(|(start, share)| (*start, share * starts.deviation)).collect();
            let of_starts = by_start.values().map(|part| part * part).sum::<f64>().sqrt();
            let error = (of_blocks * widening).hypot(of_starts * starts.widening());
            let parts = correlated.row(index).iter().map(|part| part * of_blocks).collect();
            let timing = TimingError { parts, by_start };
            let (error, held) = (known.then_some(error), generations.held);
            (*plan, PlanCost { log: found.effects[index], error, by_block, timing, held })
        };
        let plans = found.plans().iter().enumerate().map(cost).collect();
        let (mean, spread) = found.plain();
        let state = State { plain: Seconds(mean.exp()), spread, slope_per_draft: found.slope() };
        Self { plans, state: Some(state), widening_of_starts: starts.widening() }
    }

    /// The machine over all blocks; nothing where no costs are known.
    pub fn state(&self) -> Option<State> {
        self.state
    }

    /// What an iteration of `plan` costs in steps of plain decoding, with the interval of timing;
    /// nothing where that cannot be told: fewer than two generations, or no more of all than there
    /// are effects.
    pub(crate) fn iteration_cost(&self, plan: &Plan) -> Option<Estimate> {
        let (log, error) = self.log_cost(plan)?;
        let value = log.exp();
        let reach = Z95 * error;
        Some(Estimate::new(value, value * (-reach).exp(), value * reach.exp()))
    }

    /// Logarithm of [`Self::iteration_cost`] and its standard error, widened as Student's law asks
    /// of few samples.
    pub(crate) fn log_cost(&self, plan: &Plan) -> Option<(f64, f64)> {
        let cost = self.plans.get(plan)?;
        Some((cost.log, cost.error?))
    }

    /// The parts of the error of [`Self::log_cost`].
    pub(crate) fn timing_error(&self, plan: &Plan) -> Option<&TimingError> {
        Some(&self.plans.get(plan).filter(|cost| cost.error.is_some())?.timing)
    }

    /// Logarithm of [`Self::iteration_cost`] in each draw of `pool`. All plans share the deviates
    /// of their blocks and starts.
    pub(crate) fn log_draws(&self, plan: &Plan, pool: &Pool) -> Option<Vec<f64>> {
        let cost = self.plans.get(plan).filter(|cost| cost.error.is_some())?;
        let mut draws = vec![cost.log; pool.draws()];
        for (place, share) in cost.by_block.iter().enumerate() {
            let deviates = pool.of(FIRST_DEVIATE + place);
            draws.iter_mut().zip(deviates).for_each(|(draw, deviate)| *draw += share * deviate);
        }
        for (start, part) in &cost.timing.by_start {
            let share = part * self.widening_of_starts;
            let deviates = pool.of(FIRST_START - start);
            draws.iter_mut().zip(deviates).for_each(|(draw, deviate)| *draw += share * deviate);
        }
        Some(draws)
    }

    /// The plans that ran beside plain decoding, in order.
    pub fn plans(&self) -> impl Iterator<Item = &'a Plan> {
        self.plans.keys().copied()
    }

    /// Blocks that hold `plan` beside plain decoding.
    pub fn blocks(&self, plan: &Plan) -> usize {
        self.plans.get(plan).map_or(0, |cost| cost.held)
    }
}

/// The share of each start in the generations of `plan`.
fn shares_of_starts(points: &[Point<'_>], plan: &Plan) -> BTreeMap<usize, f64> {
    let mut shares = BTreeMap::new();
    let own = points.iter().filter(|point| point.plan == plan);
    own.for_each(|point| *shares.entry(point.start).or_insert(0.0) += 1.0);
    let all: f64 = shares.values().sum();
    shares.values_mut().for_each(|share| *share /= all);
    shares
}

/// Scales what blocks add to a plan's cost so that its variance is that of its own `held` blocks,
/// moderated by `of_all`, what all generations scatter, and widened by Student's law; the standard
/// error without that, and by how much it is widened.
fn moderate(by_block: &mut [f64], of_all: f64, held: usize, free: usize) -> (f64, f64) {
    let own: f64 = by_block.iter().map(|share| share * share).sum();
    let degrees = held.saturating_sub(1) as f64;
    let unbiased = own * held as f64 / degrees.max(1.0);
    let variance = (SHARED_BLOCKS * of_all + degrees * unbiased) / (SHARED_BLOCKS + degrees);
    let seen = ((SHARED_BLOCKS + degrees) as usize).min(free).max(1);
    let widening = student(seen) / Z95;
    let scale = if own > 0.0 { (variance / own).sqrt() * widening } else { 0.0 };
    by_block.iter_mut().for_each(|share| *share *= scale);
    (variance.sqrt(), widening)
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3d_data::Seconds;

    fn sample(plan: &str, block: usize, seconds_per_iteration: f64) -> ThroughputSample {
        ThroughputSample {
            machine: 0,
            id: format!("text-{block}"),
            plan: plan.parse().unwrap(),
            block,
            order: 0,
            copy: 0,
            tokens: 11,
            iterations: 10,
            prompt_seconds: Seconds(1.0),
            draft_seconds: Seconds::ZERO,
            verify_seconds: Seconds::ZERO,
            seconds: Seconds(10.0 * seconds_per_iteration + 1.0),
            cpu_seconds: None,
            start: 0,
            batch: 1,
        }
    }

    /// Planted costs of plans and blocks come back, though no two of the plans ever meet.
    #[test]
    fn planted_effects_come_back() {
        let blocks = [0.8, 1.5, 1.0, 2.0, 0.5, 1.1];
        let mut samples = Vec::new();
        for (block, slow) in blocks.iter().enumerate() {
            let (plan, cost) = [("3..9:4", 1.6), ("4..8:2", 1.2)][block % 2];
            samples.push(sample("plain", block, 0.01 * slow));
            samples.push(sample(plan, block, 0.01 * slow * cost));
        }
        // A block without plain decoding ties nothing.
        samples.push(sample("4..8:2", 9, 5.0));
        let found = Additive::fit(samples.iter(), StartSpread::NONE);
        for (plan, cost) in [("3..9:4", 1.6), ("4..8:2", 1.2)] {
            let estimate = found.iteration_cost(&plan.parse().unwrap()).unwrap();
            assert!((estimate.value - cost).abs() < 1e-9, "{plan}: {estimate}");
            assert!(estimate.ends().1 - estimate.ends().0 < 1e-8, "{plan}: {estimate}");
        }
        assert_eq!(found.iteration_cost(&"2..3:1".parse().unwrap()), None);
    }

    /// source: numpy 2.x, lstsq on the design of plans, blocks and the slope by drafts times the
    /// block's plain step (one more row weighs "no slope") with these values: effects against plain
    /// 0.50743394 and 0.25202642, slope 0.04999485, sum of squares 0.00280974, 2 degrees of
    /// freedom.
    #[test]
    fn noisy_effects_are_those_of_least_squares() {
        let values = [
            ("plain", 0, 0.0),
            ("3..9:4", 0, 0.5),
            ("plain", 1, 0.1),
            ("3..9:4", 1, 0.55),
            ("4..8:2", 1, 0.30),
            ("plain", 2, 0.4),
            ("4..8:2", 2, 0.72),
            ("plain", 2, 0.44),
        ];
        let samples: Vec<_> =
            values.iter().map(|&(plan, block, log)| sample(plan, block, f64::exp(log))).collect();
        let found = Additive::fit(samples.iter(), StartSpread::NONE);
        let cost = |plan: &str| found.iteration_cost(&plan.parse().unwrap()).unwrap();
        let [far, near] = [cost("3..9:4"), cost("4..8:2")];
        // source: the same: errors of each plan from residuals summed by block, moderated by hand;
        // 2 degrees of freedom (Student's 97.5 % quantile: 4.30265).
        for (cost, error) in [(far, 0.042_672_111), (near, 0.034_649_330)] {
            let reach: f64 = 4.30265 * error;
            assert!(((cost.ends().1 / cost.value).ln() - reach).abs() < 1e-5, "{cost}");
        }
        assert!((far.value.ln() - 0.50743394).abs() < 1e-6, "{far}");
        assert!((near.value.ln() - 0.25202642).abs() < 1e-6, "{near}");
        let state = found.state().unwrap();
        assert!((state.slope_per_draft - 0.04999485).abs() < 1e-6, "{state:?}");
        assert!((state.plain.0.ln() - 0.52 / 3.0).abs() < 1e-9, "{state:?}");
    }

    /// Wide passes feel less of slow memory, and one plan was run in slow blocks alone: both are
    /// told for the mean of all blocks, where they differ as planted.
    #[test]
    fn a_plan_of_slow_blocks_is_told_for_the_mean_state() {
        let mut samples = Vec::new();
        for block in 0..24 {
            let state = 0.2 * if block % 2 == 0 { 1.0 } else { -1.0 };
            let iteration = |cost: f64, slope: f64| 0.01 * (cost + (1.0 + slope) * state).exp();
            samples.push(sample("plain", block, 0.01 * f64::exp(state)));
            samples.push(sample("3..9:4", block, iteration(0.5, -0.6)));
            if block % 2 == 0 {
                samples.push(sample("4..8:2", block, iteration(0.3, -0.3)));
            }
        }
        let found = Additive::fit(samples.iter(), StartSpread::NONE);
        for (plan, cost) in [("3..9:4", 0.5), ("4..8:2", 0.3)] {
            let (log, _) = found.log_cost(&plan.parse().unwrap()).unwrap();
            assert!((log - cost).abs() < 2e-3, "{plan}: {log}");
        }
        let state = found.state().unwrap();
        // source: as planted, -0.15 a draft; "no slope" weighs a little
        let slope = state.slope(&"3..9:4".parse().unwrap());
        assert!((slope + 0.6).abs() < 0.02, "{state:?}");
        assert!((state.spread - 0.2).abs() < 1e-9 && (state.plain.0 - 0.01).abs() < 1e-9);
    }
}
