//! The limits of a model, which every command meets, and what is said of files that are not
//! followed to the letter.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use common::{fails, says};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures")
}

fn path(name: &str) -> String {
    fixtures().join(name).to_str().unwrap().to_string()
}

/// So many token ids.
fn tokens(count: usize) -> String {
    vec!["5"; count].join(",")
}

#[test]
fn logits_are_refused_beyond_the_sliding_window_and_the_positions() {
    // source: the fixtures' sliding_window and max_position_embeddings
    for (name, positions) in [("checkpoints/mistral", 24), ("checkpoints/phi3", 128)] {
        says(&["inspect", &path(name), "--logits", &tokens(positions), "--json"]);
        let said = fails(1, &["inspect", &path(name), "--logits", &tokens(positions + 1)]);
        assert!(said.contains(&format!("{positions} positions")), "{said}");
    }
}

#[test]
fn logits_of_a_text_beyond_the_training_are_those_of_transformers() {
    let folder = fixtures().join("found/logits-beyond-longrope");
    let expected = std::fs::read(folder.join("expected.json")).unwrap();
    let expected: Value = serde_json::from_slice(&expected).unwrap();
    let tokens: Vec<String> =
        expected["tokens"].as_array().unwrap().iter().map(Value::to_string).collect();
    let said =
        says(&["inspect", folder.to_str().unwrap(), "--logits", &tokens.join(","), "--json"]);
    let found: Value = serde_json::from_str(&said).unwrap();
    let numbers = |value: &Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    };
    let (found, exact) = (numbers(&found["logits"]), numbers(&expected["logits_after_last"]));
    let largest = exact.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    assert_eq!(found.len(), exact.len());
    for (found, exact) in found.iter().zip(&exact) {
        assert!((found - exact).abs() < 1e-4 * largest, "{found} {exact}");
    }
}

#[test]
fn a_context_beyond_the_model_is_refused_by_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out").to_str().unwrap().to_string();
    let prompts = dir.path().join("prompts.jsonl").to_str().unwrap().to_string();
    std::fs::write(&prompts, "{\"text\": \"The miller counts\"}\n").unwrap();
    let model = path("gguf/qwen2.gguf");
    let base = ["--model", &model, "--prompts", &prompts, "--out", &out, "--quiet"];
    for command in [&["run"][..], &["measure", "latency"]] {
        let said = fails(2, &[command, &base[..], &["--context", "129"]].concat());
        assert!(said.contains("--context") && said.contains("128 tokens"), "{said}");
    }
    for bad in [
        "",
        "0",
        "-1",
        "1.5",
        "NaN",
        "x",
        "64..32",
        "32..32",
        "32..129",
        "32,129",
        "64,32",
        &"9".repeat(40),
    ] {
        fails(2, &[&["run"], &base[..], &["--context", bad]].concat());
        assert!(!dir.path().join("out/run.json").exists(), "{bad}: nothing is written");
    }
    let few = ["--context", "48", "--time-budget", "1s"];
    says(&[&["measure", "latency"], &base[..], &few].concat());
    let other = [&["measure", "latency"], &base[..], &["--context", "48,96"]].concat();
    assert!(fails(1, &other).contains("--context"), "a run goes on only with its own contexts");
    let said = fails(2, &["optimize", &out, "--context", "129"]);
    assert!(said.contains("--context 129") && said.contains("128 tokens"), "{said}");
}

#[test]
fn sizes_that_would_wrap_are_refused() {
    let most = u64::MAX.to_string();
    let said = fails(2, &["inspect", "story", "--context", &most]);
    assert!(said.contains("'--context <N>'") && said.contains("is not in 1..="), "{said}");
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.json");
    let sizes = r#""hidden_size":64,"intermediate_size":64,"num_hidden_layers":2,"num_attention_heads":4,"vocab_size":9"#;
    std::fs::write(&config, format!(r#"{{{sizes},"s3d":{{"masks":{most}}}}}"#)).unwrap();
    let said = fails(1, &["inspect", "custom", "--config", config.to_str().unwrap()]);
    assert!(said.contains("masks"), "{said}");
}

#[test]
fn what_is_read_and_not_followed_is_listed() {
    for (name, line) in [
        ("found/stale-index-beside-single", "model.safetensors.index.json is not followed"),
        ("found/tied-but-head-differs", "tie_word_embeddings = true is not followed"),
        (
            "found/logits-beyond-longrope",
            "long_factor is used from the start where prompt and output together may exceed 32",
        ),
        ("checkpoints/mistral", "generation stops at 24 of 128 tokens, its sliding window"),
    ] {
        let text = says(&["inspect", &path(name)]);
        assert!(text.contains("Read, and not followed") && text.contains(line), "{text}");
        let json: Value = serde_json::from_str(&says(&["inspect", &path(name), "--json"])).unwrap();
        assert!(json["read_and_not_followed"].to_string().contains(line), "{json}");
    }
    let nothing = says(&["inspect", &path("checkpoints/llama2")]);
    assert!(!nothing.contains("not followed"), "{nothing}");
    let json: Value = serde_json::from_str(&says(&["inspect", "story", "--json"])).unwrap();
    assert_eq!(json["read_and_not_followed"], Value::Array(Vec::new()));
}

#[test]
fn parameters_count_biases_and_norms_of_heads() {
    let count = |name: &str| -> u64 {
        let json: Value = serde_json::from_str(&says(&["inspect", &path(name), "--json"])).unwrap();
        json["parameters"].as_u64().unwrap()
    };
    // source: by hand: 288 x 32 twice, 32; in each of 3 layers 32 x 48 x 3, 32 x 64 x 2 + 32 x 32 x
    // 2, 64, and 2 x 16
    assert_eq!(count("checkpoints/qwen3"), 2 * 288 * 32 + 32 + 3 * (4608 + 6144 + 64 + 32));
    // 288 x 32 twice, 32; in each of 3 layers 32 x 48 x 3, 32 x 32 x 2 + 32 x 16 x 2, 64; 32 + 16 +
    // 16 + 32 and 48 + 48 + 32
    assert_eq!(
        count("checkpoints/llama-mlp-bias"),
        2 * 288 * 32 + 32 + 3 * (4608 + 3072 + 64 + 96 + 128)
    );
}
