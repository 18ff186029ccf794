//! Prompts of every form through the commands, and conversations in a checkpoint's own template.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{fails, s3d, says};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures")
}

fn gguf() -> String {
    fixtures().join("gguf/qwen2.gguf").to_str().unwrap().into()
}

/// The token ids that these flags of generate give.
fn tokens(model: &str, more: &[&str]) -> Value {
    let base = ["generate", "--model", model, "--plan", "plain", "--tokens", "8", "--json"];
    let said = says(&[&base[..], more].concat());
    serde_json::from_str::<Value>(&said).unwrap()["token_ids"].clone()
}

/// Measures acceptance of one plan on prompts; what was said, and the tasks and prompt lengths of
/// the traces.
fn measured(model: &str, plan: &str, more: &[&str]) -> (String, Vec<(String, u64)>) {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let base = ["measure", "acceptance", "--model", model, "--plans", plan, "--tokens", "12"];
    let rest = ["--quiet", "--prompt-count", "8", "--out", out.to_str().unwrap()];
    let output = s3d(&[&base[..], &rest, more].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let traces = std::fs::read_to_string(out.join("acceptance.jsonl")).unwrap();
    let traces = traces.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let seen = |trace: Value| {
        (trace["task"].as_str().unwrap_or("none").to_string(), trace["prompt"].as_u64().unwrap())
    };
    let seen: Vec<(String, u64)> = traces.map(seen).collect();
    assert!(!seen.is_empty(), "{said}");
    (said, seen)
}

/// The shipped model without its own prompts, as somebody else's checkpoint with a chat template.
fn foreign() -> tempfile::TempDir {
    let story = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/models/story");
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(story.join(file), folder.path().join(file)).unwrap();
    }
    let template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:";
    std::fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
    folder
}

#[test]
fn a_tokenizer_of_ones_own_leaves_the_checkpoints_template() {
    let file = fixtures().join("chat/tokenizer.json");
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("tokenizer.json");
    std::fs::copy(&file, &alone).unwrap();
    let chat = ["--prompt", "The miller", "--chat"];
    let own = tokens(&gguf(), &chat);
    let with = |file: &Path| {
        tokens(&gguf(), &[&chat[..], &["--tokenizer", file.to_str().unwrap()]].concat())
    };
    assert_eq!(with(&alone), own);
    assert_eq!(with(&file), own);
    assert_ne!(tokens(&gguf(), &chat[..2]), own);
}

#[test]
fn without_prompts_the_held_out_tasks_are_rendered_and_the_first_eight_cover_all_classes() {
    let folder = foreign();
    let (said, traces) = measured(folder.path().to_str().unwrap(), "seq:4..8:2", &["--widen", "1"]);
    assert!(said.contains("held-out half of") && said.contains("chat template"), "{said}");
    let tasks: std::collections::BTreeSet<_> = traces.iter().map(|(task, _)| task).collect();
    assert_eq!(tasks.len(), 8, "{tasks:?}");
}

#[test]
fn texts_messages_and_lines_are_the_same_prompt_with_chat() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_string()
    };
    let text = at("a.jsonl", "{\"text\":\"The miller\",\"id\":3}");
    let lines = at("b.txt", "The miller\n");
    let talk = at("c.jsonl", r#"{"messages":[{"role":"user","content":"The miller"}],"weight":1}"#);
    let turns =
        at("d.jsonl", r#"{"question_id":81,"category":"writing","turns":["The miller","More"]}"#);
    let measured =
        |more: &[&str]| measured(&gguf(), "seq:1..2:2", &[&["--context", "64"], more].concat());
    let length = |more: &[&str]| measured(more).1[0].1;
    let chat = length(&["--prompts", &text, "--chat"]);
    assert_eq!(length(&["--prompts", &lines, "--chat"]), chat);
    assert_eq!(length(&["--prompts", &turns, "--chat"]), chat);
    let (said, traces) = measured(&["--prompts", &talk]);
    assert_eq!(traces[0].1, chat);
    assert!(said.contains("c.jsonl: not used: weight"), "{said}");
    assert!(length(&["--prompts", &text]) < chat);
}

#[test]
fn what_cannot_be_rendered_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let (prompts, out) = (dir.path().join("p.jsonl"), dir.path().join("out"));
    std::fs::write(&prompts, r#"{"messages":[{"role":"user","content":"Hi"}]}"#).unwrap();
    let (prompts, out) = (prompts.to_str().unwrap(), out.to_str().unwrap());
    let base = ["measure", "acceptance", "--quiet", "--out", out, "--prompts", prompts];
    let said = fails(1, &base);
    assert!(
        said.contains("prompt 'p1'") && said.contains("give texts in place of messages"),
        "{said}"
    );
    let said = fails(2, &[&base[..], &["--chat"]].concat());
    assert!(said.contains("--chat: expected a model with a chat template"), "{said}");
    std::fs::write(prompts, "{\"text\":\"a\"}\n{\"text\":7}").unwrap();
    let said = fails(1, &base);
    assert!(said.contains("p.jsonl, line 2: 'text': expected text, found 7"), "{said}");
}
