//! Flags that would do nothing are refused, paths need not be UTF-8, threads and time stay within
//! what there is.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use common::{fails, s3d, says};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

fn run() -> String {
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().into();
    root.join("data/runs/story-x2-epyc").to_str().unwrap().to_string()
}

#[test]
fn a_memory_budget_below_the_model_is_refused_before_anything_is_measured() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let arguments = ["run", "--memory-budget", "100MB", "--out", out.to_str().unwrap()];
    let said = fails(2, &arguments);
    // source: 38,285,824 weights of the shipped model widened x2, 4 bytes each, are 146 MiB
    assert!(
        said.contains("--memory-budget 95.4 MiB") && said.contains("weights 146 MiB"),
        "{said}"
    );
    assert!(!out.exists());
}

#[test]
fn numbers_of_texts_that_cannot_be_are_refused_before_anything_is_measured() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let refused = |flag: &str| {
        let said = fails(2, &["run", flag, "--out", out.to_str().unwrap()]);
        assert!(said.contains("--batch") && !out.exists(), "{flag}: {said}");
        said
    };
    for bad in ["0", "-1", "1.5", "4..2", "100000", "1e3", "NaN", "", "1,,2", "two"] {
        assert!(refused(&format!("--batch={bad}")).contains("from 1 to 65536"), "{bad}");
    }
    // source: 65,536 texts of 256 tokens and 12 layers need hundreds of GiB of cache
    let said = refused("--batch=1,65536");
    assert!(said.contains("--batch 65536: needs") && said.contains("key-value caches"), "{said}");
    let cuda = ["run", "--batch", "2", "--device", "cuda", "--out", out.to_str().unwrap()];
    assert!(fails(2, &cuda).contains("take another --device") && !out.exists());
}

#[test]
fn flags_that_would_do_nothing_are_refused() {
    let run = run();
    let run = run.as_str();
    let curve = ["--curve", "power", "--u", "2"];
    let plain = ["simulate", "--layers", "12", "--skip", "4", "--alphas", "0.8,0.7"];
    let numbers = [&["optimize", "--layers", "12"][..], &curve].concat();
    let generate = ["generate", "--prompt", "x", "--widen", "1"];
    let with = |all: &[&'static str], more: &[&'static str]| [all, more].concat();
    for (arguments, flag) in [
        (vec!["optimize", run, "--curve", "nonsense"], "--curve"),
        (vec!["optimize", run, "--u", "3"], "--u"),
        (vec!["optimize", run, "--costs", "x.toml"], "--costs"),
        (vec!["optimize", run, run, "--write-sets", "x"], "--write-sets"),
        (with(&numbers, &["--memory-budget", "1GiB"]), "--memory-budget"),
        (with(&numbers, &["--machine", "0"]), "--machine"),
        (with(&numbers, &["--seed", "7"]), "--seed"),
        (with(&plain, &["--u", "2"]), "--u"),
        (with(&plain, &["--ceiling", "0.9"]), "--ceiling"),
        (with(&plain, &["--oracle"]), "--oracle"),
        (
            [&["simulate", "--layers", "12", "--skip", "4", "--oracle"][..], &curve].concat(),
            "--oracle",
        ),
        (with(&plain, &["--prompt-pass", "exclude"]), "--prompt-pass"),
        (vec!["simulate", "--traces", "x", "--oracle", "--predictors", "3"], "--oracle"),
        (vec!["simulate", "--traces", "x", "--predictors", "3", "--context", "9"], "--context"),
        (vec!["validate", run, "--rivals", "3", "--json"], "--rivals"),
        (vec!["report", run, "--out", "x"], "--out"),
        (vec!["inspect", run, "--context", "9"], "--context"),
        (vec!["inspect", run, "--logits", "1"], "--logits"),
        (vec!["inspect", run, "--layers", "3"], "--layers"),
        (vec!["inspect", "custom", "--config", "x", "--logits", "1"], "--logits"),
        (with(&generate, &["--seed", "3"]), "--seed"),
        (with(&generate, &["--temperature", "0", "--top-k", "3"]), "--top-k"),
        (with(&generate, &["--plan", "plain", "--draft-threshold", "0.5"]), "--draft-threshold"),
        (with(&generate, &["--oversubscribe"]), "--oversubscribe"),
        (vec!["measure", "latency", "--confidence"], "--confidence"),
        (vec!["measure", "latency", "--ranks"], "--ranks"),
        (vec!["measure", "memory", "--plans", "plain"], "--plans"),
        (vec!["measure", "acceptance", "--batch", "2"], "--batch"),
        (vec!["measure", "latency", "--plans", "plain", "--windows", "all"], "--windows"),
    ] {
        let said = fails(2, &arguments);
        assert!(said.contains(flag), "{arguments:?}: {said}");
    }
}

#[test]
fn more_threads_than_cores_are_refused_unless_asked_for() {
    let cores = std::thread::available_parallelism().unwrap().get();
    let many = (cores + 1).to_string();
    let generate = ["generate", "--prompt", "Once", "--widen", "1", "--tokens", "4", "--json"];
    let said = fails(2, &[&generate[..], &["--threads", "1024"]].concat());
    assert!(said.contains("--threads") && said.contains("--oversubscribe"), "{said}");
    fails(2, &["doctor", "--threads", &many]);
    fails(2, &[&generate[..], &["--threads", "4096", "--oversubscribe"]].concat());
    says(&[&generate[..], &["--threads", &many, "--oversubscribe"]].concat());
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_folder_need_not_be_utf_8() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join(OsStr::from_bytes(b"r\xffn"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_s3d"));
    command.args([
        "measure",
        "acceptance",
        "--widen",
        "1",
        "--prompt-count",
        "1",
        "--tokens",
        "12",
    ]);
    let output = command.arg("--quiet").arg("--out").arg(&out).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(out.join("run.json").is_file() && out.join("acceptance.jsonl").is_file());
    for before in ["inspect", "export"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_s3d"));
        let output = command.arg(before).arg(&out).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked"), "{before}: {said}");
    }
}

/// source: 16 doubled up to 48, and 48; the page, the JSON and the table hold the same contexts
#[test]
fn a_run_over_contexts_answers_at_each() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let flags = ["--widen", "1", "--tokens", "16", "--gamma-max", "2", "--quiet", "--json"];
    let run = ["run", "--time-budget", "1s", "--context", "16..48", "--out", out];
    let said = s3d(&[&run[..], &flags].concat());
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    let contexts = |rows: &serde_json::Value| -> Vec<u64> {
        rows.as_array().unwrap().iter().map(|row| row["context"].as_u64().unwrap()).collect()
    };
    assert_eq!(contexts(&answer["by_context"]), [16, 32, 48]);
    assert_eq!(answer["context"], 16);
    assert_eq!(answer["by_context"][0]["plan"], answer["choice"]["plan"]);
    assert!(answer["context_limit"].is_object(), "{answer}");
    let page = std::fs::read_to_string(dir.path().join("report.html")).unwrap();
    assert!(page.contains("By context") && page.contains("speedup_by_context"));
    let table = s3d(&["export", out, "--table", "context", "--format", "json"]);
    let rows: serde_json::Value = serde_json::from_slice(&table.stdout).unwrap();
    assert_eq!(contexts(&rows), [16, 32, 48]);
    let optimized = s3d(&["optimize", out, "--json"]);
    let optimized: serde_json::Value = serde_json::from_slice(&optimized.stdout).unwrap();
    assert_eq!(contexts(&optimized["by_context"]), [16, 32, 48]);
    let memory = &optimized["drafting_memory"][1]["added"];
    let parts = ["masks", "adapters", "draft_head", "cache_rows", "activations", "logits"];
    let bytes = |part: &str| memory[format!("{part}_bytes")].as_u64().unwrap();
    assert_eq!(parts.map(bytes).iter().sum::<u64>(), bytes("total"), "{memory}");
}

#[test]
fn a_run_on_too_little_time_says_what_it_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let flags =
        ["--widen", "1", "--tokens", "16", "--context", "16", "--gamma-max", "2", "--quiet"];
    let output =
        s3d(&[&["run", "--time-budget", "1s", "--json", "--out", out][..], &flags].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let header = std::fs::read_to_string(dir.path().join("run.json")).unwrap();
    let header: serde_json::Value = serde_json::from_str(&header).unwrap();
    let journal = std::fs::read_to_string(dir.path().join("journal.jsonl")).unwrap();
    let finished = |stage: &str| journal.contains(&format!("\"stage\":\"{stage}\""));
    assert!(finished("acceptance") && finished("latency"), "the smallest measurement is made");
    // Whatever this machine had no time for is named, and measured when the command is given more.
    let warnings = header["warnings"].to_string();
    for stage in ["memory", "throughput", "run-off", "confirmation"] {
        assert!(finished(stage) || warnings.contains("no time was left for"), "{stage}: {said}");
    }
}
