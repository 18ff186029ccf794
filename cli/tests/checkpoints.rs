//! Checkpoints of every kind on the command line: Hugging Face folders, GGUF files, free sets of
//! layers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use common::{fails, s3d, says};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures")
}

/// Every fixture, with the file that holds its logits.
fn checkpoints() -> Vec<(PathBuf, PathBuf)> {
    let list = |folder: PathBuf| {
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        // The expected logits of this one are of a text that is long from its start:
        // cli/tests/limits.rs
        files.filter(|path| !path.ends_with("phi3-longrope-long")).collect::<Vec<_>>()
    };
    let folders = list(fixtures().join("checkpoints")).into_iter();
    let gguf = list(fixtures().join("gguf")).into_iter();
    let gguf = gguf.filter(|file| file.extension().is_some_and(|end| end == "gguf"));
    let all: Vec<(PathBuf, PathBuf)> = folders
        .map(|folder| (folder.clone(), folder.join("expected.json")))
        .chain(gguf.map(|file| (file.clone(), file.with_extension("json"))))
        .collect();
    assert_eq!(all.len(), 18);
    all
}

#[test]
fn inspect_shows_every_checkpoint_and_its_logits() {
    for (path, expected) in checkpoints() {
        let path = path.to_str().unwrap();
        let expected: Value = serde_json::from_slice(&std::fs::read(expected).unwrap()).unwrap();
        // source: row 9 of the logits that transformers computed, after the first ten tokens
        assert_eq!(expected["rows"][1], 9);
        let tokens = expected["tokens"].as_array().unwrap()[..10].iter();
        let tokens: Vec<String> = tokens.map(Value::to_string).collect();
        let numbers = |value: &Value| -> Vec<f64> {
            value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
        };
        let said = says(&["inspect", path, "--logits", &tokens.join(","), "--json"]);
        let found = numbers(&serde_json::from_str::<Value>(&said).unwrap()["logits"]);
        let exact = numbers(&expected["logits"][1]);
        let largest = exact.iter().fold(0.0f64, |most, x| most.max(x.abs()));
        assert_eq!(found.len(), exact.len());
        for (found, exact) in found.iter().zip(&exact) {
            assert!((found - exact).abs() < 1e-4 * largest, "{path}: {found} {exact}");
        }
        let shape: Value = serde_json::from_str(&says(&["inspect", path, "--json"])).unwrap();
        assert!(shape["architecture"].as_str().unwrap().ends_with("ForCausalLM"), "{shape}");
        assert_eq!(shape["shape"]["vocab"], exact.len());
    }
}

/// `.` is the folder one is in, not one of the shipped models' folder.
#[test]
fn a_checkpoint_is_found_from_within_its_folder() {
    let folder = fixtures().join("checkpoints");
    for name in [".", "./", "../llama2", "../llama2/"] {
        let (shown, _) =
            common::in_folder::done(&folder.join("llama2"), &format!("inspect {name}"));
        assert!(shown.contains("LlamaForCausalLM"), "{name}: {shown}");
    }
    let said = common::in_folder::fails(&folder, 1, "inspect .");
    assert!(said.starts_with("error: .: no config.json"), "{said}");
}

#[test]
fn drawn_texts_claim_no_equality_and_belong_to_their_seed() {
    let path = fixtures().join("gguf/llama.gguf");
    let base = ["generate", "--model", path.to_str().unwrap(), "--tokens", "12", "--prompt", "A"];
    let seq = ["--plan", "seq:1..2:3", "--dtype", "f32"];
    let json = |more: &[&str]| -> Value {
        let said = says(&[&base[..], &seq, &["--json"], more].concat());
        serde_json::from_str(&said).unwrap()
    };
    let drawn = |seed: &str| {
        json(&["--temperature", "0.9", "--top-k", "50", "--top-p", "0.95", "--seed", seed])
    };
    let (one, again, two) = (drawn("1"), drawn("1"), drawn("2"));
    assert_eq!(one["token_ids"], again["token_ids"]);
    assert_ne!(one["token_ids"], two["token_ids"]);
    assert_eq!(one["same_text"], Value::Null);
    let expected = serde_json::json!({"temperature": 0.9, "top_k": 50, "top_p": 0.95, "seed": 2});
    assert_eq!(two["sampling"], expected);
    let greedy = json(&["--compare"]);
    assert_eq!((&greedy["sampling"], &greedy["same_text"]), (&Value::Null, &true.into()));
    let cold = json(&["--temperature", "0", "--draft-threshold", "0.9"]);
    assert_eq!((&cold["token_ids"], &cold["sampling"]), (&greedy["token_ids"], &Value::Null));
    assert_eq!(cold["draft_threshold"], 0.9);
    assert!(cold["drafts_per_iteration"].as_f64() < greedy["drafts_per_iteration"].as_f64());

    let said = |more: &[&str]| {
        let output = s3d(&[&base[..], &seq, more].concat());
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(said(&["--compare"]).contains("same text as plain decoding"));
    assert!(said(&["--no-compare"]).contains("Not compared with plain decoding"));
    let drawn = said(&["--temperature", "0.9", "--compare"]);
    assert!(drawn.contains("temperature 0.9, seed 1") && !drawn.contains("same text"), "{drawn}");
}

#[test]
fn a_gguf_file_generates_and_chats() {
    let path = fixtures().join("gguf/llama.gguf");
    let path = path.to_str().unwrap();
    let generate = |more: &[&str]| {
        let base = ["generate", "--model", path, "--tokens", "12", "--json"];
        let said = says(&[&base[..], more].concat());
        serde_json::from_str::<Value>(&said).unwrap()["token_ids"].clone()
    };
    let plain = generate(&["--prompt", "The miller", "--plan", "plain"]);
    assert_eq!(generate(&["--prompt", "The miller", "--plan", "seq:1..2:3"]), plain);
    let chat = generate(&["--prompt", "The miller", "--plan", "plain", "--chat"]);
    let written = "<s><|user|>\nThe miller</s><|assistant|>\n";
    assert_eq!(generate(&["--prompt", written, "--plan", "plain"]), chat);
    assert_ne!(chat, plain);
}

#[test]
fn what_a_checkpoint_cannot_do_is_said_before_anything_is_printed() {
    let bare = fixtures().join("checkpoints/llama2");
    let (bare, gguf) = (bare.to_str().unwrap(), fixtures().join("gguf/qwen2.gguf"));
    let gguf = gguf.to_str().unwrap();
    for (code, arguments, word) in [
        (1, &["generate", "--model", bare, "--prompt", "x", "--plan", "plain"][..], "--tokenizer"),
        (1, &["generate", "--model", gguf, "--prompt", "x", "--plan", "0..1:4"], "mask embeddings"),
        (
            2,
            &["generate", "--model", gguf, "--prompt", "x", "--plan", "set=attn-7-mlp-0:2"],
            "layer 7",
        ),
        (1, &["inspect", "org/name"], "--download"),
        (1, &["generate", "--model", "org/name", "--download", "--prompt", "x"], "org/name"),
        (1, &["inspect", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")], "GGUF"),
    ] {
        let said = fails(code, arguments);
        assert!(said.contains(word), "{arguments:?}: {said}");
    }
}

/// A checkpoint without masks: sequential plans are looked at, and how to get the others is said.
#[test]
fn a_run_without_masks_chooses_among_sequential_plans() {
    let dir = tempfile::tempdir().unwrap();
    let (prompts, out) = (dir.path().join("prompts.jsonl"), dir.path().join("out"));
    let texts = ["The miller counts", "Der Müller", "two  spaces", "it's 3.14"];
    let lines = texts.map(|text| format!("{{\"text\": \"{text}\"}}\n"));
    std::fs::write(&prompts, lines.concat()).unwrap();
    let model = fixtures().join("gguf/qwen2.gguf");
    let [model, prompts, folder] = [&model, &prompts, &out].map(|path| path.to_str().unwrap());
    let few = ["--context", "48", "--time-budget", "1s", "--quiet"];
    let output = s3d(&[
        &["run", "--model", model, "--prompts", prompts, "--out", folder],
        &few[..],
    ]
    .concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("s3d train --model DIR --corpus FILES --out OTHER"), "{said}");
    let found: Value =
        serde_json::from_slice(&std::fs::read(out.join("recommendation.json")).unwrap()).unwrap();
    assert_eq!(found["choice"]["drafting"], "sequential", "{found}");
}

#[test]
fn a_free_set_of_layers_is_measured_replayed_and_exported() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let (set, prompts, out) = (at("set.json"), at("prompts.jsonl"), at("out"));
    std::fs::write(&set, r#"{"mine": {"attention": [1], "mlp": [0]}}"#).unwrap();
    let texts = ["The miller counts", "Der Müller", "two  spaces", "it's 3.14"];
    let lines: Vec<String> =
        texts.iter().map(|text| format!("{{\"text\": \"{text}\"}}\n")).collect();
    std::fs::write(&prompts, lines.concat()).unwrap();
    let model = fixtures().join("gguf/qwen2.gguf");
    let plans = format!("plain,seq:set={set}#mine:3");
    says(&[
        "measure",
        "throughput",
        "acceptance",
        "latency",
        "--model",
        model.to_str().unwrap(),
        "--prompts",
        &prompts,
        "--plans",
        &plans,
        "--tokens",
        "24",
        "--context",
        "48",
        "--time-budget",
        "1s",
        "--quiet",
        "--out",
        &out,
    ]);
    // In every table the plan stands as the set itself, which reads back without the file.
    std::fs::remove_file(&set).unwrap();
    let blocks = std::fs::read_to_string(dir.path().join("out/throughput.csv")).unwrap();
    assert!(blocks.contains(",seq:set=attn-1-mlp-0:3,"), "{blocks}");
    let said = fails(1, &["export", &out]);
    assert!(said.contains("s3d report"), "{said}");
    let judged = s3d(&["validate", &out]);
    assert!(judged.status.success());
    let judged = String::from_utf8([judged.stdout, judged.stderr].concat()).unwrap();
    let replay = judged.lines().find(|line| line.contains(" generations took exactly")).unwrap();
    let counts: Vec<&str> = replay.split(' ').filter(|word| word.parse::<u32>().is_ok()).collect();
    assert!(counts.len() == 2 && counts[0] == counts[1] && counts[0] != "0", "{replay}");
    says(&["report", &out]);
    let choice: Value = serde_json::from_str(&says(&["export", &out, "--anyway"])).unwrap();
    assert_eq!(choice["skip_layers"]["attention"], serde_json::json!([1]), "{choice}");
    assert_eq!(choice["skip_layers"]["mlp"], serde_json::json!([0]), "{choice}");
    assert!(choice["plan"].as_str().unwrap().starts_with("seq:set=attn-1-mlp-0:"), "{choice}");
    let again = choice["plan"].as_str().unwrap();
    let prompt = ["generate", "--model", model.to_str().unwrap(), "--prompt", "x", "--json"];
    says(&[&prompt[..], &["--plan", again]].concat());
}

/// A GGUF file whose tokenizer cuts text into words in a way that nobody knows.
fn of_no_known_words(dir: &Path) -> PathBuf {
    let mut bytes = std::fs::read(fixtures().join("gguf/llama.gguf")).unwrap();
    let at = bytes.windows(5).position(|five| five == b"gpt-2").unwrap();
    bytes[at..at + 5].copy_from_slice(b"gpt-9");
    let path = dir.join("unknown.gguf");
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn times_need_no_tokenizer_and_texts_say_what_is_wrong_with_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = of_no_known_words(dir.path());
    let model = path.to_str().unwrap();
    let out = dir.path().join("run");
    let words = ["measure", "latency", "--model", model, "--out", out.to_str().unwrap()];
    says(&[&words[..], &["--context", "32", "--time-budget", "1s", "--quiet"]].concat());
    let error = fails(1, &["generate", "--model", model, "--plan", "plain", "--prompt", "A"]);
    assert!(error.contains("unknown.gguf") && error.contains("gpt-9"), "{error}");
    assert!(error.contains("--tokenizer FILE"), "{error}");
}

#[test]
fn inspect_prints_the_tokens_of_a_text() {
    let path = fixtures().join("gguf/llama.gguf");
    let expected = std::fs::read(path.with_extension("json")).unwrap();
    let expected: Value = serde_json::from_slice(&expected).unwrap();
    // source: the tokenizers package, on the tokenizer that the file was made from
    let case = &expected["texts"][8];
    let text = format!("--tokens={}", case["text"].as_str().unwrap());
    let said = says(&["inspect", path.to_str().unwrap(), &text, "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["ids"], case["ids"]);
}
