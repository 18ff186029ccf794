//! Speed against memory over all plans: which are worth a look.

use crate::choose::grid::PlanEvaluation;
use s3d_data::{Bytes, Estimate};
use std::collections::BTreeMap;

/// Plans that stand out by speed and memory.
#[derive(Debug, Clone, PartialEq)]
pub struct SpeedMemory<'a> {
    /// Plans that no other beats on both speed and memory, by rising memory, budget or not.
    pub front: Vec<&'a PlanEvaluation>,
    /// The fastest plan of each drafting and number of drafts.
    pub fastest: Vec<&'a PlanEvaluation>,
}

impl<'a> SpeedMemory<'a> {
    /// Of `grid`; nothing where the memory of plans differs by a mebibyte at most.
    pub fn of(grid: &'a [PlanEvaluation]) -> Option<Self> {
        let bytes = || grid.iter().filter_map(|plan| plan.peak_memory_bytes);
        let span = bytes().max().zip(bytes().min()).map_or(0, |(most, least)| most - least);
        (span > Bytes::MEBIBYTE.0).then(|| Self { front: front(grid), fastest: fastest(grid) })
    }

    /// Whether no other plan beats this one on both.
    pub fn on_front(&self, plan: &PlanEvaluation) -> bool {
        self.front.iter().any(|other| std::ptr::eq(*other, plan))
    }

    /// Whether it was measured, is on the front, or is the fastest of its kind.
    pub fn stands_out(&self, plan: &PlanEvaluation) -> bool {
        let fastest = self.fastest.iter().any(|other| std::ptr::eq(*other, plan));
        plan.measured_speedup.is_some() || fastest || self.on_front(plan)
    }
}

/// Speed over memory, in tokens per second and GiB.
pub fn per_gib(speed: Estimate, memory: Bytes) -> Estimate {
    speed.map(|speed| speed / memory.gib())
}

fn speed(plan: &PlanEvaluation) -> f64 {
    plan.tokens_per_s.map_or(0.0, |speed| speed.value)
}

fn fastest(grid: &[PlanEvaluation]) -> Vec<&PlanEvaluation> {
    let mut best: BTreeMap<_, &PlanEvaluation> = BTreeMap::new();
    for plan in grid {
        let held = best.entry((plan.drafting(), plan.predictors())).or_insert(plan);
        if speed(plan) > speed(held) {
            *held = plan;
        }
    }
    best.into_values().collect()
}

fn front(grid: &[PlanEvaluation]) -> Vec<&PlanEvaluation> {
    let known = |plan: &&PlanEvaluation| plan.tokens_per_s.is_some();
    let known = grid.iter().filter(known);
    let mut all: Vec<_> =
        known.filter_map(|plan| plan.peak_memory_bytes.map(|bytes| (bytes, plan))).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0).then(speed(b.1).total_cmp(&speed(a.1))));
    let mut best = f64::NEG_INFINITY;
    all.retain(|(_, plan)| {
        let kept = speed(plan) > best;
        best = best.max(speed(plan));
        kept
    });
    all.into_iter().map(|(_, plan)| plan).collect()
}
