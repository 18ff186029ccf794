//! `--device gpu` on whatever Vulkan device is here: the doctor, losslessness through the program,
//! and a whole job.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod common;

use common::{fails, says};
use serde_json::Value;

/// Whether there is a device; says so where there is none.
fn found() -> bool {
    let found = !s3d_model::device::adapters().is_empty();
    if !found {
        eprintln!("skipped: no Vulkan adapter here (Debian: mesa-vulkan-drivers)");
    }
    found
}

#[test]
fn the_doctor_lists_adapters_and_finds_their_results_right() {
    if !found() {
        return;
    }
    let answer: Value =
        serde_json::from_str(&says(&["doctor", "--device", "gpu", "--json"])).unwrap();
    assert_eq!(answer["device"], "gpu:0");
    let adapter = &answer["adapters"][0];
    assert!(!adapter["name"].as_str().unwrap().is_empty(), "{adapter}");
    // source: the least that Vulkan demands of a driver, 2^27 bytes
    assert!(adapter["binding_bytes"].as_u64().unwrap() >= 1 << 27, "{adapter}");
    let checks = answer["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 5, "one in each number type");
    assert!(checks.iter().all(|check| check["passed"] == true), "{checks:?}");
}

#[test]
fn what_cannot_be_had_is_one_line() {
    let said = fails(1, &["doctor", "--device", "gpu:99"]);
    assert!(said.contains("--device gpu:99: ") && said.trim().lines().count() == 1, "{said}");
    if !found() {
        return;
    }
    let dtype = ["generate", "--device", "gpu", "--dtype", "q4_k", "--prompt", "x"];
    let said = fails(1, &dtype);
    assert!(said.contains("f32, bf16, f16, q8_0, q4_0; found q4_k"), "{said}");
}

/// source: plain decoding, by `--compare`
#[test]
fn text_by_a_draft_plan_is_the_plain_text() {
    if !found() {
        return;
    }
    let how =
        ["generate", "--device", "gpu", "--widen", "1", "--plan", "1..3:4", "--compare", "--json"];
    let said = says(&[&how[..], &["--prompt", "Once upon a time", "--tokens", "24"]].concat());
    let answer: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(answer["same_text"], true);
    assert_eq!(answer["token_ids"].as_array().unwrap().len(), 24);
}

/// source: the bytes that the device's buffers took, beside the formula for them
#[test]
fn memory_that_was_computed_is_what_the_device_allocated() {
    if !found() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let how = ["measure", "memory", "--device", "gpu", "--widen", "1", "--context", "64"];
    says(&[&how[..], &["--out", out.to_str().unwrap()]].concat());
    let table = std::fs::read_to_string(out.join("memory.csv")).unwrap();
    let peak = |origin: &str| -> f64 {
        let row = table.lines().find(|row| row.starts_with("peak,") && row.ends_with(origin));
        row.unwrap().split(',').nth(3).unwrap().parse().unwrap()
    };
    let ratio = peak("computed") / peak("measured");
    assert!((0.98..1.02).contains(&ratio), "{table}");
}

#[test]
fn a_whole_job_ends_with_a_verdict_a_page_and_a_record_that_names_the_adapter() {
    if !found() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let how = ["run", "--device", "gpu", "--widen", "1", "--time-budget", "20s"];
    // Small, so that software Vulkan has traced and timed something by then.
    let small = ["--context", "64", "--tokens", "24", "--gamma-max", "2"];
    let said = says(&[&how[..], &small, &["--out", out.to_str().unwrap()]].concat());
    let adapter = &s3d_model::device::adapters()[0];
    // A terminal breaks the sentence anywhere.
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let warns = |text: &str| words(text).contains("times say nothing about a GPU");
    assert_eq!(warns(&said), adapter.software, "{said}");
    let header: Value =
        serde_json::from_slice(&std::fs::read(out.join("run.json")).unwrap()).unwrap();
    assert_eq!(header["device"], "gpu:0");
    assert_eq!(header["driver"].as_str(), Some(&*adapter.driver));
    let written = &header["machines"][0]["adapter"];
    assert_eq!(written["name"].as_str(), Some(&*adapter.name));
    assert_eq!(written["backend"], "vulkan");
    assert_eq!(warns(&header["warnings"].to_string()), adapter.software, "{}", header["warnings"]);
    let page = std::fs::read_dir(&out).unwrap().any(|entry| {
        entry.unwrap().path().extension().is_some_and(|extension| extension == "html")
    });
    assert!(page, "a page");
}
