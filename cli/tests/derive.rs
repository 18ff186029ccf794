//! Cards that were never measured: profiles from data sheets, and choices on them.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::{Command, Output};

fn s3d(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_s3d"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
        .args(arguments)
        .output()
        .unwrap()
}

fn json(arguments: &[&str]) -> serde_json::Value {
    let output = s3d(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_derived_profile_says_so_and_serves_a_choice() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("profile");
    let out = out.to_str().unwrap();
    let derive =
        ["derive", "--card", "a10g", "--model", "llama-2-7b", "--dtype", "f16", "--out", out];
    let made = s3d(&derive);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(!s3d(&derive).status.success(), "a run directory is never written over");
    let run: serde_json::Value =
        serde_json::from_slice(&std::fs::read(Path::new(out).join("run.json")).unwrap()).unwrap();
    assert_eq!(run["device"], "derived from the data sheet");
    assert!(run["warnings"][0].as_str().unwrap().starts_with("derived, not measured"));

    let choose = ["optimize", "--profile", out, "--curve", "power", "--u", "3", "--json"];
    let answer = json(&[&choose[..], &["--ceiling", "0.8"]].concat());
    assert_eq!((&answer["derived"], &answer["machine"]), (&true.into(), &"NVIDIA A10G".into()));
    // source: by hand, simultaneous, layers 12..20 skipped, 4 predictors at 1024 tokens: a full pass reads
    // its layers, head and 1024 x 524,288 bytes of cache, a draft pass the head and 24/32 of
    // the layers with their cache; both are bound by reading.
    let cells = answer["cells"].as_array().unwrap();
    let cell = cells.iter().find(|cell| {
        cell["drafting"] == "simultaneous" && cell["skipped"] == 8 && cell["predictors"] == 4
    });
    let found = cell.unwrap()["improvement_factor"].as_f64().unwrap();
    let layers = 32.0 * 202_383_360.0 * 2.0 + 536_870_912.0;
    let head = 131_072_000.0 * 2.0;
    let cost = 1.0 + (0.75 * layers + head) / (layers + head);
    let alpha: f64 = 0.8 * (1.0 - 0.25f64.powi(3));
    let tokens: f64 = (0..=4).map(|i| alpha.powi(i)).sum();
    assert!((found / (tokens / cost) - 1.0).abs() < 2e-3, "{found} for {}", tokens / cost);
}

#[test]
fn what_is_not_known_is_refused_with_what_is() {
    let refused = |arguments: &[&str], words: &[&str]| {
        let output = s3d(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    };
    let derive = |card, model, dtype| {
        ["derive", "--card", card, "--model", model, "--dtype", dtype, "--out", "/nowhere"]
    };
    refused(&derive("gtx-970", "llama-2-7b", "f16"), &["--card", "gtx-970", "a10g"]);
    refused(&derive("t4", "llama-9", "f16"), &["--model", "llama-9", "phi-3-mini"]);
    refused(&derive("t4", "llama-2-7b", "bf16"), &["--dtype", "bf16", "T4"]);
    refused(&derive("t4", "llama-2-7b", "q3"), &["--dtype", "q3"]);
    refused(&["optimize", "--profile", "nope", "--curve", "power", "--u", "3"], &["--profile"]);
}
