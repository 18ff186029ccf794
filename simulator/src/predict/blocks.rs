//! Speedups measured end to end: the ratio of decode rates within a block, the median over blocks,
//! an interval over resampled blocks (cost model, section 6).
//!
//! Decode rate = tokens after the first over the time after the prompt pass.

use crate::statistics::{Resamples, interval, median, student};
use s3d_data::{BlockPurpose, Estimate, Plan, Run, ThroughputSample};
use std::collections::{BTreeMap, BTreeSet};

/// Decode tokens and seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Work {
    tokens: f64,
    seconds: f64,
}

impl Work {
    fn add(&mut self, sample: &ThroughputSample) {
        self.tokens += sample.tokens.saturating_sub(1) as f64;
        self.seconds += sample.decode_seconds().0;
    }

    fn and(self, other: &Self) -> Self {
        Self { tokens: self.tokens + other.tokens, seconds: self.seconds + other.seconds }
    }

    fn rate(&self) -> f64 {
        self.tokens / self.seconds
    }
}

/// The blocks of a plan, by what they are for; each list in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purposes {
    /// Whatever plans were asked for: the first half helps to choose, the second reports.
    ordinary: Vec<usize>,
    /// Leading plans beside each other: to choose among them.
    run_off: Vec<usize>,
    /// Measured after the choice, to report it.
    confirming: Vec<usize>,
}

impl Purposes {
    /// Blocks that a plan needs before half of them may help to choose, or those that confirm
    /// report alone.
    const ENOUGH: usize = 8;

    /// Blocks that help to choose.
    pub fn choosing(&self) -> Vec<usize> {
        [&self.ordinary[..self.ordinary.len() / 2], &self.run_off].concat()
    }

    /// Blocks that choosing did not see: those that confirm the choice, and of the ordinary ones
    /// the second half (all of them where they are too few to help choosing).
    pub(crate) fn reporting(&self) -> Vec<usize> {
        let seen = if self.ordinary.len() < Self::ENOUGH { 0 } else { self.ordinary.len() / 2 };
        match self.confirming.len() < Self::ENOUGH {
            true => [&self.ordinary[seen..], &self.confirming].concat(),
            false => self.confirming.clone(),
        }
    }

    /// Whether the plan was measured again after it had been chosen.
    pub fn confirmed(&self) -> bool {
        !self.confirming.is_empty()
    }
}

/// The blocks of one machine: `block -> plan -> prompt -> work`.
#[derive(Debug, Clone, Default)]
pub struct Blocks<'a> {
    blocks: BTreeMap<usize, BTreeMap<&'a Plan, BTreeMap<&'a str, Work>>>,
    seed: u64,
}

impl<'a> Blocks<'a> {
    /// Sorts the throughput samples of machine `machine`; rows without decode time are left out.
    pub fn new(run: &'a Run, machine: usize, seed: u64) -> Self {
        let mut blocks: BTreeMap<usize, BTreeMap<&Plan, BTreeMap<&str, Work>>> = BTreeMap::new();
        for sample in &run.observations.throughput {
            // One token comes from the prompt pass alone: nothing was decoded.
            let decoded = sample.tokens > 1 && sample.seconds > sample.prompt_seconds;
            if sample.machine == machine && decoded {
                let plans = blocks.entry(sample.block).or_default();
                let works = plans.entry(&sample.plan).or_default();
                works.entry(sample.id.as_str()).or_default().add(sample);
            }
        }
        Self { blocks, seed }
    }

    /// The numbers of the blocks that hold `plan` and plain decoding.
    pub fn with(&self, plan: &Plan) -> Vec<usize> {
        self.with_both(plan, &Plan::Plain)
    }

    /// The numbers of the blocks that hold both plans.
    pub fn with_both(&self, plan: &Plan, other: &Plan) -> Vec<usize> {
        let both =
            |plans: &BTreeMap<&Plan, _>| plans.contains_key(plan) && plans.contains_key(other);
        self.blocks.iter().filter(|(_, plans)| both(plans)).map(|(block, _)| *block).collect()
    }

    /// The blocks of `plan` beside plain decoding, by what they are for.
    pub(crate) fn purposes(&self, plan: &Plan) -> Purposes {
        let mut ordinary = self.with(plan);
        let mut split_off = |purpose: BlockPurpose| {
            let place = ordinary.partition_point(|block| *block < purpose.blocks().start);
            ordinary.split_off(place)
        };
        let confirming = split_off(BlockPurpose::Confirm);
        let run_off = split_off(BlockPurpose::RunOff);
        Purposes { ordinary, run_off, confirming }
    }

    /// All plans, with the number of blocks that hold them beside plain decoding.
    pub fn plans(&self) -> BTreeMap<&'a Plan, usize> {
        let all: BTreeSet<&Plan> = self.blocks.values().flat_map(|p| p.keys().copied()).collect();
        all.into_iter().map(|plan| (plan, self.with(plan).len())).collect()
    }

    /// The plans of each block, in the order of the blocks.
    pub fn sets(&self) -> Vec<(usize, BTreeSet<&'a Plan>)> {
        let plans = |plans: &BTreeMap<&'a Plan, _>| plans.keys().copied().collect();
        self.blocks.iter().map(|(block, held)| (*block, plans(held))).collect()
    }

    /// All that `plan` did in one block, over its prompts.
    fn work(&self, block: usize, plan: &Plan) -> Option<Work> {
        let works = self.blocks.get(&block)?.get(plan)?.values();
        Some(works.fold(Work::default(), Work::and))
    }

    /// Decode rate of `plan` over that of `other` in one block, over the prompts that both decoded.
    pub fn ratio(&self, block: usize, plan: &Plan, other: &Plan) -> Option<f64> {
        let plans = self.blocks.get(&block)?;
        let (mine, theirs) = (plans.get(plan)?, plans.get(other)?);
        let (mut one, mut two) = (Work::default(), Work::default());
        for (id, work) in mine {
            if let Some(same) = theirs.get(id) {
                (one, two) = (one.and(work), two.and(same));
            }
        }
        let ratio = one.rate() / two.rate();
        (ratio.is_finite() && ratio > 0.0).then_some(ratio)
    }

    /// Median over `blocks` of the ratio of `plan` to `other`, with its interval; needs two blocks.
    pub fn compare(&self, plan: &Plan, other: &Plan, blocks: &[usize]) -> Option<Estimate> {
        let ratios: Vec<f64> =
            blocks.iter().filter_map(|block| self.ratio(*block, plan, other)).collect();
        estimate(&ratios, self.seed)
    }

    /// Speedup of `plan` over plain decoding in `blocks`.
    pub fn speedup(&self, plan: &Plan, blocks: &[usize]) -> Option<Estimate> {
        self.compare(plan, &Plan::Plain, blocks)
    }

    /// Speedup of `plan` over plain decoding in `blocks` as the ratio of totals: the blocks' plain
    /// time, scaled to the plan's tokens, over its own. Texts differ in speedup far more than
    /// timings do, and a median over few of them jumps from one kind of text to another; this does
    /// not.
    pub(crate) fn total_speedup(&self, plan: &Plan, blocks: &[usize]) -> Option<Estimate> {
        let seconds = |block: &usize| {
            let (own, plain) = (self.work(*block, plan)?, self.work(*block, &Plan::Plain)?);
            let pair = (own.tokens / plain.rate(), own.seconds);
            (pair.0.is_finite() && pair.1 > 0.0).then_some(pair)
        };
        let pairs: Vec<(f64, f64)> = blocks.iter().filter_map(seconds).collect();
        if pairs.len() < 2 {
            return None;
        }
        let sum = pairs.iter().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
        let value = sum.0 / sum.1;
        // The spread of a ratio of sums, to first order; few blocks need Student's law.
        let off = |(plain, own): &(f64, f64)| (plain - value * own).powi(2);
        let squares: f64 = pairs.iter().map(off).sum();
        let count = pairs.len() as f64;
        let error = (squares * count / (count - 1.0)).sqrt() / sum.1;
        let reach = student(pairs.len() - 1) * error;
        Some(Estimate::new(value, (value - reach).max(0.0), value + reach))
    }

    /// Decode rate of `plan` in tokens per second over `blocks`.
    pub fn rate(&self, plan: &Plan, blocks: &[usize]) -> Option<Estimate> {
        let of =
            |block: &usize| Some(self.work(*block, plan)?.rate()).filter(|rate| rate.is_finite());
        estimate(&blocks.iter().filter_map(of).collect::<Vec<f64>>(), self.seed)
    }

    /// Tokens of `plan` over its seconds, both summed over blocks with their weights.
    pub(crate) fn total_rate(
        &self,
        plan: &Plan,
        blocks: impl Iterator<Item = (usize, u32)>,
    ) -> Option<f64> {
        let mut total = Work::default();
        for (block, weight) in blocks {
            let work = self.work(block, plan)?;
            total.tokens += f64::from(weight) * work.tokens;
            total.seconds += f64::from(weight) * work.seconds;
        }
        Some(total.rate()).filter(|rate| rate.is_finite())
    }

    /// All block numbers that hold `plan`.
    pub fn holding(&self, plan: &Plan) -> Vec<usize> {
        self.with_both(plan, plan)
    }
}

/// Blocks below which resampling cannot reach 95 %: even the range of 5 values holds their median
/// with probability 1 - 2^-4 only.
const FEW_BLOCKS: usize = 6;

/// Median of one value per block, with the interval over resampled blocks; of few blocks Student's
/// interval of the logarithms. A single block has no interval, so it is no estimate.
pub(crate) fn estimate(values: &[f64], seed: u64) -> Option<Estimate> {
    let (middle, blocks) = (median(values)?, values.len());
    if blocks < 2 {
        return None;
    }
    if blocks < FEW_BLOCKS {
        let logs: Vec<f64> = values.iter().map(|value| value.ln()).collect();
        let mean = logs.iter().sum::<f64>() / blocks as f64;
        let squares: f64 = logs.iter().map(|log| (log - mean) * (log - mean)).sum();
        let error = (squares / (blocks - 1) as f64 / blocks as f64).sqrt();
        let factor = (student(blocks - 1) * error).exp();
        return Some(Estimate::new(middle, middle / factor, middle * factor));
    }
    let resamples = Resamples::new(blocks, 1000, seed);
    let draw = |weights: &[u32]| {
        let repeated = values.iter().zip(weights).flat_map(|(v, &w)| vec![*v; w as usize]);
        median(&repeated.collect::<Vec<f64>>()).unwrap_or(f64::NAN)
    };
    Some(interval(middle, resamples.draws().map(draw).collect(), blocks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_blocks_have_wide_intervals() {
        // source: by hand: logarithms 0 and 0.2: mean error 0.1, Student 12.706: a factor of 3.563
        let two = estimate(&[1.0, 0.2f64.exp()], 1).unwrap();
        assert!((two.ends().1 / two.value - 3.563).abs() < 1e-3, "{two}");
        assert_eq!(estimate(&[1.0], 1), None);
        let eight: Vec<f64> = (0..8).map(|i| 1.5 + 0.01 * f64::from(i)).collect();
        let found = estimate(&eight, 1).unwrap();
        assert!(found.is_above(1.49) && found.ends().1 < 1.58 && found.covers(1.535), "{found}");
    }
}
