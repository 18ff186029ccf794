//! The house rules that a machine can check: arrows between crates, homes of libraries, and
//! opening lines.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "common/import_graph.rs"]
mod import_graph;

use import_graph::ImportGraph;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each crate with the crates of ours it may use (docs/ARCHITECTURE.md says why).
const ARROWS: [(&str, &[&str]); 9] = [
    ("data", &[]),
    ("gpu", &["s3d-data"]),
    ("kernels", &["s3d-data"]),
    ("model", &["s3d-data", "s3d-kernels", "s3d-gpu"]),
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
        ("Timestamp::now", &["measure/src/clock/date.rs", tidy]),
        ("dims()[", &[tidy]),
        ("1024.0", &["data/src/units.rs", tidy]),
    ] {
        let found = trespassers(needle, homes);
        assert!(found.is_empty(), "'{needle}' belongs into {homes:?}, found in {found:?}");
    }
}

/// Crates whose files import each other without circles and by their homes.
const HOUSES: [&str; 3] = ["kernels", "model", "train"];

/// Files of a folder whose code names one of `needles`, outside `homes` and tests.
fn naming(folder: &str, needles: &[&str], homes: &[&str]) -> Vec<String> {
    let all = needles.iter().flat_map(|needle| trespassers(needle, homes));
    let mut found: Vec<String> = all.filter(|name| name.starts_with(folder)).collect();
    found.retain(|name| !name.ends_with("tests.rs") && !name.contains("/tests/"));
    found.dedup();
    found
}

#[test]
fn kernels_take_slices_and_know_neither_tensors_nor_files() {
    let outside = ["candle", "std::fs", "File::", "std::path", "std::net", "std::process"];
    assert_eq!(naming("kernels/src", &outside, &[]), [""; 0]);
    // Threads of its own; rayon where weights are packed, once, as they are loaded.
    let homes = ["kernels/src/pool.rs", "kernels/src/packed.rs"];
    assert_eq!(naming("kernels/src", &["std::thread", "rayon"], &homes), [""; 0]);
}

#[test]
fn the_engine_and_the_kernels_know_neither_time_nor_statistics() {
    let time = ["std::time", "Instant::", "SystemTime", "statrs"];
    for folder in ["kernels/src", "model/src", "train/src"] {
        assert_eq!(naming(folder, &time, &[]), [""; 0]);
    }
    // Chat templates may ask for the date.
    assert_eq!(naming("model/src", &["jiff"], &["model/src/tokenizer/chat/now.rs"]), [""; 0]);
}

#[test]
fn nothing_above_the_backends_knows_which_one_runs() {
    let backends = ["candle", "Backend::Cpu", "Backend::Candle", "Kernels", "Home::"];
    for folder in ["model/src/model", "model/src/decode", "model/src/config", "model/src/tokenizer"]
    {
        assert_eq!(naming(folder, &backends, &[]), [""; 0]);
    }
}

#[test]
fn files_import_each_other_without_circles_and_by_their_homes() {
    for folder in HOUSES.into_iter().chain(["data", "measure", "simulator", "reports", "cli"]) {
        let graph = ImportGraph::of(&root().join(folder).join("src"));
        assert!(graph.arrows.values().map(BTreeSet::len).sum::<usize>() > 20, "{folder}");
        assert_eq!(graph.circles(), [""; 0], "{folder}");
        assert_eq!(graph.through_lib, [], "{folder}: import from the file that defines it");
    }
}

#[test]
fn the_architecture_page_names_every_file_of_these_crates() {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    for folder in HOUSES {
        let section = text.split(&format!("## `{folder}`")).nth(1).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
        let told: BTreeSet<&str> = rows.filter_map(|row| row.split('`').next()).collect();
        let src = format!("{folder}/src/");
        let there: Vec<String> = sources()
            .into_iter()
            .filter_map(|(name, _)| Some(name.strip_prefix(&src)?.to_string()))
            .filter(|name| !name.contains("tests") && !name.contains("test_numbers"))
            .collect();
        let there: BTreeSet<&str> = there.iter().map(String::as_str).collect();
        assert_eq!(told, there, "{folder}: one row a file");
    }
}

/// The code of a file by line: comments, texts in quotes and the tests at its end left out.
fn code(text: &str) -> Vec<String> {
    let mut quoted = false;
    let own = text.split("#[cfg(test)]").next().unwrap();
    let line = |line: &str| {
        let (mut kept, mut before) = (String::new(), ' ');
        for (place, letter) in line.char_indices() {
            if !quoted && line[place..].starts_with("//") {
                break;
            }
            if letter == '"' && before != '\\' && before != '\'' {
                quoted = !quoted;
            } else if !quoted {
                kept.push(letter);
            }
            before = if before == '\\' { ' ' } else { letter };
        }
        kept
    };
    own.lines().map(line).collect()
}

/// Lines of code below `folder` that hold one of `needles`, outside `homes`.
fn lines_with(folder: &str, homes: &[&str], needles: &[&str]) -> Vec<String> {
    let mine = |name: &str| name.starts_with(folder) && !homes.iter().any(|h| name.starts_with(h));
    let mut found = Vec::new();
    for (name, text) in sources().into_iter().filter(|(name, _)| mine(name)) {
        let lines = code(&text).into_iter().filter(|l| needles.iter().any(|n| l.contains(n)));
        found.extend(lines.map(|line| format!("{name}: {}", line.trim())));
    }
    found
}

/// Functions of numbers that make a result.
const FUNCTIONS: [&str; 9] = [
    ".powi(",
    ".powf(",
    ".sqrt(",
    ".ln(",
    ".exp(",
    ".hypot(",
    "median(",
    "quantile(",
    "statistics::",
];

#[test]
fn commands_do_no_arithmetic() {
    let operators = [" * ", " / ", " % ", " *= ", " /= ", " -= ", " as f64", ".round(", ".abs("];
    let needles: Vec<&str> = operators.into_iter().chain(FUNCTIONS).collect();
    let mut found = lines_with("cli/src/commands", &[], &needles);
    // One less than a count is a count.
    let minus = lines_with("cli/src/commands", &[], &[" - "]);
    found.extend(minus.into_iter().filter(|line| !line.contains(" - 1")));
    assert!(found.is_empty(), "computed in a command: {found:#?}");
}

#[test]
fn reports_compute_no_new_result() {
    // Drawing places ink, which takes geometry.
    let found = lines_with("reports/src", &["reports/src/draw"], &FUNCTIONS);
    assert!(found.is_empty(), "computed in a report: {found:#?}");
    // What the simulator computes with; reports take its answers.
    let tools = [
        "expected_tokens",
        "ideal_improvement",
        "ideal_gain",
        "rate_by_bytes",
        "AcceptanceCurve",
        "AcceptanceRate",
        "Memory::elsewhere",
        "SkipRatio::new",
        "quotient(",
        "product(",
        "resample",
    ];
    let found = lines_with("reports/src", &[], &tools);
    assert!(found.is_empty(), "computed in a report: {found:#?}");
    // Products and quotients place ink, in figures; in words and tables they would be results.
    let homes = [
        "reports/src/draw",
        "reports/src/figures",
        "reports/src/figure.rs",
        "reports/src/compare/training.rs",
        "reports/src/paper/memory.rs",
        "reports/src/page/picture.rs",
        "reports/src/format/text.rs",
    ];
    let found = lines_with("reports/src", &homes, &[" / ", " * ", " /= ", " *= "]);
    assert!(found.is_empty(), "computed in a report: {found:#?}");
}

#[test]
fn pages_are_written_by_templates() {
    // Where a drawing is cut out of its document.
    let homes = ["reports/src/page/picture.rs"];
    let tags = ["</", "/>", "<p", "<div", "<span", "<table", "<td", "<li>", "<ul>", "class="];
    assert_eq!(naming("reports/src", &tags, &homes), [""; 0]);
}

#[test]
fn the_simulator_has_no_file_no_clock_and_no_entropy() {
    let needles = ["std::fs", "std::time", "std::env", "File::", "from_os_rng", "rand::rng("];
    let found = lines_with("simulator/src", &[], &needles);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn data_touches_files_only_where_they_are_stored_and_read() {
    let homes = ["data/src/store/", "data/src/output/", "data/src/run/journal.rs"];
    for (name, text) in sources().into_iter().filter(|(name, _)| name.starts_with("data/src/")) {
        let tests = name.ends_with("tests.rs") || homes.iter().any(|home| name.starts_with(home));
        let code = text.split("#[cfg(test)]").next().unwrap();
        let uses = ["std::fs", "fs::", "File::open", "OpenOptions"];
        let found = uses.into_iter().find(|needle| {
            code.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(needle))
        });
        assert!(tests || found.is_none(), "{name}: {found:?} belongs into {homes:?}");
    }
}

#[test]
fn comments_are_short_and_so_are_lines_of_records_and_measuring() {
    // What other engines write stands there as they write it.
    let verbatim = "data/src/import/native/tests.rs";
    for (name, text) in sources() {
        let code = name.starts_with("data/src/") || name.starts_with("measure/");
        let all_lines = code && name != verbatim;
        for (number, line) in text.lines().enumerate() {
            // Tables, and lines of examples, which end where a statement does.
            let comment = line.trim_start().strip_prefix("//").is_some_and(|words| {
                let words = words.trim_start_matches(['/', '!']).trim();
                !words.starts_with('|') && !words.ends_with([';', ')', '}'])
            });
            let long = (all_lines || comment) && line.chars().count() > 100;
            assert!(!long, "{name}, line {}: above 100 characters", number + 1);
        }
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
