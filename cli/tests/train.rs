//! `s3d train` on a checkpoint of one's own, from the texts to the drafts.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{fails, s3d, says};
use s3d_model::ModelConfig;
use s3d_model::train::{TrainConfig, Trainer, learn_tokenizer};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;

/// A tiny checkpoint without masks, and a file of texts.
fn checkpoint(dir: &Path) -> (PathBuf, PathBuf) {
    let model = ModelConfig {
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 3,
        num_attention_heads: 2,
        num_key_value_heads: Some(1),
        head_dim: Some(8),
        vocab_size: 300,
        ..ModelConfig::story()
    };
    let config = TrainConfig { model, context: 32, ..TrainConfig::story(2).text_only() };
    let config = TrainConfig { model: ModelConfig { s3d: None, ..config.model }, ..config };
    let mut trainer = Trainer::new(config, 2).unwrap();
    trainer.step().unwrap();
    let base = dir.join("base");
    trainer.save(&base).unwrap();
    (base, corpus(dir))
}

fn corpus(dir: &Path) -> PathBuf {
    let corpus = dir.join("corpus.jsonl");
    let line =
        |i: usize| format!("{{\"text\": \"The miller counts {i} sacks, then {i} more.\"}}\n");
    std::fs::write(&corpus, (0..60).map(line).collect::<String>()).unwrap();
    corpus
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures/checkpoints").join(name)
}

/// `steps` small steps on `corpus`, from `base` to `out`.
fn train([base, corpus, out]: [&str; 3], steps: &str, more: &[&str]) -> Output {
    let all = ["train", "--model", base, "--corpus", corpus, "--out", out, "--steps", steps];
    let small = ["--context", "32", "--batch", "2", "--gamma-max", "4", "--validate-every", "4"];
    s3d(&[&all[..], &small, more].concat())
}

/// The tokens that `model` generates under `plan`.
fn generate(model: &str, plan: &str) -> Value {
    let words = ["generate", "--model", model, "--prompt", "The miller", "--plan", plan];
    let said = says(&[&words[..], &["--tokens", "24", "--json"]].concat());
    serde_json::from_str::<Value>(&said).unwrap()["token_ids"].clone()
}

#[test]
fn a_checkpoint_gets_adapters_and_drafts_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let (base, corpus) = checkpoint(dir.path());
    let out = dir.path().join("out");
    let [base, corpus, out] = [&base, &corpus, &out].map(|path| path.to_str().unwrap());
    let train = |steps: &str| train([base, corpus, out], steps, &["--rank", "4"]);
    let output = train("6");
    let noted = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{noted}");
    assert!(noted.contains("step 4 of 6: held-out text") && noted.contains("accepted"), "{noted}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    // source: 3 masks of 16, and 3 layers of rank 4 x (16 + 32, 16 + 16, 16 + 48, 24 + 16)
    assert_eq!(summary["trained_parameters"], 3 * 16 + 3 * 4 * (48 + 32 + 64 + 40));
    assert_eq!(summary["validation"][0]["step"], 4);
    assert_eq!(summary["acceptance"][0]["alpha"].as_array().unwrap().len(), 4);
    assert!(says(&["inspect", out]).contains("rank 4, on draft rows only"));
    let plain = generate(base, "plain");
    assert_eq!(generate(out, "plain"), plain);
    assert_eq!(generate(out, "1..2:4"), plain);
    // Finished: the same command again only judges; another length is another run.
    assert_eq!(train("6").status.code(), Some(0));
    let other = train("7");
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(other.status.code() == Some(1) && said.contains("steps 6, but 7"), "{said}");
    let again = fails(1, &["train", "--model", out, "--corpus", corpus, "--out", "/nonexistent/x"]);
    assert!(again.contains("3 mask predictors already"), "{again}");
}

/// Checkpoints made with transformers whose attention has biases or norms of heads: with adapters the text is
/// what it was, to the last token; with all weights trained it is what plain decoding of the new ones gives.
#[test]
fn biases_and_norms_of_heads_are_trained_too() {
    for name in ["qwen2", "qwen3", "llama-linear-bias"] {
        let dir = tempfile::tempdir().unwrap();
        let (base, corpus) = (dir.path().join(name), corpus(dir.path()));
        std::fs::create_dir(&base).unwrap();
        for file in ["config.json", "model.safetensors"] {
            std::fs::copy(fixture(name).join(file), base.join(file)).unwrap();
        }
        learn_tokenizer(2, 288, 20).unwrap().save(&base.join("tokenizer.json")).unwrap();
        let outs = ["adapters", "joint"].map(|method| (method, dir.path().join(method)));
        for (method, out) in &outs {
            let [base, corpus, out] = [&base, &corpus, out].map(|path| path.to_str().unwrap());
            let output =
                train([base, corpus, out], "6", &["--method", method, "--learning-rate", "0.02"]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{name} {method}: {said}");
            let plain = generate(out, "plain");
            assert_eq!(plain == generate(base, "plain"), *method == "adapters", "{name} {method}");
            assert_eq!(generate(out, "1..2:4"), plain, "{name} {method}");
        }
    }
}

#[test]
fn what_cannot_be_trained_is_said_before_training() {
    let dir = tempfile::tempdir().unwrap();
    let (base, corpus) = checkpoint(dir.path());
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_string()
    };
    let (short, bytes) = (write("short.txt", b"a few words"), write("bytes.txt", &[0xff, 0xfe]));
    let keys = write("keys.jsonl", b"{\"txt\": 1}\n");
    let bare = fixture("llama2");
    let [base, corpus, bare] = [&base, &corpus, &bare].map(|path| path.to_str().unwrap());
    let out = dir.path().join("out");
    let out = out.to_str().unwrap();
    for (code, arguments, word) in [
        (2, &["--model", base][..], "--corpus FILES"),
        (2, &["--corpus", corpus], "--model"),
        (2, &["--rank", "4"], "--model"),
        (2, &["--model", base, "--corpus", corpus, "--rank", "0"], "--rank: expected 1"),
        (2, &["--model", base, "--corpus", corpus, "--gamma-max", "1"], "--gamma-max: expected 2"),
        (2, &["--model", base, "--corpus", corpus, "--steps", "0"], "--steps"),
        (2, &["--model", base, "--corpus", corpus, "--objective", "text"], "--objective"),
        (2, &["--targets", "text"], "--model"),
        (
            2,
            &["--model", base, "--corpus", corpus, "--method", "joint", "--targets", "choices"],
            "expected text with --method joint",
        ),
        (2, &["--preset", "tale"], "expected story or story-large"),
        (2, &["--model", base, "--preset", "story-large"], "expected story,"),
        (2, &["--device", "tpu"], "expected cpu or cuda"),
        (2, &["--device", "cuda", "--cpu-seconds", "9"], "--cpu-seconds: expected --device cpu"),
        (2, &["--preset", "story-large", "--device", "cuda+graphs"], "training records no passes"),
        (1, &["--preset", "story-large", "--device", "cuda:9"], "--device cuda:9"),
        (2, &["--cpu-seconds", "0"], "--cpu-seconds"),
        (1, &["--model", base, "--corpus", "/nonexistent/a.txt"], "cannot read"),
        (1, &["--model", base, "--corpus", &bytes], "UTF-8"),
        (1, &["--model", base, "--corpus", &keys], "line 1"),
        (1, &["--model", base, "--corpus", &short], "give more text or a shorter context"),
        (1, &["--model", "story", "--corpus", corpus], "7 mask predictors already"),
        (1, &["--model", bare, "--corpus", corpus], "tokenizer.json"),
        (1, &["--model", "/nonexistent/model", "--corpus", corpus], "no such folder"),
    ] {
        let said = fails(code, &[&["train", "--out", out], arguments].concat());
        assert!(said.contains(word), "{arguments:?}: {said}");
    }
    let said = fails(2, &["train", "--model", base, "--corpus", corpus, "--out", base]);
    assert!(said.contains("--out"), "{said}");
}
