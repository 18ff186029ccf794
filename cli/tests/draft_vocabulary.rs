//! Drafts over a part of the vocabulary, from the texts that are counted to the text that is
//! written.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/tiny.rs"]
mod tiny;

use common::{fails, says};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A tiny checkpoint without masks, and a file of texts.
fn checkpoint(dir: &Path) -> [String; 2] {
    let (base, corpus) = tiny::checkpoint(dir);
    [base, corpus].map(text)
}

fn text(path: PathBuf) -> String {
    path.to_str().unwrap().to_string()
}

/// What `generate` says of 24 tokens under `plan`.
fn generate(model: &[&str], plan: &str) -> Value {
    let words = ["generate", "--prompt", "The miller", "--plan", plan, "--tokens", "24", "--json"];
    serde_json::from_str(&says(&[&words[..], model].concat())).unwrap()
}

fn train([base, corpus, out]: [&str; 3], more: &[&str]) {
    let all = ["train", "--model", base, "--corpus", corpus, "--out", out, "--steps", "4"];
    let small = ["--context", "32", "--batch", "2", "--gamma-max", "4", "--validate-every", "0"];
    says(&[&all[..], &small, &["--rank", "4", "--quiet"], more].concat());
}

#[test]
fn training_lists_the_tokens_that_drafts_are_chosen_from_and_the_text_stays() {
    let dir = tempfile::tempdir().unwrap();
    let [base, corpus] = checkpoint(dir.path());
    let out = text(dir.path().join("out"));
    train([&base, &corpus, &out], &["--draft-vocabulary", "40"]);
    assert!(says(&["inspect", &out]).contains("draft head    40 of these tokens"));
    let shape = |words: &[&str]| {
        let said: Value = serde_json::from_str(&says(words)).unwrap();
        said["shape"]["draft_vocab"].clone()
    };
    assert_eq!(shape(&["inspect", &base, "--adapters", &out, "--json"]), 40);
    let plain = &generate(&["--model", &base], "plain")["token_ids"];
    let laid = ["--model", &*base, "--adapters", &*out];
    for model in [&["--model", &*out][..], &laid] {
        for over in [&[][..], &["--draft-vocabulary", "2"], &["--draft-vocabulary", "all"]] {
            for plan in ["1..2:4", "seq:0..2:3"] {
                let found = &generate(&[model, over].concat(), plan)["token_ids"];
                assert_eq!(found, plain, "{model:?} {over:?} {plan}");
            }
        }
    }
    for (over, word) in [("41", "lists 40 tokens"), ("1", "from 2 on, or all"), ("some", "or all")]
    {
        let words = ["generate", "--prompt", "The", "--model", &out, "--draft-vocabulary", over];
        let said = fails(2, &words);
        assert!(said.contains("--draft-vocabulary") && said.contains(word), "{said}");
    }
    let said = fails(2, &["generate", "--prompt", "The", "--draft-vocabulary", "9"]);
    assert!(said.contains("lists no tokens for drafts"), "{said}");
    // A later training from these adapters keeps the list.
    let next = text(dir.path().join("next"));
    train([&base, &corpus, &next], &["--adapters", &out]);
    assert_eq!(shape(&["inspect", &next, "--json"]), 40);
}

#[test]
fn a_list_is_added_to_adapters_that_are_there_or_stands_alone() {
    let dir = tempfile::tempdir().unwrap();
    let [base, corpus] = checkpoint(dir.path());
    let out = |name: &str| text(dir.path().join(name));
    let [adapters, listed, alone] = ["adapters", "listed", "alone"].map(out);
    train([&base, &corpus, &adapters], &[]);
    let counted = ["draft-vocabulary", "--model", &*base, "--corpus", &*corpus, "--size", "50"];
    let said = says(&[&counted[..], &["--adapters", &*adapters, "--out", &*listed]].concat());
    assert!(
        said.contains("50 of ") && said.contains("% of the tokens of held-out texts"),
        "{said}"
    );
    // Counted from 60 equal sentences: 50 tokens are all that they hold.
    let said = says(&[&counted[..], &["--out", &*alone, "--json"]].concat());
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["tokens"], &said["share_of_held_out_texts"]), (&50.into(), &1.0.into()));
    let plain = &generate(&["--model", &base], "plain")["token_ids"];
    let laid = ["--model", &*base, "--adapters", &*listed];
    assert_eq!(&generate(&laid, "1..2:4")["token_ids"], plain);
    // Over all tokens they are the adapters that they were.
    let mut all = generate(&[&laid[..], &["--draft-vocabulary", "all"]].concat(), "1..2:4");
    let mut before = generate(&["--model", &*base, "--adapters", &*adapters], "1..2:4");
    for found in [&mut all, &mut before] {
        found
            .as_object_mut()
            .unwrap()
            .retain(|key, _| !key.contains("second") && !key.contains("speed"));
    }
    assert_eq!(all["token_ids"], before["token_ids"]);
    assert_eq!(all["iterations"], before["iterations"]);
    let sequential = generate(&["--model", &*base, "--adapters", &*alone], "seq:1..2:3");
    assert_eq!(&sequential["token_ids"], plain);
}

#[test]
fn texts_of_the_models_own_are_counted_but_for_those_held_out() {
    let dir = tempfile::tempdir().unwrap();
    let [base, _] = checkpoint(dir.path());
    let file = dir.path().join("texts.jsonl");
    let header = "{\"tokens\":9,\"texts\":1,\"seed\":1,\"chat\":true,\"of\":\"\"}";
    let line = |held_out: bool, tokens: &str| {
        format!(
            "{{\"id\":\"a\",\"task\":\"b\",\"held_out\":{held_out},\"prompt\":1,\"tokens\":[{tokens}]}}"
        )
    };
    let lines = [header.into(), line(false, "9,30,31,31"), line(true, "9,31,32,31,31")];
    std::fs::write(&file, lines.join("\n")).unwrap();
    let (texts, out) = (text(file.clone()), text(dir.path().join("out")));
    let words = ["draft-vocabulary", "--model", &*base, "--texts", &*texts, "--out", &*out];
    let said = says(&[&words[..], &["--size", "5", "--json"]].concat());
    let said: Value = serde_json::from_str(&said).unwrap();
    // source: by hand: of 31, 32, 31, 31 all but 32 are listed
    assert_eq!(said["share_of_held_out_texts"], 0.75);
    std::fs::write(&file, [header.into(), line(false, "9,70000")].join("\n")).unwrap();
    let again = text(dir.path().join("again"));
    let refused = |code, more: &[&str], word: &str| {
        let begin = ["draft-vocabulary", "--out", &*again];
        let said = fails(code, &[&begin[..], more].concat());
        assert!(said.contains(word), "{said}");
        assert!(!Path::new(&again).exists(), "nothing is written");
    };
    refused(1, &["--model", &base, "--texts", &texts], "token 70000");
    std::fs::write(&file, "{}\n").unwrap();
    refused(1, &["--model", &base, "--texts", &texts], "line 1: expected texts.jsonl");
    std::fs::write(&file, header).unwrap();
    refused(1, &["--model", &base, "--texts", &texts], "no token to count");
    refused(2, &["--model", &base], "--texts");
    refused(1, &["--model", "story", "--texts", &texts], "brings masks itself");
    std::fs::write(&file, [header.into(), line(false, "9,30")].join("\n")).unwrap();
    for size in ["0", "1", "70000"] {
        let found = format!("found {size}");
        refused(2, &["--model", &base, "--texts", &texts, "--size", size], &found);
    }
    refused(1, &["--model", &base, "--texts", &texts, "--adapters", &base], "s3d.json");
}

#[test]
fn a_run_records_over_how_many_tokens_drafts_were_chosen() {
    let dir = tempfile::tempdir().unwrap();
    let [base, corpus] = checkpoint(dir.path());
    let [alone, run] = ["alone", "run"].map(|name| text(dir.path().join(name)));
    let counted = ["draft-vocabulary", "--model", &*base, "--corpus", &*corpus, "--size", "50"];
    says(&[&counted[..], &["--out", &*alone]].concat());
    let model = ["--model", &*base, "--adapters", &*alone, "--draft-vocabulary", "48"];
    let small = ["--context", "24", "--tokens", "8", "--gamma-max", "2", "--time-budget", "1s"];
    let words = ["measure", "memory", "--prompts", &*corpus, "--out", &*run, "--quiet"];
    says(&[&words[..], &model, &small].concat());
    let read = |name: &str| std::fs::read_to_string(Path::new(&run).join(name)).unwrap();
    let header: Value = serde_json::from_str(&read("run.json")).unwrap();
    assert_eq!(header["model"]["shape"]["draft_vocab"], 48);
    // The child that measures memory was told so too.
    assert!(read("memory.csv").contains("measured"), "{}", read("memory.csv"));
    let other = [&words[..], &["--model", &base, "--adapters", &alone], &small].concat();
    assert!(fails(1, &other).contains("run.json"));
}
