//! `s3d train` on a checkpoint of one's own, from the texts to the drafts.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/tiny.rs"]
mod tiny;

use common::{fails, s3d, says};
use s3d_train::learn_tokenizer;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;
use tiny::{checkpoint, corpus};

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
    let third = dir.path().join("third");
    let words = ["train", "--model", out, "--corpus", corpus, "--out", third.to_str().unwrap()];
    let again = fails(1, &words);
    assert!(again.contains("3 mask predictors already"), "{again}");
}

/// Checkpoints made with transformers whose attention has biases or norms of heads: with adapters
/// the text is what it was, to the last token; with all weights trained it is what plain decoding
/// of the new ones gives.
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
        (2, &["--device", "tpu"], "expected cpu, cuda"),
        (2, &["--device", "gpu"], "training runs on cpu or cuda, found gpu:0"),
        (2, &["--device", "cuda", "--cpu-seconds", "9"], "--cpu-seconds: expected --device cpu"),
        (2, &["--preset", "story-large", "--device", "cuda+graphs"], "training records no passes"),
        (1, &["--preset", "story-large", "--device", "cuda:9"], "--device cuda:9"),
        (2, &["--cpu-seconds", "0"], "--cpu-seconds"),
        (1, &["--model", base, "--corpus", "/nonexistent/a.txt"], "cannot read"),
        (1, &["--model", base, "--corpus", "/dev/zero"], "expected a regular file"),
        (1, &["--model", base, "--corpus", &bytes], "UTF-8"),
        (1, &["--model", base, "--corpus", &keys], "line 1"),
        (
            1,
            &["--model", base, "--corpus", corpus, "--context", "1000000"],
            "tokens, found 1000000",
        ),
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

#[test]
fn windows_that_cannot_be_trained_for_are_said_before_training() {
    let dir = tempfile::tempdir().unwrap();
    let (base, corpus) = checkpoint(dir.path());
    let out = dir.path().join("out");
    let [base, corpus, out] = [&base, &corpus, &out].map(|path| path.to_str().unwrap());
    for (code, windows, word) in [
        (2, "2..1", "A at most B"),
        (2, "layers:1-2", "layers:A..B,C..D"),
        (1, "layers:1..2,2..4", "found 2..4"),
        (1, "layers:0..2", "leaves out 1 layers at most"),
    ] {
        let words = ["train", "--model", base, "--corpus", corpus, "--out", out, "--context", "32"];
        let said = fails(code, &[&words[..], &["--train-windows", windows]].concat());
        assert!(said.contains(word), "{windows}: {said}");
    }
}

/// Every name below a folder, with what each file holds.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found = Vec::new();
    for path in entries {
        match path.is_dir() {
            true => found.extend(contents(&path)),
            false => found.push((path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

/// What is not a training's is refused and stays: another model's files, and links to those of the
/// source.
#[test]
fn a_folder_of_something_else_is_refused_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (base, corpus) = checkpoint(dir.path());
    let source = contents(&base);
    for (name, link) in [("other", false), ("links", true)] {
        let out = dir.path().join(name);
        std::fs::create_dir(&out).unwrap();
        for file in ["model.safetensors", "config.json", "tokenizer.json"] {
            match link {
                true => std::os::unix::fs::symlink(base.join(file), out.join(file)).unwrap(),
                false => std::fs::write(out.join(file), file).unwrap(),
            }
        }
        let before = contents(&out);
        let words = [&base, &corpus, &out].map(|path| path.to_str().unwrap());
        let output = train(words, "2", &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains("s3d did not make"), "{said}");
        assert_eq!(contents(&out), before);
    }
    assert_eq!(contents(&base), source);
}

/// Files of a training that were made links afterwards are replaced, not written through; those
/// that are the files to be read, by whatever link, are refused before the first step.
#[test]
fn nothing_is_written_through_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let (base, corpus) = checkpoint(dir.path());
    let out = dir.path().join("out");
    let words = [&base, &corpus, &out].map(|path| path.to_str().unwrap());
    assert!(train(words, "2", &[]).status.success());
    let elsewhere = dir.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    for file in ["model.safetensors", "config.json"] {
        std::fs::copy(base.join(file), elsewhere.join(file)).unwrap();
    }
    let link = |from: &Path, hard: bool| {
        for file in ["model.safetensors", "config.json"] {
            std::fs::remove_file(out.join(file)).unwrap();
            match hard {
                true => std::fs::hard_link(from.join(file), out.join(file)).unwrap(),
                false => std::os::unix::fs::symlink(from.join(file), out.join(file)).unwrap(),
            }
        }
    };
    let before = (contents(&base), contents(&elsewhere));
    link(&elsewhere, false);
    assert!(train(words, "2", &[]).status.success());
    for hard in [false, true] {
        link(&base, hard);
        let output = train(words, "2", &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains("one of the inputs"), "{said}");
        assert!(!said.contains("step"), "{said}");
    }
    // A folder below it that leads elsewhere is not written into either.
    link(&elsewhere, false);
    std::fs::remove_dir_all(out.join("state")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, out.join("state")).unwrap();
    let output = train(words, "2", &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("state: expected a folder to write into"), "{said}");
    assert_eq!(contents(&elsewhere), before.1);
    assert_eq!(contents(&base), before.0);
}

#[test]
fn two_trainings_in_one_folder_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (base, corpus) = checkpoint(dir.path());
    let out = dir.path().join("out");
    let words = [&base, &corpus, &out].map(|path| path.to_str().unwrap());
    assert!(train(words, "2", &[]).status.success());
    let before = contents(&out);
    let lock = std::fs::File::open(&out).unwrap();
    lock.lock().unwrap();
    let output = train(words, "2", &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(1) && said.contains("another s3d is writing here"),
        "{said}"
    );
    assert_eq!(contents(&out), before);
    lock.unlock().unwrap();
    assert!(train(words, "2", &[]).status.success());
}

/// A million steps and some are as many, not a word for something else.
#[test]
fn no_number_of_steps_has_another_meaning() {
    let dir = tempfile::tempdir().unwrap();
    let (base, corpus) = checkpoint(dir.path());
    let out = dir.path().join("out");
    let words = [&base, &corpus, &out].map(|path| path.to_str().unwrap());
    let [base, corpus, folder] = words;
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_s3d"))
        .args(["train", "--model", base, "--corpus", corpus, "--out", folder, "--quiet"])
        .args(["--steps", "1048576", "--checkpoint-every", "12", "--validate-every", "0"])
        .args(["--context", "32", "--batch", "2", "--gamma-max", "4"])
        .spawn()
        .unwrap();
    while !out.join("state/training.safetensors").is_file() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let output = train(words, "5", &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("steps 1048576, but 5"), "{said}");
}

#[test]
fn a_learning_rate_beyond_reason_ends_with_an_error_and_without_a_model() {
    let dir = tempfile::tempdir().unwrap();
    let (base, corpus) = checkpoint(dir.path());
    let out = dir.path().join("out");
    let words = [&base, &corpus, &out].map(|path| path.to_str().unwrap());
    for steps in ["1", "6"] {
        let output = train(words, steps, &["--learning-rate", "1e30"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains("--learning-rate"), "{said}");
        assert!(output.stdout.is_empty() && !out.join("s3d.safetensors").exists());
        let _ = std::fs::remove_dir_all(out.join("state"));
    }
}

/// A disk that is full: an error, and no half-written file.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_no_partial_file() {
    let dir = tempfile::tempdir().unwrap();
    let (base, corpus) = checkpoint(dir.path());
    let out = dir.path().join("out");
    let [base, corpus, folder] = [&base, &corpus, &out].map(|path| path.to_str().unwrap());
    // Files of more than 64 KiB are refused; the state is larger.
    let shell = "trap '' XFSZ; ulimit -f 64; exec \"$@\"";
    let output = std::process::Command::new("bash")
        .args(["-c", shell, "bash", env!("CARGO_BIN_EXE_s3d"), "train", "--model", base])
        .args(["--corpus", corpus, "--out", folder, "--steps", "2", "--context", "32"])
        .args(["--batch", "2", "--gamma-max", "4", "--rank", "16", "--quiet"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("training.safetensors"), "{said}");
    assert!(
        !out.exists(),
        "a folder that was made for it is taken away again: {:?}",
        contents(&out)
    );
}

/// From prompts to adapters alone, which are then laid over the model.
#[test]
fn a_model_trains_on_its_own_texts_and_its_adapters_are_laid_over_it() {
    let dir = tempfile::tempdir().unwrap();
    let (base, _) = checkpoint(dir.path());
    let prompts = dir.path().join("prompts.jsonl");
    let line = |i: usize| {
        let split = if i.is_multiple_of(3_usize) { "held-out" } else { "train" };
        format!(
            "{{\"id\": \"a{i}\", \"task\": \"t{}\", \"split\": \"{split}\", \"text\": \"The \
             miller has {i}\"}}\n",
            i % 2
        )
    };
    std::fs::write(&prompts, (0..12).map(line).collect::<String>()).unwrap();
    let template = "{% for message in messages %}Once {{ message.content }}</s>{% endfor %}";
    std::fs::write(base.join("chat_template.jinja"), template).unwrap();
    let out = dir.path().join("out");
    let [base, prompts, out] = [&base, &prompts, &out].map(|path| path.to_str().unwrap());
    let words = ["train", "--model", base, "--corpus", "self", "--prompts", prompts, "--out", out];
    let small = ["--own-tokens", "40", "--context", "64", "--gamma-max", "4", "--rank", "4"];
    let recipe = [
        "--own-questions",
        "2",
        "--train-windows",
        "layers:1..2,2..3",
        "--soft",
        "0.5",
        "--fall",
        "0.8",
        "--vocabulary",
        "64",
    ];
    let all = [&words[..], &small, &recipe, &["--steps", "4", "--groups", "8"]].concat();
    let summary: Value = serde_json::from_str(&says(&all)).unwrap();
    let windows = summary["acceptance"].as_array().unwrap();
    assert_eq!(windows.iter().map(|row| &row["skip"]).collect::<Vec<_>>(), ["1..2", "2..3"]);
    assert!(windows[0]["by_task"]["t1"].as_f64().unwrap() >= 1.0);
    let kept = |name: &str| {
        let text = std::fs::read_to_string(Path::new(out).join(name)).unwrap();
        text.lines().count() - 1
    };
    assert_eq!([kept("questions.jsonl"), kept("texts.jsonl")], [2, 14]);
    // The same again has its texts and its steps.
    let again: Value = serde_json::from_str(&says(&all)).unwrap();
    assert_eq!(again["acceptance"], summary["acceptance"]);
    let words = ["--prompt", "The miller", "--tokens", "24", "--json"];
    let decode = |more: &[&str]| {
        let said = says(&[&["generate", "--model", base][..], &words, more].concat());
        serde_json::from_str::<Value>(&said).unwrap()["token_ids"].clone()
    };
    assert_eq!(decode(&["--plan", "1..2:4", "--adapters", out]), decode(&["--plan", "plain"]));
    assert!(says(&["inspect", base, "--adapters", out]).contains("rank 4, on draft rows only"));
    let other = fails(1, &["inspect", "story", "--adapters", out]);
    assert!(other.contains("this one has 7"), "{other}");
    let both = ["train", "--model", base, "--corpus", "self", "--out", out];
    assert!(fails(2, &both).contains("--prompts FILE"));
}
