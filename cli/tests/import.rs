//! Measurements from outside: the examples of the documentation are read as they stand, and a run that
//! goes out and in again gives the same answer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

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

/// Words of a command line; double quotes hold words together.
fn words(line: &str) -> Vec<String> {
    let quoted = line.split('"').enumerate();
    quoted
        .flat_map(|(place, part)| match place % 2 {
            1 => vec![part.to_string()],
            _ => part.split_whitespace().map(str::to_string).collect(),
        })
        .collect()
}

#[test]
fn the_examples_of_the_documentation_are_read_as_they_stand() {
    let page = fs::read_to_string(root().join("docs/IMPORT.md")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (mut files, mut commands) = (0, 0);
    let mut blocks = page.split("```");
    while let (Some(text), Some(block)) = (blocks.next(), blocks.next()) {
        let (kind, body) = block.split_once('\n').unwrap();
        if kind == "sh" {
            for line in body.lines() {
                let words = words(line.strip_prefix("s3d ").unwrap());
                let printed =
                    s3d(dir.path(), &words.iter().map(String::as_str).collect::<Vec<_>>());
                assert!(!printed.is_empty(), "{line}");
                commands += 1;
            }
        } else {
            let name = text.trim_end().rsplit('\n').next().unwrap();
            fs::write(dir.path().join(name.trim_matches('`')), body).unwrap();
            files += 1;
        }
    }
    assert_eq!((files, commands), (6, 9), "files and commands on the page");
}

#[test]
fn a_run_that_goes_out_and_in_again_gives_the_same_recommendation() {
    let run = root().join("data/runs/story-x2-epyc");
    let dir = tempfile::tempdir().unwrap();
    let run = run.to_str().unwrap();
    let printed = s3d(dir.path(), &["export", run, "--csv", "tables"]);
    let command = printed.split("s3d import ").nth(1).unwrap();
    // The shell would find the tables.
    let tables = ["latency", "memory", "near_ties", "throughput"];
    let tables = tables.map(|name| format!("tables/{name}.csv")).join(" ");
    let command = command.replace("tables/*.csv", &tables).replace("--out DIR", "--out again");
    let words: Vec<&str> = std::iter::once("import").chain(command.split_whitespace()).collect();
    s3d(dir.path(), &words);
    let answer = |folder: &str| s3d(dir.path(), &["optimize", folder, "--json"]);
    assert_eq!(answer("again"), answer(run));
    assert!(answer("again").contains("\"measured_speedup\": {"));
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
