//! Measured acceptance: counts at the positions that decoding visits, and rates with the interval
//! that knows prompts are clusters.

use crate::statistics::{Resamples, interval};
use crate::traces::table::{TraceTable, skipped_layers};
use crate::traces::walk::count;
use rayon::prelude::*;
use s3d_data::{AcceptanceCounts, AcceptancePoint, Draft, Estimate, Trace};

/// Counts of one way, by prompt, at a fixed number of predictors.
#[derive(Debug, Clone)]
pub struct WayCounts {
    /// What was traced.
    pub way: Draft,
    /// Counts of each prompt; zeros where it was not traced.
    pub prompts: Vec<AcceptanceCounts>,
}

/// Counts every way of the table at `predictors` drafts (or as many as were traced).
pub fn count_ways(table: &TraceTable, predictors: usize) -> Vec<WayCounts> {
    let of = |trace: &Option<&Trace>| match trace {
        Some(trace) => {
            let drafts = trace.gamma_max.map_or(predictors, |most| predictors.min(most.get()));
            let mut counts = count(&trace.accepted, drafts);
            counts.attempted.resize(predictors, 0);
            counts.accepted.resize(predictors, 0);
            counts
        }
        None => AcceptanceCounts::new(predictors),
    };
    let ways: Vec<_> = table.ways.iter().collect();
    ways.into_par_iter()
        .map(|(way, row)| WayCounts { way: way.clone(), prompts: row.iter().map(of).collect() })
        .collect()
}

/// One point for every way, predictor and workload (and over all workloads).
pub fn points(
    table: &TraceTable,
    ways: &[WayCounts],
    resamples: &Resamples,
) -> Vec<AcceptancePoint> {
    let tasks: Vec<Option<&str>> =
        std::iter::once(None).chain(table.task_names().into_iter().map(Some)).collect();
    let of_way = |way: &WayCounts| -> Vec<AcceptancePoint> {
        let predictors = way.prompts.first().map_or(0, |counts| counts.attempted.len());
        (0..predictors)
            .flat_map(|i| tasks.iter().map(move |task| (i, *task)))
            .filter_map(|(i, task)| point(table, way, i, task, resamples))
            .collect()
    };
    ways.par_iter().flat_map_iter(of_way).collect()
}

fn point(
    table: &TraceTable,
    way: &WayCounts,
    index: usize,
    task: Option<&str>,
    resamples: &Resamples,
) -> Option<AcceptancePoint> {
    let within = |prompt: usize| task.is_none() || table.tasks[prompt] == task;
    let pairs: Vec<(u64, u64)> = way
        .prompts
        .iter()
        .enumerate()
        .map(|(prompt, counts)| match within(prompt) {
            true => (counts.accepted[index], counts.attempted[index]),
            false => (0, 0),
        })
        .collect();
    let (accepted, attempted) = pairs.iter().fold((0, 0), |sum, p| (sum.0 + p.0, sum.1 + p.1));
    let Draft { drafting, skip } = &way.way;
    (attempted > 0).then(|| AcceptancePoint {
        drafting: *drafting,
        skipped: skipped_layers(skip).round() as usize,
        skip: skip.to_string(),
        predictor: index + 1,
        task: task.map(str::to_string),
        attempted,
        accepted,
        rate: rate(&pairs, accepted, attempted, resamples),
    })
}

/// accepted / attempted with its prompt-cluster bootstrap interval. Where every draft was right (or
/// wrong) resampling sees no spread; then the exact binomial bound stands in (Clopper and Pearson,
/// Biometrika 26, 1934).
fn rate(pairs: &[(u64, u64)], accepted: u64, attempted: u64, resamples: &Resamples) -> Estimate {
    let value = accepted as f64 / attempted as f64;
    let clusters = pairs.iter().filter(|pair| pair.1 > 0).count();
    if clusters < 2 {
        return Estimate::alone(value);
    }
    let bound = 0.025f64.powf((attempted as f64).recip());
    if accepted == attempted {
        return Estimate::new(value, bound, 1.0);
    }
    if accepted == 0 {
        return Estimate::new(value, 0.0, 1.0 - bound);
    }
    let draw = |weights: &[u32]| {
        let (mut k, mut n) = (0, 0);
        for (pair, &weight) in pairs.iter().zip(weights) {
            k += pair.0 * u64::from(weight);
            n += pair.1 * u64::from(weight);
        }
        k as f64 / n as f64
    };
    interval(value, resamples.draws().map(draw).collect(), clusters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(id: &str, accepted: &[u32]) -> Trace {
        let head = r#""prompt":3,"skip_start":1,"skip_end":3,"gamma_max":2,"task":"t""#;
        serde_json::from_str(&format!(r#"{{"id":"{id}",{head},"accepted":{accepted:?}}}"#)).unwrap()
    }

    #[test]
    fn counts_only_visited_positions() {
        // source: by hand. a: visits c = 1 (2 accepted), 4 (0): draft 1: 1 of 2, draft 2: 1 of 1.
        // b: visits c = 1 (1), 3 (1): draft 1: 2 of 2, draft 2: 0 of 2.
        let traces = [trace("a", &[2, 0, 0, 0, 0]), trace("b", &[1, 2, 1, 2, 2])];
        let table = TraceTable::new(&traces).unwrap();
        let ways = count_ways(&table, 2);
        let all = points(&table, &ways, &Resamples::new(2, 100, 1));
        let found: Vec<_> =
            all.iter().map(|p| (p.predictor, p.task.is_some(), p.accepted, p.attempted)).collect();
        assert_eq!(found, [(1, false, 3, 4), (1, true, 3, 4), (2, false, 1, 3), (2, true, 1, 3)]);
        assert_eq!((all[0].skipped, all[0].skip.as_str()), (2, "1..3"));
    }
}
