//! What results look like on a terminal, in a pipe, and to other programs.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::Command;

/// Standard output of a command that succeeds, in the repository's folder.
fn s3d(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_s3d"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const RUN: &str = "data/runs/story-x2-epyc";

#[test]
fn a_choice_fits_80_columns_and_has_no_colour_in_a_pipe() {
    let text = s3d(&["optimize", RUN]);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(!text.contains('\x1b') && text.starts_with("Speculate: "), "{text}");
    let rows = text.lines().filter(|line| line.contains(" tied ") || line.contains(" choice "));
    assert!(rows.clone().count() > 0, "{text}");
    for row in rows {
        assert_eq!(row.matches('[').count(), row.matches(']').count(), "broken over lines: {text}");
    }
}

#[test]
fn a_choice_is_an_object_for_programs_and_markdown_for_people() {
    let json: serde_json::Value = serde_json::from_str(&s3d(&["optimize", RUN, "--json"])).unwrap();
    assert!(json["choice"]["plan"].is_string() && json["speculate"].is_boolean(), "{json}");
    let markdown = s3d(&["optimize", RUN, "--markdown"]);
    assert!(markdown.starts_with("**Speculate: ") && markdown.contains("| plan | role |"));
}

#[test]
fn reports_print_objects_or_a_table() {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("reported");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(RUN);
    for name in ["a", "b"] {
        std::fs::create_dir_all(root.join(name)).unwrap();
        for file in ["run.json", "latency.csv", "acceptance.jsonl", "throughput.csv"] {
            std::fs::copy(source.join(file), root.join(name).join(file)).unwrap();
        }
    }
    let (a, b) = (root.join("a"), root.join("b"));
    let (a, b, out) = (a.to_str().unwrap(), b.to_str().unwrap(), root.join("both"));
    let both = s3d(&["report", a, b, "--out", out.to_str().unwrap(), "--markdown"]);
    assert!(both.contains("| run | model | device |"), "{both}");
    for page in
        [root.join("a/report.html"), root.join("b/report.html"), out.join("comparison.html")]
    {
        assert!(page.exists(), "{}", page.display());
    }
    let json: serde_json::Value = serde_json::from_str(&s3d(&["report", a, "--json"])).unwrap();
    assert!(json["choice"]["plan"].is_string());
}

#[test]
fn shells_and_manuals_know_every_command() {
    let commands = ["run", "measure", "fit", "optimize", "validate", "simulate", "report", "paper"];
    let (bash, manual) = (s3d(&["completions", "bash"]), s3d(&["man"]));
    assert!(bash.contains("complete -F _s3d"), "{bash}");
    assert!(manual.contains(".TH s3d 1"), "{manual}");
    for command in commands {
        assert!(bash.contains(&format!("s3d,{command})")), "bash: {command}");
        assert!(manual.contains(&format!("s3d\\-{command}(1)")), "man: {command}");
    }
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(s3d(&["completions", shell]).contains("s3d"), "{shell}");
    }
    let folder = tempfile::tempdir().unwrap();
    let pages = s3d(&["man", "--out", folder.path().to_str().unwrap()]);
    assert!(pages.lines().count() > commands.len() && pages.contains("s3d-run.1"), "{pages}");
    let run = std::fs::read_to_string(folder.path().join("s3d-run.1")).unwrap();
    assert!(run.contains("time\\-budget"), "{run}");
    assert!(!pages.contains("memory-child"), "a hidden command has no page");
}
