//! Measurements from outside: the examples of the documentation are read as they stand, and a run
//! that goes out and in again gives the same answer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use s3d_data::RunDir;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Runs a command in `folder`, expects success, and returns what it printed.
fn s3d(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_s3d"))
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_examples_of_the_documentation_are_read_as_they_stand() {
    let page = fs::read_to_string(root().join("docs/IMPORT.md")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut examples = 0;
    for entry in fs::read_dir(root().join("docs/examples")).unwrap() {
        let file = entry.unwrap();
        let name = file.file_name();
        assert!(page.contains(name.to_str().unwrap()), "{name:?} is not used on the page");
        fs::copy(file.path(), dir.path().join(name)).unwrap();
        examples += 1;
    }
    assert_eq!(examples, 10, "files of engines");
    let walked = common::walk(&page, dir.path());
    assert_eq!(walked, (6, 30), "files and commands on the page");
}

/// Runs a command in `folder`, expects it to fail, and returns what it said.
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_s3d"))
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap();
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Imports files of these contents as the run `run` and returns what `optimize --json` answers.
fn optimized(files: &[(&str, &str)], import: &[&str], optimize: &[&str]) -> serde_json::Value {
    let dir = tempfile::tempdir().unwrap();
    let mut arguments = vec!["import"];
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
        arguments.push(name);
    }
    arguments.extend(["--layers", "32", "--out", "run"]);
    arguments.extend(import);
    s3d(dir.path(), &arguments);
    let mut arguments = vec!["optimize", "run", "--json"];
    arguments.extend(optimize);
    serde_json::from_str(&s3d(dir.path(), &arguments)).unwrap()
}

/// Counts of two texts, so that there is an interval, without the drafting.
const COUNTS: &str = "skip_start,skip_end,id,predictor,attempted,accepted
8,24,a,1,1000,700
8,24,a,2,700,500
8,24,a,3,500,300
8,24,b,1,900,650
8,24,b,2,650,450
8,24,b,3,450,280
";
const LAW: &str =
    r#"{"fixed_seconds": 0.048, "per_token_seconds": 0.002, "per_context_token_seconds": 0.0}"#;

#[test]
fn counts_without_their_drafting_are_refused_and_the_flag_decides() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("counts.csv"), COUNTS).unwrap();
    fs::write(dir.path().join("law.json"), LAW).unwrap();
    let import = ["import", "law.json", "counts.csv", "--layers", "32", "--out", "run"];
    let said = refused(dir.path(), &import);
    assert!(
        said.contains("counts.csv, line 2") && said.contains("--drafting sequential"),
        "{said}"
    );
    assert!(!dir.path().join("run").exists(), "nothing is half-written");
    let files = [("law.json", LAW), ("counts.csv", COUNTS)];
    let speedup = |drafting: &str| {
        let answer = optimized(&files, &["--gamma-max", "3", "--drafting", drafting], &[]);
        answer["choice"]["predicted_speedup"]["value"].as_f64().unwrap()
    };
    // source: the field case of the same counts and law: 1.51 drafted at once, 1.08 one after the
    // other (one text of these two).
    assert!((speedup("simultaneous") - 1.51).abs() < 0.03, "{}", speedup("simultaneous"));
    assert!((speedup("sequential") - 1.08).abs() < 0.03, "{}", speedup("sequential"));
}

#[test]
fn one_text_or_one_block_of_times_has_no_interval() {
    let passes = "pass,skip,width,context,block,milliseconds
full,,1,256,0,20.1\nfull,,5,256,0,21.8\ndraft,8..24,1,256,0,10.9\ndraft,8..24,4,256,0,11.4\n";
    let one_text: String = COUNTS.lines().take(4).map(|line| format!("{line}\n")).collect();
    let flags = ["--gamma-max", "3", "--drafting", "simultaneous"];
    let answer = optimized(&[("passes.csv", passes), ("counts.csv", &one_text)], &flags, &[]);
    let choice = &answer["choice"];
    for estimate in ["predicted_speedup", "tokens_per_iteration", "tokens_per_s"] {
        let estimate = &choice[estimate];
        assert!(estimate["value"].is_number(), "{estimate}");
        assert!(estimate["low"].is_null() && estimate["high"].is_null(), "{estimate}");
    }
    assert_eq!(answer["speculate"], false, "not known with 95 % confidence");
    let notes = answer["notes"].to_string();
    assert!(
        notes.contains("One text: no interval") && notes.contains("One block of times"),
        "{notes}"
    );
    // Two texts on one block of times: an interval of tokens per iteration alone.
    let answer = optimized(&[("passes.csv", passes), ("counts.csv", COUNTS)], &flags, &[]);
    assert!(answer["choice"]["tokens_per_iteration"]["low"].is_number());
    assert!(answer["choice"]["predicted_speedup"]["low"].is_null());
    // Two texts under a law: intervals of the texts.
    let answer = optimized(&[("law.json", LAW), ("counts.csv", COUNTS)], &flags, &[]);
    let speedup = &answer["choice"]["predicted_speedup"];
    assert!(speedup["low"].as_f64() < speedup["high"].as_f64(), "{speedup}");
    assert_eq!(answer["speculate"], true);
}

/// Counts of a log of 8 drafts per iteration: vLLM pull request 48892, gsm8k, 76.17 % to 23.65 % of
/// 11043 drafts by position.
fn eight_drafts(id: &str) -> String {
    let accepted = [11043, 8411, 6800, 5660, 4686, 4020, 3417, 3006, 2612];
    let rows = accepted.windows(2).enumerate();
    rows.map(|(i, pair)| format!("sequential,8,24,{id},{},{},{}\n", i + 1, pair[0], pair[1]))
        .collect()
}

#[test]
fn fewer_drafts_than_were_counted_are_in_doubt_and_the_doubt_holds_the_truth() {
    let header = "drafting,skip_start,skip_end,id,predictor,attempted,accepted\n";
    let two_texts = format!("{header}{}{}", eight_drafts("a"), eight_drafts("b"));
    let files = [("law.json", LAW), ("counts.csv", &*two_texts)];
    let tokens = |drafts: &str| {
        let import = ["--gamma-max", "8"];
        let answer = optimized(&files, &import, &["--gamma-max", drafts]);
        (answer["choice"]["tokens_per_iteration"].clone(), answer["notes"].to_string())
    };
    // source: by hand. 11043 iterations commit 49655 tokens (38612 drafts and one each). With one
    // draft: unfavourably the walk of the same failed tokens, 1.74 (the field case); favourably
    // only the 2632 tokens that failed as first drafts fail, 1 in 18.9: 2 - 2632 / 49655 = 1.95.
    // The page that logged this log also logged 1.83 with one draft.
    let (one, notes) = tokens("1");
    let (low, high) = (one["low"].as_f64().unwrap(), one["high"].as_f64().unwrap());
    assert!((low - 1.74).abs() < 0.01 && (high - 1.947).abs() < 0.01, "{one}");
    assert!(notes.contains("8 drafts per iteration"), "{notes}");
    // As a single text there is no interval, but the doubt is said.
    let one_text = format!("{header}{}", eight_drafts("gsm8k"));
    let files = [("law.json", LAW), ("counts.csv", &*one_text)];
    let answer = optimized(&files, &["--gamma-max", "8"], &["--gamma-max", "1"]);
    let tokens = &answer["choice"]["tokens_per_iteration"];
    let value = tokens["value"].as_f64().unwrap();
    assert!(tokens["low"].is_null() && (value - 1.74).abs() < 0.01, "{tokens}");
    let notes = answer["notes"].to_string();
    assert!(notes.contains("between 1.74") && notes.contains("and 1.94"), "{notes}");
}

#[test]
fn memory_that_is_not_known_is_null_and_fits_no_budget() {
    let files = [("law.json", LAW), ("counts.csv", COUNTS)];
    let flags = ["--gamma-max", "3", "--drafting", "sequential"];
    let answer = optimized(&files, &flags, &[]);
    assert!(answer["choice"]["peak_memory_bytes"].is_null());
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let import = |more: &[&str]| {
        let mut all = vec!["import", "law.json", "counts.csv", "--drafting", "sequential"];
        all.extend(more);
        s3d(dir.path(), &all)
    };
    import(&["--layers", "32", "--out", "layers"]);
    let said = refused(dir.path(), &["optimize", "layers", "--memory-budget", "1GiB"]);
    assert!(said.contains("no peak memory of imported") && said.contains("--model"), "{said}");
    let words = s3d(dir.path(), &["optimize", "layers"]);
    assert!(words.contains("Peak memory unknown"), "{words}");
    // A known geometry says it: 6.74e9 parameters at two bytes and more.
    import(&["--model", "llama-2-7b", "--dtype", "f16", "--out", "known"]);
    let words = s3d(dir.path(), &["optimize", "known", "--memory-budget", "20GiB", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&words).unwrap();
    let bytes = answer["choice"]["peak_memory_bytes"].as_f64().unwrap();
    assert!((13.47e9..15e9).contains(&bytes), "{bytes}");
    let words = s3d(dir.path(), &["optimize", "known", "--memory-budget", "1GiB", "--json"]);
    assert!(words.contains("no plan fits the memory budget"), "{words}");
}

/// Runs the import command that an export printed, in a shell.
fn again(folder: &Path, printed: &str, out: &str) {
    let command = printed.split("read them again: s3d").nth(1).unwrap().trim();
    let line = format!("'{}' {}", env!("CARGO_BIN_EXE_s3d"), command.replace("--out DIR", out));
    let output = Command::new("sh").current_dir(folder).args(["-c", &line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_run_that_goes_out_and_in_again_gives_the_same_recommendation() {
    let run = root().join("data/runs/story-x2-epyc");
    let dir = tempfile::tempdir().unwrap();
    let run = run.to_str().unwrap();
    let printed = s3d(dir.path(), &["export", run, "--csv", "it's the $(tables)"]);
    again(dir.path(), &printed, "--out again");
    let answer = |folder: &str| s3d(dir.path(), &["optimize", folder, "--json"]);
    assert_eq!(answer("again"), answer(run));
    assert!(answer("again").contains("\"measured_speedup\": {"));
}

#[test]
fn the_printed_import_command_works_for_runs_that_hold_less() {
    let run = root().join("data/runs/story-x2-epyc");
    let dir = tempfile::tempdir().unwrap();
    for (name, tables) in [("times", ["latency.csv"]), ("traces", ["acceptance.jsonl"])] {
        let less = dir.path().join(name);
        fs::create_dir(&less).unwrap();
        for file in tables.iter().chain(&["run.json"]) {
            fs::copy(run.join(file), less.join(file)).unwrap();
        }
        let printed = s3d(dir.path(), &["export", name, "--csv", &format!("{name} out")]);
        again(dir.path(), &printed, &format!("--out {name}-again"));
        // Read, not byte by byte: a table of today has columns that the shipped one has not.
        let read = |folder| RunDir::new(folder).load().unwrap().observations;
        let held = read(dir.path().join(format!("{name}-again")));
        assert!(held == read(less), "{name}");
    }
}

#[test]
fn an_unfinished_run_is_exported_from_its_journal() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    fs::create_dir(&run).unwrap();
    let header = root().join("data/runs/story-x2-epyc/run.json");
    let text = fs::read_to_string(header).unwrap();
    let mut header: serde_json::Value = serde_json::from_str(&text).unwrap();
    header["ended"] = serde_json::Value::Null;
    fs::write(run.join("run.json"), header.to_string()).unwrap();
    let line =
        r#"{"kind":"trace","skip_start":3,"skip_end":9,"id":"a","prompt":4,"accepted":[2,1,0]}"#;
    fs::write(run.join("journal.jsonl"), format!("{line}\n{{\"kind\":\"tra")).unwrap();
    s3d(dir.path(), &["export", "run", "--csv", "tables"]);
    let traces = fs::read_to_string(dir.path().join("tables/acceptance.jsonl")).unwrap();
    assert_eq!(traces.lines().count(), 1);
}

/// The example of a card's benchmark, in a folder of its own.
fn bench() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let name = "bench.jsonl";
    fs::copy(root().join("docs/examples").join(name), dir.path().join(name)).unwrap();
    (dir, name.into())
}

#[test]
fn why_is_it_not_faster_here_is_answered_from_a_benchmark_alone() {
    let (dir, bench) = bench();
    let printed = s3d(dir.path(), &["import", &bench, "--layers", "32"]);
    assert!(printed.starts_with("s3d-import: "), "the default folder: {printed}");
    let words = s3d(dir.path(), &["optimize", "s3d-import"]);
    assert!(words.contains("A pass over 8 tokens takes 1.80 times as long here"), "{words}");
    assert!(words.contains("breaks even from an acceptance of"), "{words}");
    assert!(words.contains("--alphas"), "it says how to ask on: {words}");
    let flags = ["--layers", "32", "--draft-share", "0.5", "--gamma-max", "3", "--out", "half"];
    s3d(dir.path(), &[&["import", &bench], &flags[..]].concat());
    let printed = s3d(dir.path(), &["optimize", "half", "--alphas", "0.8", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert!(answer["choice"].is_null() && answer["speculate"] == false, "{answer}");
    let engine = &answer["engine"];
    // source: by hand: 13.0 ms over 10.0 ms, blocks 12.9 / 9.9 and 13.1 / 10.1
    let ratio = engine["passes"][1]["ratio"]["value"].as_f64().unwrap();
    assert!((ratio - 1.3).abs() < 0.002, "{ratio}");
    let row = |drafting: &str, predictors: u64| {
        let rows = engine["break_even"].as_array().unwrap();
        let of = |row: &&serde_json::Value| {
            row["drafting"] == drafting && row["predictors"] == predictors
        };
        rows.iter().find(of).unwrap().clone()
    };
    // source: by hand: three drafts of half a pass each and a pass over four tokens: 1.5 + 1.3
    // plain steps. 1 + a + a^2 + a^3 = 2.8 at a = 0.7672; at 0.8 there are 2.952 tokens. (A draft
    // pass that is known is weighed with the law of draft passes, which moves the half by a
    // percent.)
    let three = row("sequential", 3);
    let number = |key: &str| three[key].as_f64().unwrap();
    let (share, tokens) = (number("draft_share"), number("tokens_per_iteration"));
    assert!((share - 0.5).abs() < 0.01, "{three}");
    assert!((tokens - 3.0 * share - 1.3).abs() < 1e-3, "{three}");
    assert!((number("acceptance") - 0.767).abs() < 0.01, "{three}");
    assert!((number("speedup") - 2.952 / tokens).abs() < 1e-3, "{three}");
    let pays = &engine["pays"];
    assert!(pays["speedup"].as_f64() >= three["speedup"].as_f64(), "{pays}");
}

#[test]
fn acceptance_of_a_log_and_times_of_a_benchmark_give_the_choice() {
    let (dir, bench) = bench();
    let log = |rates: &str| {
        format!(
            "SpecDecoding metrics: Mean acceptance length: 2.4, Accepted: 140 tokens, Drafted: \
             200 tokens, \
             Per-position acceptance rate: {rates}, Avg Draft acceptance rate: 70.0%\n"
        )
    };
    fs::write(dir.path().join("server.log"), log("0.800, 0.600") + &log("0.780, 0.580")).unwrap();
    let import = ["import", &bench, "server.log", "--layers", "32", "--draft-share", "0.1"];
    let said = refused(dir.path(), &[&import[..], &["--out", "run"]].concat());
    assert!(said.contains("server.log, line 1") && said.contains("--drafting"), "{said}");
    s3d(dir.path(), &[&import[..], &["--drafting", "sequential", "--out", "run"]].concat());
    let printed = s3d(dir.path(), &["optimize", "run", "--gamma-max", "2", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let choice = &answer["choice"];
    assert_eq!(choice["predictors"], 2);
    // source: by hand: 100 + 78 + ... the two lines commit 1 + 0.79 + 0.59 tokens an iteration,
    // which costs two drafts of 0.1 and a pass over three tokens (between 1 and 1.3: 1.2): 2.38 /
    // 1.4
    let (tokens, speedup) = (&choice["tokens_per_iteration"], &choice["predicted_speedup"]);
    assert!((tokens["value"].as_f64().unwrap() - 2.38).abs() < 0.01, "{tokens}");
    assert!((speedup["value"].as_f64().unwrap() - 1.70).abs() < 0.03, "{speedup}");
}

#[test]
fn answers_beside_their_baseline_give_the_measured_speedup() {
    let dir = tempfile::tempdir().unwrap();
    let answer = |id: usize, seconds: f64, lengths: &str| {
        format!(
            "{{\"question_id\":{id},\"choices\":[{{\"new_tokens\":[12],\"wall_time\":[{seconds}],\
             \"decoding_steps\":[6],\"accept_lengths\":{lengths}}}]}}\n"
        )
    };
    let plain = "[1,1,1,1,1,1,1,1,1,1,1,1]";
    let drafted = "[3,2,1,3,2,1]";
    let both = |lengths: &str, seconds: [f64; 3]| -> String {
        seconds.iter().enumerate().map(|(id, seconds)| answer(id, *seconds, lengths)).collect()
    };
    fs::write(dir.path().join("base.jsonl"), both(plain, [1.2, 1.2, 1.2])).unwrap();
    fs::write(dir.path().join("drafted.jsonl"), both(drafted, [0.8, 0.6, 0.8])).unwrap();
    let import = ["import", "base.jsonl", "drafted.jsonl", "--layers", "32", "--out", "run"];
    let flags = ["--drafting", "sequential", "--draft-share", "0.1"];
    s3d(dir.path(), &[&import[..], &flags].concat());
    let printed = s3d(dir.path(), &["optimize", "run", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let measured = &answer["engine"]["measured"][0];
    // source: by hand: the same tokens in 3.6 s and in 2.2 s
    let speedup = &measured["speedup"];
    assert!((speedup["value"].as_f64().unwrap() - 3.6 / 2.2).abs() < 1e-6, "{speedup}");
    assert!(speedup["low"].is_number(), "three questions have an interval: {speedup}");
}
