//! The house rules that a machine can check: arrows between crates, homes of libraries, and
//! opening lines.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each crate with the crates of ours it may use (docs/ARCHITECTURE.md says why).
const ARROWS: [(&str, &[&str]); 9] = [
    ("data", &[]),
    ("gpu", &["s3d-data"]),
    ("kernels", &["s3d-data"]),
    ("model", &["s3d-data", "s3d-kernels"]),
    ("train", &["s3d-data", "s3d-model", "s3d-kernels"]),
    ("measure", &["s3d-data", "s3d-model"]),
    ("simulator", &["s3d-data"]),
    ("reports", &["s3d-data", "s3d-simulator"]),
    ("cli", &["s3d-data", "s3d-model", "s3d-train", "s3d-measure", "s3d-simulator", "s3d-reports"]),
];

/// Crates from outside that a crate must never name, in any kind of dependency.
const FORBIDDEN: [(&str, &[&str]); 9] = [
    ("gpu", &["candle", "plotters", "clap", "anyhow"]),
    ("data", &["candle", "plotters", "clap", "anyhow"]),
    ("kernels", &["candle", "plotters", "clap", "anyhow"]),
    ("model", &["plotters", "clap", "anyhow"]),
    ("train", &["plotters", "clap", "anyhow"]),
    ("measure", &["plotters", "clap", "anyhow"]),
    ("simulator", &["candle", "plotters", "clap", "anyhow"]),
    ("reports", &["candle", "clap", "anyhow"]),
    ("cli", &["candle", "plotters"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn dependencies(folder: &str) -> BTreeSet<String> {
    let path = root().join(folder).join("Cargo.toml");
    let manifest: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
    let mut names = BTreeSet::new();
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        if let Some(table) = manifest.get(section).and_then(toml::Value::as_table) {
            names.extend(table.keys().cloned());
        }
    }
    names
}

/// All Rust files below the crates, with their paths from the root.
fn sources() -> Vec<(String, String)> {
    let mut folders: Vec<PathBuf> = ARROWS.iter().map(|(name, _)| root().join(name)).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(files.len() > 20, "the walk found only {} files", files.len());
    files
}

/// Names of files whose code (comments aside) holds `needle`, outside `homes`.
fn trespassers(needle: &str, homes: &[&str]) -> Vec<String> {
    sources()
        .into_iter()
        .filter(|(name, _)| !homes.iter().any(|home| name.starts_with(home)))
        .filter(|(_, text)| {
            text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(needle))
        })
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn arrows_point_one_way() {
    for (folder, allowed) in ARROWS {
        for name in dependencies(folder) {
            let ours = name.starts_with("s3d-");
            assert!(!ours || allowed.contains(&name.as_str()), "{folder} must not use {name}");
        }
    }
    for (folder, forbidden) in FORBIDDEN {
        for name in dependencies(folder) {
            let bad = forbidden.iter().any(|f| name.starts_with(f));
            assert!(!bad || (folder == "cli" && name == "anyhow"), "{folder} must not use {name}");
        }
    }
}

#[test]
fn cuda_is_a_feature_that_nobody_gets_unasked() {
    for (folder, _) in ARROWS {
        let path = root().join(folder).join("Cargo.toml");
        let manifest: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        let features = manifest.get("features").and_then(toml::Value::as_table);
        let has = features.is_some_and(|features| features.contains_key("cuda"));
        assert_eq!(has, ["model", "measure", "cli"].contains(&folder), "{folder}");
        let default = features.and_then(|features| features.get("default"));
        assert!(!default.is_some_and(|list| list.to_string().contains("cuda")), "{folder}");
        for (name, dependency) in manifest["dependencies"].as_table().unwrap() {
            let own = dependency.get("features").map(ToString::to_string).unwrap_or_default();
            let optional = dependency.get("optional").is_some_and(|o| o.as_bool() == Some(true));
            assert!(
                !own.contains("cuda") && (optional || name != "nvml-wrapper"),
                "{folder}: {name}"
            );
        }
    }
    let workspace = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(
        !workspace.contains("\"cuda\""),
        "no dependency of the workspace brings CUDA by itself"
    );
}

#[test]
fn wgpu_is_a_feature_that_nobody_gets_unasked() {
    for (folder, _) in ARROWS {
        let path = root().join(folder).join("Cargo.toml");
        let manifest: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        let default = manifest.get("features").and_then(|features| features.get("default"));
        assert!(!default.is_some_and(|list| list.to_string().contains("gpu")), "{folder}");
        for name in ["wgpu", "s3d-gpu"] {
            let dependency = manifest["dependencies"].get(name);
            let optional = dependency.and_then(|d| d.get("optional")?.as_bool());
            assert!(dependency.is_none() || optional == Some(true), "{folder}: {name}");
        }
    }
}

#[test]
fn libraries_stay_in_their_homes() {
    let tidy = "cli/tests/tidy.rs";
    for (needle, homes) in [
        ("clap::", &["cli/src/args", tidy][..]),
        ("plotters::", &["reports/src/draw/chart.rs", tidy]),
        ("wgpu::", &["gpu/src", tidy]),
        ("Instant::now", &["measure/src/clock/system.rs", "model/benches", "gpu/benches", tidy]),
        ("dims()[", &[tidy]),
        ("1024.0", &["data/src/units.rs", tidy]),
    ] {
        let found = trespassers(needle, homes);
        assert!(found.is_empty(), "'{needle}' belongs into {homes:?}, found in {found:?}");
    }
}

#[test]
fn every_file_opens_with_what_it_is() {
    for (name, text) in sources() {
        assert!(text.starts_with("//! "), "{name} must open with a `//!` line");
    }
}

#[test]
fn every_crate_states_its_invariant() {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    for (folder, _) in ARROWS {
        let heading = format!("## `{folder}`");
        let section = text.split(&heading).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
        let section = section.split("\n## ").next().unwrap();
        assert_eq!(section.matches("**Invariant:**").count(), 1, "one invariant for {folder}");
    }
}
