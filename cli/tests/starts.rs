//! End-to-end blocks come from several starts of a process, and their texts are plain decoding's.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{s3d, says};
use s3d_data::{Plan, RunDir, Seconds};
use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn blocks_take_turns_between_three_processes_and_the_run_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let command = [
        "measure",
        "throughput",
        "--plans",
        "plain,2..10:4",
        "--prompt-count",
        "8",
        "--tokens",
        "20",
        "--widen",
        "1",
        "--time-budget",
        "1h",
        "--threads",
        "1",
        "--quiet",
        "--out",
        out,
    ];
    let said = says(&command);
    assert!(said.starts_with("plan 2..10:4 is "), "{said}");
    assert!(said.contains("times plain decoding, over 8 blocks"), "{said}");
    let run = RunDir::new(dir.path()).load().unwrap();
    let samples = &run.observations.throughput;
    for sample in samples {
        // source: pairs of blocks take turns
        assert_eq!(sample.start, sample.block / 2 % 3, "block {}", sample.block);
        assert!(sample.seconds > Seconds::ZERO && sample.cpu_seconds.unwrap() > Seconds::ZERO);
    }
    let tokens = |plan: &Plan| -> Vec<usize> {
        samples.iter().filter(|s| s.plan == *plan && s.copy == 0).map(|s| s.tokens).collect()
    };
    let plans: BTreeSet<_> = samples.iter().map(|s| s.plan.clone()).collect();
    assert_eq!(plans.len(), 2);
    assert_eq!(tokens(&Plan::Plain).len(), 8);
    let starts = run.header.starts.unwrap();
    assert_eq!((starts.count, starts.degrees_of_freedom, starts.fewer_because), (3, 2, None));
    assert!(starts.spread.unwrap() >= 0.0);
    // Nothing was traced: the plan that was run is chosen, at the speedup that was printed.
    let answer = says(&["optimize", out, "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let measured = &answer["choice"]["measured_speedup"];
    let printed = format!("is {:.2} ", measured["value"].as_f64().unwrap());
    assert!(said.contains(&printed), "{said} {measured}");
    assert!(answer["choice"]["predicted_speedup"].is_null());
    let page = says(&["report", out]);
    let page = std::fs::read_to_string(page.trim()).unwrap();
    assert!(page.contains("nothing was traced") && page.contains("2..10:4"));
    assert!(says(&["validate", out]).contains("2..10:4"));
}

#[test]
fn a_model_that_loads_slowly_beside_the_budget_is_started_once_and_the_run_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    says(&[
        "measure",
        "throughput",
        "--plans",
        "plain,2..10:4",
        "--prompt-count",
        "2",
        "--tokens",
        "4",
        "--widen",
        "4",
        "--time-budget",
        "1s",
        "--threads",
        "1",
        "--quiet",
        "--out",
        out,
    ]);
    let run = RunDir::new(dir.path()).load().unwrap();
    // source: loading weights of 300 MB takes more than a tenth of a second
    let starts = run.header.starts.unwrap();
    assert_eq!((starts.count, starts.spread), (1, None));
    let why = starts.fewer_because.unwrap();
    assert!(why.starts_with("loading the model takes"), "{why}");
}

#[test]
fn a_child_answers_orders_and_refuses_what_is_none() {
    let ask = |orders: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_s3d"))
            .args(["decode-child", "--widen", "1", "--context", "64", "--threads", "1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may have ended before it has read all.
        let _ = child.stdin.take().unwrap().write_all(orders.as_bytes());
        let output = child.wait_with_output().unwrap();
        let [out, said] = [output.stdout, output.stderr].map(|t| String::from_utf8(t).unwrap());
        (output.status.code(), out, said)
    };
    let order = |plan: &str| {
        format!(
            "{{\"plan\":\"{plan}\",\"id\":\"a\",\"prompt\":[5,6,7],\"tokens\":12,\"reference\":[]}}\n"
        )
    };
    let (code, out, _) = ask(&format!("{}{}", order("plain"), order("2..10:4")));
    let texts: Vec<serde_json::Value> =
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let tokens = |place: usize| texts[place]["generated"]["tokens"].clone();
    assert_eq!((code, texts.len()), (Some(0), 2));
    assert_eq!(tokens(0), tokens(1), "drafts change no text");
    assert_eq!(ask("").0, Some(0), "no orders, no answers");
    for bad in ["hello\n", "{}\n", &order("2..99:4")] {
        let (code, out, said) = ask(bad);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{bad}: {said}");
        assert!(said.starts_with("error: "), "{said}");
    }
}

#[test]
fn precision_is_given_in_percent() {
    for bad in ["2", "0%", "100%", "-1%", "x%", "nan%"] {
        let output = s3d(&["run", &format!("--precision={bad}")]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{bad}: {said}");
        assert!(said.contains("such as 2%"), "{said}");
    }
}

#[test]
fn a_finished_run_measures_on_when_it_is_given_more_time() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let run = |budget: &str, more: &[&str]| {
        let mut command = vec![
            "run",
            "--widen",
            "1",
            "--tokens",
            "16",
            "--prompt-count",
            "6",
            "--gamma-max",
            "3",
            "--context",
            "32",
            "--threads",
            "1",
            "--quiet",
            "--time-budget",
            budget,
            "--out",
            out,
        ];
        command.extend(more);
        let output = s3d(&command);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        (RunDir::new(dir.path()).load().unwrap(), said)
    };
    let (first, _) = run("4s", &[]);
    let (same, said) = run("4s", &[]);
    assert!(said.contains("nothing measured") && said.contains("longer --time-budget"), "{said}");
    assert_eq!(same.observations, first.observations);
    let budget = format!("{}s", first.header.seconds_measuring.0.ceil() + 6.0);
    let (longer, said) = run(&budget, &["--precision", "0.01%"]);
    assert!(!said.contains("nothing measured"), "{said}");
    assert!(said.contains("--precision: not reached") || said.contains("no speedup"), "{said}");
    let held = |run: &s3d_data::Run| {
        run.observations.throughput.len()
            + run.observations.traces.len()
            + run.observations.latency.len()
    };
    assert!(held(&longer) > held(&first));
    assert!(longer.header.seconds_measuring > first.header.seconds_measuring);
}
