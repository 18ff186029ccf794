//! What is concluded of a recorded run: one, several together, several checkpoints. The run in
//! `data/runs` is a real one; no model is loaded and nothing is measured here.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn s3d(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_s3d")).args(arguments).output().unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let output = s3d(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A copy of the recorded run, with its header changed.
fn copy(dir: &Path, name: &str, change: impl Fn(&mut Value)) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/runs/story-x2-epyc");
    let to = dir.join(name);
    fs::create_dir(&to).unwrap();
    for file in ["acceptance.jsonl", "latency.csv", "throughput.csv", "memory.csv"] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
    let mut header: Value =
        serde_json::from_str(&fs::read_to_string(from.join("run.json")).unwrap()).unwrap();
    change(&mut header);
    fs::write(to.join("run.json"), header.to_string()).unwrap();
    to
}

#[test]
fn a_run_says_what_else_it_knows_and_null_for_what_it_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let run = copy(dir.path(), "run", |_| ());
    let answer = json(&["optimize", run.to_str().unwrap(), "--context", "200..300", "--json"]);
    assert_eq!(answer["schema_version"], 1);
    assert_eq!(answer["context"], 250);
    assert!(answer["choice"]["predicted_speedup"]["value"].as_f64().unwrap() > 1.5);
    let sets = answer["free_sets"]["sets"].as_array().unwrap();
    assert!(!sets.is_empty() && sets[0]["judged"] == false);
    let gains = answer["training"].as_array().unwrap();
    // More training never makes the best plan slower.
    let speedup = |gain: &Value| gain["speedup"].as_f64().unwrap();
    assert!(gains.windows(2).all(|pair| speedup(&pair[0]) <= speedup(&pair[1])));
    // The run kept no confidences.
    assert_eq!(answer["early_stop"], Value::Null);
}

#[test]
fn free_sets_are_written_as_plans_that_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let run = copy(dir.path(), "run", |_| ());
    let sets = dir.path().join("sets");
    let output =
        s3d(&["optimize", run.to_str().unwrap(), "--write-sets", sets.to_str().unwrap(), "--json"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let plans = said.lines().find_map(|line| line.split("--plans ").nth(1)).unwrap();
    for plan in plans.split(',') {
        let parsed = s3d_data::Plan::with_sets(plan, s3d_data::LayerSet::load).unwrap();
        assert!(parsed.draft().unwrap().skip.window().is_none(), "{plan}");
    }
}

#[test]
fn several_runs_are_chosen_from_together() {
    let dir = tempfile::tempdir().unwrap();
    let one = copy(dir.path(), "one", |_| ());
    let two = copy(dir.path(), "two", |header| header["dtype"] = "f16".into());
    let table = two.join("memory.csv");
    let halved = fs::read_to_string(&table).unwrap().replace("153143296", "76571648");
    fs::write(&table, halved).unwrap();
    let arguments = ["optimize", one.to_str().unwrap(), two.to_str().unwrap(), "--json"];
    let answer = json(&arguments);
    let candidates = answer["candidates"].as_array().unwrap();
    assert!(candidates.iter().any(|c| c["run"] == 0) && candidates.iter().any(|c| c["run"] == 1));
    // source: the same times in half the weights: below the size of the first run only the second
    // fits
    let bytes = |c: &Value| c["peak_memory_bytes"].as_u64().unwrap();
    let small = candidates.iter().filter(|c| c["run"] == 0).map(bytes).min().unwrap() - 1;
    let budget = format!("{}B", small);
    let answer = json(&[&arguments[..], &["--memory-budget", &budget]].concat());
    assert_eq!(answer["run"], two.to_str().unwrap());
    assert_eq!(answer["dtype"], "f16");
}

#[test]
fn checkpoints_stand_in_the_order_of_their_training() {
    let dir = tempfile::tempdir().unwrap();
    let late = copy(dir.path(), "late", |header| header["model"]["training_steps"] = 900.into());
    let early = copy(dir.path(), "early", |header| header["model"]["training_steps"] = 100.into());
    let rows = json(&["fit", late.to_str().unwrap(), early.to_str().unwrap(), "--json"]);
    let rows = rows.as_array().unwrap();
    let steps: Vec<u64> =
        rows.iter().take(2).map(|row| row["training_steps"].as_u64().unwrap()).collect();
    assert_eq!(steps, [100, 900]);
    assert!(rows[0]["u"]["value"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_run_without_a_sweep_has_no_rivals() {
    let dir = tempfile::tempdir().unwrap();
    let run = copy(dir.path(), "run", |_| ());
    fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../data/runs/story-x2-epyc/recommendation.json"),
        run.join("recommendation.json"),
    )
    .unwrap();
    let output = s3d(&["validate", run.to_str().unwrap(), "--rivals", "5"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("s3d measure throughput --plans all"), "{said}");
}
