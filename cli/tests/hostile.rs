//! Records, sets, plans and flags that someone made wrong on purpose: a clear refusal at once, and
//! nothing read that was not named on the command line.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use common::{fails, s3d, says};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The shipped run, its long tables cut, in `dir`.
fn short_run(dir: &Path) -> PathBuf {
    let (from, to) = (root().join("data/runs/story-x2-epyc"), dir.join("run"));
    fs::create_dir(&to).unwrap();
    for (name, lines) in [
        ("run.json", usize::MAX),
        ("latency.csv", 2000),
        ("acceptance.jsonl", usize::MAX),
        ("throughput.csv", usize::MAX),
        ("memory.csv", usize::MAX),
    ] {
        let all = fs::read_to_string(from.join(name)).unwrap();
        let kept: Vec<&str> = all.lines().take(lines).collect();
        fs::write(to.join(name), kept.join("\n") + "\n").unwrap();
    }
    to
}

/// Replaces the first `old` of a file and returns it to its state after `check`.
fn with(path: &Path, old: &str, new: &str, check: impl FnOnce()) {
    let before = fs::read_to_string(path).unwrap();
    assert!(before.contains(old), "{}: {old}", path.display());
    fs::write(path, before.replacen(old, new, 1)).unwrap();
    check();
    fs::write(path, before).unwrap();
}

#[test]
fn a_plan_in_a_table_opens_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, r#"{"attention": [1], "mlp": [1]}"#).unwrap();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let table = dir.path().join("latency.csv");
    let out = dir.path().join("out");
    for file in [&secret, &pipe, &PathBuf::from("/etc/hostname")] {
        let row = format!("0,draft_pass,,set={}:3,3,64,0,0,0,0.01,", text(file));
        let head =
            "machine,component,layer,plan,width,context,block,order,copy,seconds,cpu_seconds";
        fs::write(&table, format!("{head}\n{row}\n")).unwrap();
        let said = fails(1, &["import", text(&table), "--layers", "4", "--out", text(&out)]);
        assert!(said.contains("latency.csv, line 2") && said.contains("attn-1"), "{said}");
        assert!(!out.exists());
    }
}

#[test]
fn a_record_that_cannot_be_names_file_and_line_in_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let run = short_run(dir.path());
    let files: [(&str, &str, &str, &str); 7] = [
        ("run.json", "\"layers\": 12", "\"layers\": 1000000000000", "layers: expected 1 to 4096"),
        ("run.json", "\"gamma_max\": 8", "\"gamma_max\": 100000000", "gamma_max: expected 1 to 64"),
        ("run.json", "\"context\": 256", "\"context\": 0", "context: expected 1 to"),
        ("latency.csv", "0.005053323999998582", "1e-323", "seconds: expected"),
        ("latency.csv", "0.005053323999998582", "NaN", "seconds: expected"),
        ("acceptance.jsonl", "\"prompt\":", "\"prompt\":99999999", "prompt: expected 0 to"),
        ("throughput.csv", ",plain,", ",3..99:2,", "the model has layers 0..12"),
    ];
    for (file, old, new, words) in files {
        let path = run.join(file);
        with(&path, old, new, || {
            for command in ["fit", "optimize", "validate", "report", "inspect"] {
                let said = fails(1, &[command, text(&run)]);
                assert!(said.contains(&format!("{file}, line ")), "{command}: {said}");
                assert!(said.contains(words), "{command}: {said}");
            }
        });
    }
}

#[test]
fn a_recommendation_beyond_the_model_is_not_exported() {
    let dir = tempfile::tempdir().unwrap();
    let run = short_run(dir.path());
    let file = run.join("recommendation.json");
    fs::copy(root().join("data/runs/story-x2-epyc/recommendation.json"), &file).unwrap();
    assert!(says(&["export", text(&run)]).contains("skip_layers"));
    for (old, new) in [
        ("\"skip_end\": ", "\"skip_end\": 100000000000"),
        ("\"layers\": 12", "\"layers\": 0"),
        ("\"value\": ", "\"value\": null, \"other\": "),
        ("\"predictors\": ", "\"predictors\": 9999"),
    ] {
        with(&file, old, new, || {
            let said = fails(1, &["export", text(&run)]);
            assert!(said.contains("recommendation.json, line "), "{new}: {said}");
        });
    }
}

#[test]
fn numbers_beyond_all_models_are_wrong_usage() {
    let many = "1000000000000";
    let dir = tempfile::tempdir().unwrap();
    let out = text(dir.path());
    let curve = ["--curve", "power", "--u", "2"];
    let cases: Vec<Vec<&str>> = vec![
        [&["optimize", "--layers", many][..], &curve].concat(),
        [&["optimize", "--layers", "4096", "--gamma-max", "64"][..], &curve].concat(),
        [&["simulate", "--layers", many, "--skip", "2", "--predictors", "3"][..], &curve].concat(),
        vec!["simulate", "--layers", "9", "--skip", "2", "--alphas", "0.5", "--batch", many],
        vec!["simulate", "--layers", "9", "--skip", "2", "--alphas", "0.5", "--context", many],
        vec!["import", "x.csv", "--layers", many, "--out", out],
        vec!["import", "x.csv", "--layers", "4", "--gamma-max", many, "--out", out],
        vec!["import", "x.csv", "--layers", "4", "--context", many, "--out", out],
        vec!["derive", "--card", "a10g", "--model", "llama-2-7b", "--context", many, "--out", out],
        vec!["measure", "acceptance", "--shard", "1/1000000000000", "--out", out],
        vec!["measure", "acceptance", "--prompt-count", many, "--out", out],
        vec!["measure", "acceptance", "--tokens", many, "--out", out],
        vec!["generate", "--prompt", "x", "--tokens", many],
        vec!["inspect", "story", "--context", "18446744073709551615"],
        vec!["inspect", "llama-2-7b", "--layers", many],
    ];
    for arguments in cases {
        let said = fails(2, &arguments);
        assert!(said.contains("--") && said.len() < 1000, "{arguments:?}: {said}");
    }
}

#[test]
fn numbers_that_are_none_are_wrong_usage() {
    let numbers = ["simulate", "--layers", "32", "--skip", "8", "--predictors", "3"];
    for value in ["nan", "NaN", "inf", "-inf", "1e999"] {
        let power = ["--curve", "power", "--u"];
        for flags in [
            [&power[..], &[value]].concat(),
            [&power[..], &["2", "--ceiling", value]].concat(),
            vec!["--curve", "logistic", "--centre", value, "--slope", "2"],
            vec!["--curve", "logistic", "--centre", "2", "--slope", value],
            vec!["--alphas", value],
        ] {
            // A value that begins with a hyphen is a flag to clap: refused as well.
            fails(2, &[&numbers[..], &flags].concat());
        }
        let derive =
            ["derive", "--card", "a10g", "--model", "llama-2-7b", "--out", "/nonexistent/x"];
        for flag in ["--bandwidth-share", "--compute-share"] {
            fails(2, &[&derive[..], &[flag, value]].concat());
        }
    }
}

/// What stands where a file should: waits for a writer, never ends, is a folder, or is larger than
/// any.
fn no_files(dir: &Path) -> Vec<PathBuf> {
    let pipe = dir.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let huge = dir.join("huge");
    fs::File::create(&huge).unwrap().set_len(1 << 42).unwrap();
    vec![pipe, PathBuf::from("/dev/zero"), dir.to_path_buf(), huge]
}

#[test]
fn only_regular_files_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let run = short_run(dir.path());
    let out = dir.path().join("out");
    let out = text(&out);
    for file in no_files(dir.path()) {
        let name = text(&file);
        let (plans, set) = (format!("@{name}"), format!("set={name}:3"));
        for (code, arguments) in [
            (
                1,
                vec![
                    "simulate",
                    "--traces",
                    name,
                    "--predictors",
                    "2",
                    "--layers",
                    "4",
                    "--skip",
                    "1",
                ],
            ),
            (
                1,
                vec![
                    "simulate", "--alphas", "0.5", "--layers", "4", "--skip", "1", "--costs", name,
                ],
            ),
            (1, vec!["measure", "throughput", "--widen", "1", "--plans", &plans, "--out", out]),
            (1, vec!["measure", "acceptance", "--widen", "1", "--prompts", name, "--out", out]),
            (2, vec!["generate", "--prompt", "x", "--widen", "1", "--plan", &set]),
        ] {
            let said = fails(code, &arguments);
            let refused = said.contains("expected a regular file") || said.contains("at most");
            assert!(refused, "{arguments:?}: {said}");
        }
        for table in ["run.json", "latency.csv", "acceptance.jsonl", "throughput.csv", "memory.csv"]
        {
            let (place, aside) = (run.join(table), dir.path().join("aside"));
            fs::rename(&place, &aside).unwrap();
            std::os::unix::fs::symlink(&file, &place).unwrap();
            let said = fails(1, &["fit", text(&run)]);
            assert!(
                said.contains(table) && said.contains("expected a"),
                "{name} for {table}: {said}"
            );
            fs::remove_file(&place).unwrap();
            fs::rename(&aside, &place).unwrap();
        }
    }
}

/// Every refusal here is made in little memory ([`common::limited`]), whatever the size of the
/// file.
#[test]
fn what_is_no_table_is_not_read_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let run = short_run(dir.path());
    let out = dir.path().join("out");
    let filled = |path: &Path, start: &str, piece: &str, bytes: u64| {
        fs::write(path, start.to_string() + &piece.repeat((bytes / piece.len() as u64) as usize))
            .unwrap();
    };
    // Nothing but zeros, which take no room on the disk: one row that never ends.
    let zeros = |path: &Path, bytes: u64| fs::File::create(path).unwrap().set_len(bytes).unwrap();
    for table in
        ["latency.csv", "acceptance.jsonl", "throughput.csv", "memory.csv", "near_ties.csv"]
    {
        let before = fs::read(run.join(table)).unwrap_or_default();
        zeros(&run.join(table), 512 << 20);
        let said = fails(1, &["fit", text(&run)]);
        assert!(said.contains(table) && said.contains("at most 4 MiB"), "{table}: {said}");
        fs::write(run.join(table), before).unwrap();
    }
    for (name, bytes) in
        [("a.csv", 128), ("a.jsonl", 128), ("a.json", 128), ("a.log", 128), ("b.json", 8)]
    {
        let file = dir.path().join(name);
        zeros(&file, bytes << 20);
        fails(1, &["import", text(&file), "--layers", "4", "--out", text(&out)]);
        if !["a.jsonl", "b.json"].contains(&name) {
            continue;
        }
        for (start, piece) in
            [("[", "0,"), ("{\"attempted\":[", "0,"), ("{\"n_prompt\":1,\"n_gen\":[", "[],")]
        {
            filled(&file, start, piece, (bytes << 20).min(8 << 20) - 64);
            fails(1, &["import", text(&file), "--layers", "4", "--out", text(&out)]);
        }
    }
    let prompts = dir.path().join("prompts.jsonl");
    zeros(&prompts, 256 << 20);
    let words =
        ["measure", "acceptance", "--widen", "1", "--out", text(&out), "--prompts", text(&prompts)];
    assert!(fails(1, &words).contains("at most 4 MiB"));
    filled(&prompts, "{\"text\":[", "0,", (4 << 20) - 64);
    fails(1, &words);
    // Objects with more in them than any run has.
    for start in ["{\"schema_version\":1,\"warnings\":[", "{\"schema_version\":1,\"other\":["] {
        filled(&run.join("run.json"), start, "\"\",", (8 << 20) - 64);
        assert!(fails(1, &["inspect", text(&run)]).contains("run.json"));
    }
}

#[test]
fn what_files_say_is_quoted_short_and_without_control_characters() {
    let dir = tempfile::tempdir().unwrap();
    let run = short_run(dir.path());
    let long = format!("\\u001b[2J{}", "x".repeat(3_000_000));
    with(
        &run.join("run.json"),
        "\"schema_version\": 1",
        "\"schema_version\": 1, \"dtype\": 7",
        || {
            assert!(fails(1, &["inspect", text(&run)]).len() < 1000);
        },
    );
    let unknown = format!("{{\"{long}\":1,\"prompt\":");
    with(&run.join("acceptance.jsonl"), "{", &unknown, || {
        let said = fails(1, &["fit", text(&run)]);
        assert!(said.len() < 1500 && !said.contains('\u{1b}'), "{} bytes", said.len());
        assert!(said.contains("acceptance.jsonl, line 1"), "{said}");
    });
    let header = fs::read_to_string(run.join("run.json")).unwrap();
    let mut header: serde_json::Value = serde_json::from_str(&header).unwrap();
    header["model"]["name"] = "a\u{1b}[2J\u{9b}2Jb".into();
    fs::write(run.join("run.json"), header.to_string()).unwrap();
    let shown = says(&["inspect", text(&run)]);
    assert!(shown.contains("a\\u001b[2J\\u009b2Jb") && !shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn sets_that_are_written_are_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let run = root().join("data/runs/sweep-x2-epyc");
    let folder = dir.path().join("free sets");
    let output = s3d(&["optimize", text(&run), "--write-sets", text(&folder)]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let plans = said.split("--plans ").nth(1).unwrap().lines().next().unwrap();
    let first = plans.split(',').next().unwrap();
    let out = ["generate", "--prompt", "Once", "--widen", "1", "--tokens", "4", "--json", "--plan"];
    let printed = says(&[&out[..], &[first]].concat());
    assert!(printed.contains("set=attn-"), "the set is written out: {printed}");
    // What is exported is a set as well.
    let exported = dir.path().join("exported.json");
    fs::write(&exported, says(&["export", text(&run)])).unwrap();
    let plan = format!("set={}:3", exported.display());
    assert!(says(&[&out[..], &[&plan]].concat()).contains("set=attn-"));
}
