//! The runs that ship with the sources keep their recommendations.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use s3d_data::{Estimate, Plan, Predictors, Recommendation, RunDir, Skip, SkipWindow};
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

/// The numbers of a recommendation by what the table calls them.
type Parts = BTreeMap<String, Vec<String>>;

/// What the table calls each part of a recommendation, with the numbers of it.
fn parts(found: &Recommendation) -> Parts {
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

/// The recommendation that ships with the run says the same. `s3d optimize RUN --json` prints it.
fn the_file_says(run: &Path, own: &Parts) {
    let file = std::fs::read_to_string(run.join("recommendation.json")).unwrap();
    let file = parts(&serde_json::from_str(&file).unwrap());
    for (what, values) in own {
        let same = file
            .get(what)
            .is_some_and(|shipped| shipped.iter().zip(values).all(|(one, two)| agree(one, two)));
        assert!(same, "{}: {what}: {:?}, found {values:?}", run.display(), file.get(what));
    }
}

/// What the program says of the runs in `folder` now. Holding out every plan of a sweep takes long;
/// the smallest run stands for it.
fn found(folder: &Path) -> BTreeMap<String, Parts> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let of = |name: std::ffi::OsString| {
        let name = name.into_string().unwrap();
        let run = RunDir::new(folder.join(&name)).load().unwrap();
        let with_errors = name == "story-x2-epyc";
        let request = Request { with_errors, ..Request::of(&run.header) };
        let own = parts(&choose(&run, &request).unwrap().recommendation);
        the_file_says(&folder.join(&name), &own);
        (name, own)
    };
    names.map(of).collect()
}

/// Recommendations change only where that is meant.
///
/// source: `choose` over each run, as it was when the table was written last; with
/// `S3D_WRITE_TABLE=1` this test writes it. Memory is tested elsewhere.
#[test]
fn the_shipped_runs_keep_their_recommendations() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = found(&here.parent().unwrap().join("data/runs"));
    let rows = found.iter().flat_map(|(run, parts)| {
        parts.iter().map(move |(what, values)| format!("{run},{what},{}", values.join(",")))
    });
    let rows: Vec<String> = rows.collect();
    let table = here.join("tests/shipped_runs.csv");
    if std::env::var_os("S3D_WRITE_TABLE").is_some() {
        std::fs::write(&table, format!("run,what,value,low,high\n{}\n", rows.join("\n"))).unwrap();
    }
    let expected = std::fs::read_to_string(&table).unwrap();
    let expected: Vec<&str> = expected.lines().skip(1).collect();
    assert_eq!(rows.len(), expected.len(), "rows of the table");
    for (expected, own) in expected.iter().zip(&rows) {
        let cells = expected.split(',').zip(own.split(','));
        assert!(cells.clone().all(|(one, two)| agree(one, two)), "{expected}, found {own}");
    }
}

/// Plans were run with 8 drafts; their window's traces have 4 of them.
#[test]
fn plans_with_more_drafts_than_were_traced_have_no_number() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = here.parent().unwrap().join("data/runs/story-x2-epyc");
    let mut run = RunDir::new(folder).load().unwrap();
    let window = Skip::Window(SkipWindow::new(1, 10).unwrap());
    for trace in &mut run.observations.traces {
        if trace.skip() == Some(window.clone()) {
            trace.gamma_max = Some(Predictors::new(4).unwrap());
            trace.accepted.iter_mut().for_each(|accepted| *accepted = (*accepted).min(4));
        }
    }
    let request = Request { with_errors: true, ..Request::of(&run.header) };
    let found = choose(&run, &request).unwrap().recommendation;
    let drafts = |plan: &Plan| plan.draft().map(|draft| (draft.skip.clone(), draft.predictors));
    let beyond =
        |plan: &Plan| drafts(plan).is_some_and(|(skip, drafts)| skip == window && drafts.get() > 4);
    assert!(found.choice.is_some_and(|choice| !beyond(&choice.plan)));
    assert!(found.ties.iter().all(|tie| !beyond(&tie.plan)));
    assert!(found.prediction_error.unwrap().held_out < 11);
}
