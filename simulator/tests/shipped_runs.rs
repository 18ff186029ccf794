//! The runs that ship with the sources keep their recommendations.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use s3d_data::{Estimate, Recommendation, RunDir};
use s3d_simulator::choose::{Request, choose};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Relative difference that the order of additions may make.
const ROUNDING: f64 = 1e-6;

/// The word that a record has for a value.
fn name(value: &impl Serialize) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap().to_string()
}

/// What the table calls each part of a recommendation, with the numbers of it.
fn parts(found: &Recommendation) -> BTreeMap<String, Vec<String>> {
    let choice = found.choice.as_ref().unwrap();
    let word = |word: &str| vec![word.to_string()];
    let numbers = |estimate: Estimate| {
        let ends = [Some(estimate.value), estimate.low, estimate.high];
        ends.iter().map(|end| end.map_or(String::new(), |end| end.to_string())).collect()
    };
    let mut parts = BTreeMap::from([
        ("choice".to_string(), word(&choice.plan.to_string())),
        ("verdict".into(), vec![name(&found.verdict)]),
        ("evaluated".into(), word(&found.evaluated.to_string())),
        ("ties".into(), word(&found.ties.len().to_string())),
    ]);
    for tie in &found.ties {
        parts.insert(format!("tie {}", tie.plan), numbers(tie.predicted_speedup.unwrap()));
    }
    let regret = format!("regret {}", name(&found.regret_basis));
    for (name, estimate) in [
        ("predicted_speedup", choice.predicted_speedup),
        ("measured_speedup", choice.measured_speedup),
        ("direct_speedup", choice.direct_speedup),
        ("tokens_per_s", choice.tokens_per_s),
        ("tokens_per_iteration", choice.tokens_per_iteration),
        ("plain tokens_per_s", found.baseline.tokens_per_s),
        (regret.as_str(), found.regret_bound),
    ] {
        parts.extend(estimate.map(|estimate| (name.to_string(), numbers(estimate))));
    }
    if let Some(error) = &found.prediction_error {
        let error = [error.median, error.p95, error.coverage_95].map(|share| share.to_string());
        parts.insert("prediction_error".into(), error.into());
    }
    parts
}

fn agree(expected: &str, found: &str) -> bool {
    match (expected.parse::<f64>(), found.parse::<f64>()) {
        (Ok(one), Ok(two)) => (one - two).abs() <= ROUNDING * one.abs().max(1.0),
        _ => expected == found,
    }
}

/// source: `s3d optimize RUN --json` of version 0.1.0 at commit fa15b91, before the crate was
/// rearranged; all but memory, whose formula has changed since.
#[test]
fn the_shipped_runs_keep_their_recommendations() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("data/runs");
    let rows: Vec<Vec<&str>> = include_str!("shipped_runs.csv")
        .lines()
        .skip(1)
        .map(|line| line.split(',').collect())
        .collect();
    let mut found = BTreeMap::new();
    for row in &rows {
        let [name, what, expected @ ..] = row.as_slice() else { panic!("{row:?}") };
        let parts = found.entry(*name).or_insert_with(|| {
            let run = RunDir::new(folder.join(name)).load().unwrap();
            // Holding out every plan of a sweep takes long; the smallest run stands for it.
            let with_errors = *name == "story-x2-epyc";
            let request = Request { with_errors, ..Request::of(&run.header) };
            parts(&choose(&run, &request).unwrap().recommendation)
        });
        let own = parts.get(*what).unwrap_or_else(|| panic!("{name}: no {what}"));
        for (expected, own) in expected.iter().zip(own) {
            assert!(agree(expected, own), "{name}: {what}: expected {expected}, found {own}");
        }
    }
    assert_eq!(
        found.len(),
        std::fs::read_dir(folder).unwrap().count(),
        "every run is in the table"
    );
}
