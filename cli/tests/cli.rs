//! The command line as a stranger meets it: wrong flags, missing files, full disks.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn s3d(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_s3d"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
        .args(arguments)
        .output()
        .unwrap()
}

/// Runs, expects this exit code, and returns what was said on standard error.
fn fails(code: i32, arguments: &[&str]) -> String {
    let output = s3d(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    said
}

/// A copy of the shipped model that a test may damage.
fn damaged(dir: &Path) -> PathBuf {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("data/models/story");
    let copy = dir.join("model");
    fs::create_dir(&copy).unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(model.join(name), copy.join(name)).unwrap();
    }
    copy
}

#[test]
fn wrong_flags_end_with_2_and_are_named() {
    for (arguments, word) in [
        (&["run", "--widen", "3"][..], "--widen"),
        (&["run", "--context", "1"], "--context"),
        (&["run", "--gamma-max", "0"], "--gamma-max"),
        (&["run", "--time-budget", "soon"], "--time-budget"),
        (&["run", "--device", "tpu"], "--device"),
        (&["run", "--device", "cuda:x"], "--device"),
        (&["run", "--device", "gpu:-1"], "--device"),
        (&["doctor", "--device", "cuda:"], "--device"),
        (
            &["generate", "--prompt", "x", "--device", "cpu+graphs"],
            "expected cpu, cuda[:N][+graphs] or gpu[:N]",
        ),
        (&["run", "--dtype", "f12"], "--dtype"),
        (&["run", "--model", "no-such-model"], "--model"),
        (&["generate", "--prompt", "x", "--plan", "9..4:2"], "plan"),
        (&["generate", "--prompt", "x", "--plan", "3..99:2"], "plan"),
        (&["generate", "--prompt", "x", "--temperature", "-1"], "--temperature: expected"),
        (&["generate", "--prompt", "x", "--temperature", "nan"], "--temperature: expected"),
        (&["generate", "--prompt", "x", "--temperature", "inf"], "--temperature: expected"),
        (&["generate", "--prompt", "x", "--temperature", "1", "--top-p", "0"], "--top-p: expected"),
        (&["generate", "--prompt", "x", "--top-p", "1.5"], "--top-p: expected"),
        (&["generate", "--prompt", "x", "--top-p", "NaN"], "--top-p: expected"),
        (&["generate", "--prompt", "x", "--top-k", "0"], "--top-k: expected"),
        (&["generate", "--prompt", "x", "--top-k", "-3"], "--top-k"),
        (&["generate", "--prompt", "x", "--top-k", "5"], "--temperature beside it"),
        (
            &["generate", "--prompt", "x", "--draft-threshold", "-0.1"],
            "--draft-threshold: expected",
        ),
        (&["generate", "--prompt", "x", "--draft-threshold", "1.1"], "--draft-threshold: expected"),
        (&["generate", "--prompt", "x", "--draft-threshold", "nan"], "--draft-threshold: expected"),
        (&["measure", "acceptance", "--temperature", "-1"], "--temperature: "),
        (&["measure", "acceptance", "--temperature", "1e9"], "--temperature: "),
        (&["run", "--temperature", "nan"], "--temperature: "),
        (&["run", "--temperature", "hot"], "--temperature"),
        (&["run", "--temperature", ""], "--temperature"),
        (&["run", "--temperature", "1", "--top-p", "0"], "--top-p: "),
        (&["run", "--temperature", "1", "--top-p", "1.1"], "--top-p: "),
        (&["run", "--top-p", "0.9"], "--temperature beside it"),
        (&["run", "--temperature", "0", "--top-p", "0.9"], "--temperature above 0"),
        (&["run", "--temperature", "1", "--impose", "0.5"], "--temperature: expected no --impose"),
        (&["optimize", "--temperature", "1"], "--temperature"),
        (&["measure", "throughput", "--plans", "4..8"], "--plans"),
        (&["simulate"], "--layers"),
        (&["measure", "acceptance", "--shard", "0/2"], "--shard"),
        (&["measure", "acceptance", "--shard", "3/2"], "1 <= i <= n"),
        (&["measure", "acceptance", "--shard", "one"], "--shard"),
        (&["measure", "throughput", "--shard", "1/2"], "--plans"),
        (&["merge", "--out", "x"], "DIR"),
        (&["merge", "x"], "--out"),
        (&["frobnicate"], "frobnicate"),
    ] {
        let said = fails(2, arguments);
        assert!(said.contains(word), "{arguments:?}: {said}");
    }
}

#[test]
fn a_card_that_is_not_there_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    for arguments in [
        &["doctor", "--device", "cuda:99"][..],
        &["generate", "--prompt", "x", "--device", "cuda:99"],
        &["measure", "latency", "--device", "cuda:99", "--out", out],
        &["measure", "latency", "--device", "cuda:99+graphs", "--out", out],
    ] {
        let said = fails(1, arguments);
        assert!(said.contains("--device cuda:99") && said.trim().lines().count() == 1, "{said}");
        assert!(
            said.contains("CUDA") || said.contains("driver") || said.contains("card"),
            "{said}"
        );
    }
}

#[test]
fn random_weights_report_no_acceptance_of_their_own() {
    for arguments in [
        &["measure", "acceptance", "--model", "llama-2-7b"][..],
        &["measure", "throughput", "--model", "tinyllama-1.1b", "--plans", "plain,2..4:3"],
        &["run", "--model", "llama-3-8b", "--layers", "2"],
    ] {
        let said = fails(2, arguments);
        assert!(said.contains("--impose") && said.contains("random weights"), "{said}");
    }
    let said = fails(2, &["inspect", "qwen3-4b", "--layers", "37"]);
    assert!(said.contains("--layers") && said.contains("1 to 36"), "{said}");
    assert!(fails(2, &["inspect", "story", "--layers", "3"]).contains("--layers"));
    assert!(fails(2, &["inspect", "custom"]).contains("--config"));
}

#[test]
fn a_small_geometry_is_measured_with_imposed_acceptance() {
    let dir = tempfile::tempdir().unwrap();
    let (config, out) = (dir.path().join("sizes.json"), dir.path().join("out"));
    let sizes = r#"{"hidden_size":64,"intermediate_size":96,"num_hidden_layers":4,
        "num_attention_heads":2,"vocab_size":50,"s3d":{"masks":3}}"#;
    fs::write(&config, sizes).unwrap();
    let (config, out_name) = (config.to_str().unwrap(), out.to_str().unwrap());
    let measure = |rates: &str| {
        let flags = "measure acceptance memory throughput --model custom --dtype q8_0 --plans \
                     plain,1..3:4,seq:1..3:2 --prompt-count 2 --tokens 24 --time-budget 2s \
                     --context 32 --quiet";
        let mut words: Vec<&str> = flags.split_whitespace().collect();
        words.extend(["--config", config, "--impose", rates, "--out", out_name]);
        s3d(&words)
    };
    let refused = measure("0.9,1.2");
    assert_eq!(refused.status.code(), Some(2));
    let output = measure("0.9,0.5");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let header = fs::read_to_string(out.join("run.json")).unwrap();
    let header: serde_json::Value = serde_json::from_str(&header).unwrap();
    assert_eq!(header["dtype"], "q8_0");
    assert_eq!(header["imposed"], serde_json::json!([0.9, 0.5]));
    assert_eq!(header["model"]["random_weights"], true);
    let traces = fs::read_to_string(out.join("acceptance.jsonl")).unwrap();
    assert_eq!(traces.lines().count(), 2 * 2, "two prompts, two draftings");
}

#[test]
fn missing_and_damaged_models_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let said = fails(1, &["inspect", "/no/such/model"]);
    assert!(said.contains("/no/such/model"), "{said}");

    let copy = damaged(dir.path());
    let weights = copy.join("model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    let name = copy.to_str().unwrap();
    let said = fails(1, &["generate", "--prompt", "x", "--model", name]);
    assert!(said.contains("model.safetensors"), "{said}");

    fs::write(&weights, &bytes).unwrap();
    let config = fs::read_to_string(copy.join("config.json")).unwrap();
    let wrong = config.replace("\"intermediate_size\": 768", "\"intermediate_size\": 704");
    assert_ne!(config, wrong);
    fs::write(copy.join("config.json"), wrong).unwrap();
    let said = fails(1, &["generate", "--prompt", "x", "--model", name]);
    assert!(said.contains("mlp") && said.contains("768"), "{said}");
}

#[test]
fn an_output_below_a_regular_file_is_refused_before_measuring() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let out = file.path().join("out");
    let said = fails(1, &["run", "--out", out.to_str().unwrap(), "--time-budget", "1s"]);
    assert!(said.contains(out.to_str().unwrap()), "{said}");
}

#[test]
fn a_full_standard_output_is_an_error() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_s3d"))
        .args(["simulate", "--layers", "32", "--skip", "16", "--alphas", "0.9,0.8", "--json"])
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("standard output"), "{said}");
}

#[test]
fn a_folder_that_is_no_run_directory_says_so() {
    let dir = tempfile::tempdir().unwrap();
    for command in ["fit", "optimize", "report", "validate", "export"] {
        let said = fails(1, &[command, dir.path().to_str().unwrap()]);
        assert!(said.contains(".json"), "{command}: {said}");
    }
}

/// Linux alone tells the peak of a process.
#[cfg(target_os = "linux")]
#[test]
fn computed_and_measured_peak_memory_agree() {
    for widen in ["1", "2"] {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().to_str().unwrap();
        let output = s3d(&["measure", "memory", "--widen", widen, "--quiet", "--out", out]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = fs::read_to_string(dir.path().join("memory.csv")).unwrap();
        let peak = |origin: &str| -> f64 {
            let row = text.lines().find(|l| l.starts_with("peak,") && l.ends_with(origin)).unwrap();
            row.split(',').nth(3).unwrap().parse().unwrap()
        };
        let ratio = peak("computed") / peak("measured");
        assert!((ratio - 1.0).abs() < 0.05, "widened x{widen}: computed / measured = {ratio}");
    }
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_an_error_that_keeps_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let measure = |limit: &str| {
        // A file may grow to so many blocks of 512 bytes; the signal for it is ignored, as a full
        // disk sends none.
        let line = format!(
            "trap '' XFSZ; ulimit -f {limit}; exec '{}' measure acceptance --widen 1 \
             --prompt-count 3 \
             --tokens 24 --gamma-max 2 --quiet --out '{}'",
            env!("CARGO_BIN_EXE_s3d"),
            out.display()
        );
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        Command::new("sh").current_dir(root).args(["-c", &line]).output().unwrap()
    };
    let full = measure("16");
    let said = String::from_utf8_lossy(&full.stderr);
    assert_eq!(full.status.code(), Some(1), "{said}");
    assert!(said.contains("journal.jsonl") && !said.contains("panicked"), "{said}");
    let kept = fs::read(out.join("journal.jsonl")).unwrap();
    let whole = kept.iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
    assert!(whole > 4000, "{whole} bytes in whole lines");
    let again = measure("unlimited");
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    let journal = fs::read(out.join("journal.jsonl")).unwrap();
    assert_eq!(journal[..whole], kept[..whole], "what was written stays");
    let traces = fs::read_to_string(out.join("acceptance.jsonl")).unwrap();
    assert_eq!(traces.lines().count(), 3 * 24, "three texts, twelve windows, two draftings, once");
}
