//! The choice in the forms of other engines: every command of the page runs, what is written is
//! read back, and nothing is advice where the verdict is not to speculate.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::panic, reason = "tests")]

mod common;

use common::{fails, says, walk};
use s3d_data::{LayerSet, Plan};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

fn page() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(root.join("docs/EXPORT.md")).unwrap()
}

/// A run of one window that ends at `end` of 32 layers, drafted in this way, with its report; of
/// two texts that accept `share` per mille of the first draft.
fn run(folder: &Path, drafting: &str, end: usize, share: usize) -> String {
    let row = |id: &str, more: usize| {
        let (first, second) = (share + more, (share + more) / 10 * 9);
        format!(
            "{drafting},8,{end},{id},1,1000,{first}\n{drafting},8,{end},{id},2,{first},{second}\n"
        )
    };
    let counts = format!(
        "drafting,skip_start,skip_end,id,predictor,attempted,accepted\n{}{}",
        row("a", 0),
        row("b", 10)
    );
    let path = |name: &str| folder.join(name).display().to_string();
    fs::write(path("counts.csv"), counts).unwrap();
    fs::write(path("law.json"), r#"{"fixed_seconds": 0.0195, "per_token_seconds": 0.0004}"#)
        .unwrap();
    let run = path("run");
    let (law, counts) = (path("law.json"), path("counts.csv"));
    let import = ["import", &law, &counts, "--layers", "32", "--gamma-max", "2", "--out", &run];
    says(&[&import[..], &["--model", "org/their-7b"]].concat());
    says(&["report", &run]);
    run
}

#[test]
fn every_command_of_the_page_runs_and_its_files_are_read_back() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(walk(&page(), dir.path()), (2, 11), "files and commands on the page");
    let file = dir.path().join("skip_layers.json");
    let set = LayerSet::load(&format!("{}#their-7b_s3d", file.display())).unwrap();
    let layers: Vec<usize> = (8..32).collect();
    assert_eq!((set.attention, set.mlp), (layers.clone(), layers));
    let config = fs::read_to_string(dir.path().join("speculative.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["num_speculative_tokens"], 2);
    let python = dir.path().join("speculate.py");
    assert!(fs::read_to_string(&python).unwrap().contains("assistant_early_exit=8,"));
    match Command::new("python3").args(["-m", "py_compile"]).arg(&python).output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        Err(error) => println!("skipped: python3 does not run here: {error}"),
    }
}

#[test]
fn what_export_prints_is_read_back_as_a_set() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path(), "sequential", 24, 900);
    let file = dir.path().join("choice.json").display().to_string();
    says(&["export", &run, "--out", &file]);
    let plan = Plan::with_sets(&format!("seq:set={file}:2"), LayerSet::load).unwrap();
    let skip = &plan.draft().unwrap().skip;
    assert!(skip.skips_attention(8) && skip.skips_mlp(23) && !skip.skips_mlp(24));
}

#[test]
fn the_plan_by_context_is_written_as_csv_and_as_json() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path(), "sequential", 24, 900);
    let base = ["export", &run, "--table", "context"];
    let csv = says(&[&base[..], &["--context", "64..256"]].concat());
    let header = "context,plan,window,drafts,speedup,low,high,basis";
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!((lines[0], lines.len()), (header, 4), "{csv}");
    assert!(lines[1].starts_with("64,seq:8..24:") && lines[3].starts_with("256,"), "{csv}");
    let file = dir.path().join("plans.json").display().to_string();
    says(&[&base[..], &["--context", "64,128,256", "--out", &file]].concat());
    let json: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let cell = |place: usize, name: &str| json[place][name].to_string().replace('"', "");
    for (place, line) in lines[1..].iter().enumerate() {
        let names = ["context", "plan", "window", "drafts"];
        let expected: Vec<String> = names.iter().map(|name| cell(place, name)).collect();
        assert!(line.starts_with(&expected.join(",")), "{line} {expected:?}");
    }
    assert!(fails(1, &base).contains("one context"), "the run was asked about one");
    for bad in ["0", "64", "256..64", "NaN", "64,64", "x"] {
        fails(2, &[&base[..], &["--context", bad]].concat());
    }
    fails(2, &["export", &run, "--table", "batches"]);
    fails(2, &["export", &run, "--format", "json"]);
    fails(2, &[&base[..], &["--to", "vllm"]].concat());
}

#[test]
fn a_window_below_the_top_is_no_early_exit_and_that_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path(), "simultaneous", 24, 900);
    let output = common::s3d(&["export", &run, "--to", "transformers"]);
    let said = String::from_utf8_lossy(&output.stderr);
    // source: by hand: 8..24 of 32 layers keeps 16, of which the first 16 are another draft
    assert!(said.contains("seq:16..32:") && said.contains("one token a pass"), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("assistant_early_exit=16,"));
    let printed = says(&["export", &run]);
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed["early_exit_layer"], Value::Null);
    for (engine, words) in [
        ("llama.cpp", "--spec-draft-n-max"),
        ("vllm", "num_speculative_tokens"),
        ("tensorrt-llm", "max_draft_len"),
        ("sglang", "--speculative-num-steps"),
        ("swift", "\"attention\""),
        ("layerskip", "--exit_layer 16"),
    ] {
        let printed = says(&["export", &run, "--to", engine]);
        assert!(printed.contains(words), "{engine}: {printed}");
    }
}

#[test]
fn nothing_is_exported_as_advice_when_the_verdict_is_not_to_speculate() {
    let dir = tempfile::tempdir().unwrap();
    // A tenth of the drafts accepted: no plan beats plain decoding.
    let run = run(dir.path(), "sequential", 24, 100);
    for to in [&["export", &run][..], &["export", &run, "--to", "vllm"]] {
        let said = fails(1, to);
        assert!(said.contains("not 'speculate'") && said.contains("--anyway"), "{said}");
    }
    let printed = says(&["export", &run, "--to", "vllm", "--anyway"]);
    assert!(printed.contains("num_speculative_tokens"), "{printed}");
}
