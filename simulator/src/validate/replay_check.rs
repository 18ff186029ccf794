//! Whether decoding did what its traces say: the iterations of every generation against the walk.

use crate::error::Result;
use crate::traces::table::TraceTable;
use crate::traces::walk::walk;
use s3d_data::Run;
use serde::Serialize;
use std::collections::BTreeMap;

/// Whether generations took exactly the iterations that their traces replay.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ReplayCheck {
    /// Speculative generations whose plan and prompt were traced.
    pub compared: usize,
    /// Those with equal iterations.
    pub equal: usize,
    /// The first that differs, in words.
    pub first_difference: Option<String>,
}

impl ReplayCheck {
    /// Generations that took other iterations than their traces replay.
    pub fn different(&self) -> usize {
        self.compared - self.equal
    }
}

/// Compares every generation with the replay of its trace, cut to the tokens that were generated.
/// Texts that are drawn are other ones in every generation: none is compared.
///
/// # Errors
/// A trace that contradicts itself.
pub fn replayed_iterations(run: &Run) -> Result<ReplayCheck> {
    let table = TraceTable::of(run)?;
    let place: BTreeMap<&str, usize> =
        table.prompts.iter().enumerate().map(|(place, prompt)| (*prompt, place)).collect();
    let mut check = ReplayCheck::default();
    for sample in &run.observations.throughput {
        let Some(draft) = sample.plan.draft() else { continue };
        let way = draft.draft();
        let row = table.ways.get(&way).zip(place.get(sample.id.as_str()));
        let Some(trace) = row.and_then(|(row, &place)| row[place]) else { continue };
        // What was drawn twice is not the same text.
        if trace.tokens() < sample.tokens || trace.accept_probability.is_some() {
            continue;
        }
        let replayed = walk(&trace.accepted[..sample.tokens], draft.predictors.get()).iterations;
        check.compared += 1;
        if replayed == sample.iterations as u64 {
            check.equal += 1;
        } else if check.first_difference.is_none() {
            check.first_difference = Some(format!(
                "plan {}, prompt '{}': {} iterations generated, {replayed} replayed",
                sample.plan, sample.id, sample.iterations
            ));
        }
    }
    Ok(check)
}
