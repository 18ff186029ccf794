//! What drafts that adapt gained end to end, by generations in interleaved blocks: each block has
//! one text, decoded plainly (twice), with the choice's number of drafts, and adapting.

use crate::error::{Error, Result};
use crate::policy::ratio::ratio;
use crate::predict::request::Request;
use s3d_data::{DraftCount, Estimate, PolicySample, Seconds};
use serde::Serialize;
use std::collections::BTreeMap;

/// Texts together: ratios of total times.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyMeasured {
    /// The workload; null: all texts.
    pub task: Option<String>,
    /// Texts.
    pub texts: usize,
    /// Speedup of the fixed number over plain decoding.
    pub fixed: Estimate,
    /// Of drafts that adapt.
    pub policy: Estimate,
    /// Drafts that adapt over the fixed number.
    pub over_fixed: Estimate,
    /// Plain decoding over plain decoding: how far two copies of the same are apart.
    pub control: Estimate,
}

/// What the blocks say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyComparison {
    /// All texts.
    pub all: PolicyMeasured,
    /// Those of each workload.
    pub by_task: Vec<PolicyMeasured>,
    /// Those on which the fixed number is slower than plain decoding; null where there is none.
    /// Chosen by iterations, at what one costs over all texts: by a text's own times, noise would
    /// choose too.
    pub losing: Option<PolicyMeasured>,
}

/// The seconds of one block; plain steps and iterations of the fixed number.
#[derive(Debug, Clone, Default)]
struct Block {
    task: Option<String>,
    plain: [f64; 2],
    fixed: f64,
    adaptive: f64,
    steps: f64,
    iterations: f64,
}

impl Block {
    fn is_whole(&self) -> bool {
        [self.plain[0], self.plain[1], self.fixed, self.adaptive].iter().all(|time| *time > 0.0)
    }

    fn plain(&self) -> f64 {
        (self.plain[0] + self.plain[1]) / 2.0
    }
}

/// Sums up `samples`; blocks that lack a generation are left out.
///
/// # Errors
/// No whole block.
pub fn compare_policy(samples: &[PolicySample], request: &Request) -> Result<PolicyComparison> {
    let mut blocks: BTreeMap<usize, Block> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.tokens > 1) {
        let block = blocks.entry(sample.block).or_default();
        block.task.clone_from(&sample.task);
        let Seconds(seconds) = sample.seconds;
        match sample.drafts {
            DraftCount::Plain => {
                block.plain[sample.copy.min(1)] = seconds;
                block.steps = sample.iterations as f64;
            }
            DraftCount::Fixed => {
                block.fixed = seconds;
                block.iterations = sample.iterations as f64;
            }
            DraftCount::Adaptive => block.adaptive = seconds,
        }
    }
    let blocks: Vec<Block> = blocks.into_values().filter(Block::is_whole).collect();
    let mut tasks: Vec<&String> = blocks.iter().filter_map(|block| block.task.as_ref()).collect();
    tasks.sort_unstable();
    tasks.dedup();
    let stratum = |block: &Block| {
        let own = |task: &&String| block.task.as_ref() == Some(*task);
        tasks.iter().position(own).unwrap_or(tasks.len())
    };
    let row = |task: Option<&String>, meant: &dyn Fn(&Block) -> bool| {
        let own: Vec<&Block> = blocks.iter().filter(|block| meant(block)).collect();
        let strata: Vec<usize> = own.iter().map(|block| stratum(block)).collect();
        let times = |time: fn(&Block) -> f64| own.iter().map(|b| time(b)).collect::<Vec<f64>>();
        let over = |above, below| ratio(&times(above), &times(below), &strata, request);
        (!own.is_empty()).then(|| PolicyMeasured {
            task: task.cloned(),
            texts: own.len(),
            fixed: over(Block::plain, |block| block.fixed),
            policy: over(Block::plain, |block| block.adaptive),
            over_fixed: over(|block| block.fixed, |block| block.adaptive),
            control: over(|block| block.plain[0], |block| block.plain[1]),
        })
    };
    let all = row(None, &|_| true).ok_or_else(|| {
        let advice = "give prompts whose texts are eight tokens or longer";
        Error::missing("text that was decoded in all ways", advice)
    })?;
    let of_task = |task: &&String| row(Some(*task), &|block| block.task.as_ref() == Some(*task));
    let by_task = tasks.iter().filter_map(of_task).collect();
    let total = |of: fn(&Block) -> f64| blocks.iter().map(of).sum::<f64>();
    let [iterations, steps] = [total(|block| block.iterations), total(|block| block.steps)];
    let cost = total(|block| block.fixed) / iterations / (total(Block::plain) / steps);
    let loses = |block: &Block| block.iterations * cost > block.steps;
    Ok(PolicyComparison { all, by_task, losing: row(None, &loses) })
}
