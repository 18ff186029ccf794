//! Plans compared across blocks that hold only some of them: each generation's cost is that of its
//! plan times that of its block.
//!
//! The state of the machine moves between blocks. Plain decoding, twice in each, tells by how much,
//! and so does every other plan in the block: with additive effects of plans and blocks on the
//! logarithm of seconds per iteration, all of them count (intra-block analysis of incomplete
//! blocks: Yates 1936; Cochran and Cox, Experimental Designs, ch. 9).

use crate::statistics::{Z95, student};
use s3d_data::{Estimate, Plan, ThroughputSample};
use std::collections::{BTreeMap, BTreeSet};

/// Sweeps after which effects have long settled: plain decoding ties all blocks together.
const MOST_SWEEPS: usize = 500;
/// Largest change of an effect at which they have.
const SETTLED: f64 = 1e-11;

/// The costs of plans.
#[derive(Debug, Clone, Default)]
pub struct Additive<'a> {
    /// Of each plan: logarithm of seconds per iteration, and the number of its generations.
    plans: BTreeMap<&'a Plan, (f64, usize)>,
    /// Standard deviation of one generation's logarithm around plan and block.
    deviation: f64,
    /// Samples beyond the effects that they determine.
    free: usize,
    /// The blocks that hold each plan.
    blocks: BTreeMap<&'a Plan, BTreeSet<usize>>,
}

/// One generation.
struct Point<'a> {
    plan: &'a Plan,
    block: usize,
    value: f64,
}

impl<'a> Additive<'a> {
    /// Fits the samples of blocks that hold plain decoding; of a plain step every token is an
    /// iteration.
    pub fn fit(samples: impl Iterator<Item = &'a ThroughputSample>) -> Self {
        let mut points: Vec<Point> = samples.filter_map(point).collect();
        let plain = points.iter().filter(|point| *point.plan == Plan::Plain);
        let tied: BTreeSet<usize> = plain.map(|point| point.block).collect();
        points.retain(|point| tied.contains(&point.block));
        let (mut plans, mut blocks) = (BTreeMap::new(), BTreeMap::new());
        for _ in 0..MOST_SWEEPS {
            let before = plans;
            plans = means(&points, |p| p.plan, |p| p.value - effect(&blocks, &p.block));
            blocks = means(&points, |p| p.block, |p| p.value - effect(&plans, &p.plan));
            let moved =
                |(plan, (new, _)): (&&Plan, &(f64, usize))| (new - effect(&before, plan)).abs();
            if plans.iter().map(moved).fold(0.0, f64::max) < SETTLED {
                break;
            }
        }
        let rest = |p: &Point| p.value - effect(&plans, &p.plan) - effect(&blocks, &p.block);
        let squares: f64 = points.iter().map(|point| rest(point).powi(2)).sum();
        let free = (points.len() + 1).saturating_sub(plans.len() + blocks.len());
        let deviation = (squares / free as f64).sqrt();
        let mut held: BTreeMap<&Plan, BTreeSet<usize>> = BTreeMap::new();
        for point in &points {
            held.entry(point.plan).or_default().insert(point.block);
        }
        Self { plans, deviation, free, blocks: held }
    }

    /// What an iteration of `plan` costs in steps of plain decoding, with the interval of timing;
    /// nothing where that cannot be told: fewer than two generations, or no more of all than there
    /// are effects.
    pub fn iteration_cost(&self, plan: &Plan) -> Option<Estimate> {
        let (log, error) = self.log_cost(plan)?;
        let value = log.exp();
        let reach = Z95 * error;
        Some(Estimate::new(value, value * (-reach).exp(), value * reach.exp()))
    }

    /// Logarithm of [`Self::iteration_cost`] and its standard error, widened as Student's law asks
    /// of few samples.
    pub fn log_cost(&self, plan: &Plan) -> Option<(f64, f64)> {
        let (own, count) = *self.plans.get(plan)?;
        let (plain, steps) = *self.plans.get(&Plan::Plain)?;
        let error = self.deviation * (1.0 / count as f64 + 1.0 / steps as f64).sqrt();
        let widened = error * student(self.free.max(1)) / Z95;
        (count >= 2 && widened.is_finite()).then_some((own - plain, widened))
    }

    /// Blocks that hold `plan` beside plain decoding.
    pub fn blocks(&self, plan: &Plan) -> usize {
        self.blocks.get(plan).map_or(0, BTreeSet::len)
    }
}

fn point(sample: &ThroughputSample) -> Option<Point<'_>> {
    let steps = match sample.plan {
        Plan::Speculate(_) => sample.iterations as f64,
        _ => sample.tokens.saturating_sub(1) as f64,
    };
    let value = ((sample.seconds - sample.prompt_seconds) / steps).ln();
    value.is_finite().then_some(Point { plan: &sample.plan, block: sample.block, value })
}

/// Mean and number of `value` by `key`.
fn means<'p, 'a, K: Ord>(
    points: &'p [Point<'a>],
    key: impl Fn(&'p Point<'a>) -> K,
    value: impl Fn(&'p Point<'a>) -> f64,
) -> BTreeMap<K, (f64, usize)> {
    let mut sums: BTreeMap<K, (f64, usize)> = BTreeMap::new();
    for point in points {
        let sum = sums.entry(key(point)).or_default();
        *sum = (sum.0 + value(point), sum.1 + 1);
    }
    sums.values_mut().for_each(|(sum, count)| *sum /= *count as f64);
    sums
}

fn effect<K: Ord>(effects: &BTreeMap<K, (f64, usize)>, key: &K) -> f64 {
    effects.get(key).map_or(0.0, |effect| effect.0)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            prompt_seconds: 1.0,
            draft_seconds: 0.0,
            verify_seconds: 0.0,
            seconds: 10.0 * seconds_per_iteration + 1.0,
            cpu_seconds: None,
            start: 0,
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
        let found = Additive::fit(samples.iter());
        for (plan, cost) in [("3..9:4", 1.6), ("4..8:2", 1.2)] {
            let estimate = found.iteration_cost(&plan.parse().unwrap()).unwrap();
            assert!((estimate.value - cost).abs() < 1e-9, "{plan}: {estimate}");
            assert!(estimate.ends().1 - estimate.ends().0 < 1e-8, "{plan}: {estimate}");
        }
        assert_eq!(found.iteration_cost(&"2..3:1".parse().unwrap()), None);
    }

    /// source: numpy 2.x, lstsq on the design of plans and blocks with these values: effects
    /// against plain
    /// 0.48846154 and 0.25961538, sum of squares 0.00378077 with 8 values and 5 effects.
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
        let found = Additive::fit(samples.iter());
        let cost = |plan: &str| found.iteration_cost(&plan.parse().unwrap()).unwrap();
        let [far, near] = [cost("3..9:4"), cost("4..8:2")];
        assert!((found.deviation.powi(2) - 0.00378077 / 3.0).abs() < 1e-8, "{}", found.deviation);
        // Two generations against four of plain decoding; 3 degrees of freedom (Student's 97.5 %
        // quantile: 3.18245).
        let reach = 3.18245 * found.deviation * 0.75f64.sqrt();
        assert!(((far.ends().1 / far.value).ln() - reach).abs() < 1e-5, "{far}");
        assert!((far.value.ln() - 0.48846154).abs() < 1e-6, "{far}");
        assert!((near.value.ln() - 0.25961538).abs() < 1e-6, "{near}");
    }
}
