//! `s3d generate`: plans, comparison, the model of a run; and what a run says at its end, again,
//! and on Ctrl-C.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{fails, s3d, says};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures")
}

fn gguf(name: &str) -> String {
    fixtures().join("gguf").join(name).to_str().unwrap().into()
}

/// Standard error of a command that succeeds.
fn notes(arguments: &[&str]) -> String {
    let output = s3d(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&says(arguments)).unwrap()
}

#[test]
fn without_a_plan_decoding_is_plain_and_not_compared_with_itself() {
    let (model, dir) = (gguf("qwen2.gguf"), tempfile::tempdir().unwrap());
    let base = ["generate", "--model", &model, "--tokens", "8"];
    let words = [&base[..], &["--prompt", "The miller"]].concat();
    let said = notes(&[&words[..], &["--compare"]].concat());
    assert!(said.contains("no plan: decoding plainly") && said.contains("--plan seq:"), "{said}");
    assert!(said.contains("plan plain: ") && !said.contains("times plain decoding"), "{said}");
    let found = json(&[&words[..], &["--json", "--compare"]].concat());
    assert_eq!((&found["plan"], &found["speedup"]), (&"plain".into(), &Value::Null));
    // The text that is streamed is the prompt and what JSON holds.
    let streamed = says(&words);
    assert_eq!(streamed, format!("The miller{}\n", found["text"].as_str().unwrap()));
    let file = dir.path().join("prompt.txt");
    std::fs::write(&file, "The miller\n").unwrap();
    let of_file = [&base[..], &["--json", "--prompt-file", file.to_str().unwrap()]].concat();
    assert_eq!(json(&of_file)["token_ids"], found["token_ids"]);
}

#[test]
fn a_comparison_is_made_where_it_is_asked_for() {
    let model = gguf("qwen2.gguf");
    let words = ["generate", "--model", &model, "--tokens", "8", "--prompt", "A", "--json"];
    let words = [&words[..], &["--plan", "seq:1..2:2"]].concat();
    let compared = json(&[&words[..], &["--compare"]].concat());
    assert_eq!(compared["same_text"], true);
    assert!(compared["speedup"].is_number());
    // Not on a terminal here.
    let alone = json(&words);
    assert_eq!((&alone["same_text"], &alone["speedup"]), (&Value::Null, &Value::Null));
    assert_eq!(alone["token_ids"], compared["token_ids"]);
}

/// A run in a folder whose name a shell would take apart.
#[test]
fn what_a_run_says_to_try_runs_as_printed_and_its_folder_stands_for_its_flags() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("it's a folder");
    std::fs::create_dir(&folder).unwrap();
    let at = |name: &str| folder.join(name).to_str().unwrap().to_string();
    let [model, tokenizer, prompts, out] = ["m.gguf", "t.json", "p.txt", "out"].map(at);
    std::fs::copy(gguf("qwen2.gguf"), &model).unwrap();
    std::fs::copy(fixtures().join("chat/tokenizer.json"), &tokenizer).unwrap();
    std::fs::write(&prompts, "The miller counts\nDer Müller\ntwo  spaces\nit's 3.14\n").unwrap();
    let run = ["run", "--model", &model, "--tokenizer", &tokenizer, "--prompts", &prompts];
    let rest = ["--chat", "--dtype", "f16", "--out", &out, "--context", "64", "--quiet"];
    let run = [&run[..], &rest, &["--time-budget", "1s"]].concat();
    let said = says(&run);

    let line = said.lines().find_map(|line| line.strip_prefix("Try it: ")).unwrap();
    for flag in ["--model", "--tokenizer", "--chat", "--dtype f16"] {
        assert!(line.contains(flag), "{line}");
    }
    let program = Path::new(env!("CARGO_BIN_EXE_s3d"));
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(program.parent().unwrap().to_path_buf())
        .chain(std::env::split_paths(&folders));
    let output = Command::new("sh")
        .args(["-c", &format!("{line} --tokens 4 --json")])
        .env("PATH", std::env::join_paths(folders).unwrap())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{line}: {error}");
    let tried: Value = serde_json::from_slice(&output.stdout).unwrap();

    let words = ["generate", "--run", &out, "--prompt", "Once upon a time", "--chat"];
    let words = [&words[..], &["--tokens", "4", "--json"]].concat();
    let found = json(&words);
    assert_eq!((&found["plan"], &found["token_ids"]), (&tried["plan"], &tried["token_ids"]));

    let other = gguf("llama.gguf");
    for (more, word) in [
        (["--model", &other], "the run measured"),
        (["--dtype", "q8_0"], "--dtype q8_0: the run in"),
        (["--widen", "2"], "--widen 2: the run in"),
    ] {
        let said = fails(2, &[&words[..], &more].concat());
        assert!(said.contains(word), "{said}");
    }
    let said = notes(&run);
    assert!(said.contains("finished, nothing measured"), "{said}");
}

#[test]
fn a_gguf_file_runs_in_its_own_number_type_or_the_nearest() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    // source: gguf (PyPI) 0.19.0: most weights of the layers of llama.gguf are F16, of qwen2.gguf
    // Q8_0
    for (file, dtype) in [("llama.gguf", "f16"), ("qwen2.gguf", "q8_0")] {
        let (model, out) = (gguf(file), out.join(dtype));
        let words = ["measure", "latency", "--model", &model, "--out", out.to_str().unwrap()];
        let rest = ["--quiet", "--context", "32", "--time-budget", "1s", "--prompt-count", "1"];
        let prompts = dir.path().join("p.txt");
        std::fs::write(&prompts, "A\n").unwrap();
        let prompts = ["--prompts", prompts.to_str().unwrap()];
        let said = notes(&[&words[..], &rest, &prompts].concat());
        assert!(said.contains(&format!("precision: as {dtype}")), "{said}");
        let header: Value =
            serde_json::from_slice(&std::fs::read(out.join("run.json")).unwrap()).unwrap();
        assert_eq!(header["dtype"], dtype);
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_says_how_to_go_on_and_a_run_that_goes_on_ends() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("my run");
    let folder = out.to_str().unwrap();
    let words = ["run", "--quiet", "--time-budget", "30s", "--out", folder];
    let mut command = Command::new(env!("CARGO_BIN_EXE_s3d"));
    let mut child =
        command.args(words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let journal = out.join("journal.jsonl");
    while std::fs::metadata(&journal).map_or(0, |found| found.len()) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "ended before it measured anything");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{said}");
    let again = format!("run --quiet --time-budget 30s --out '{folder}'");
    assert!(said.contains("interrupted; what was measured is kept"), "{said}");
    assert!(said.contains("Go on with: ") && said.contains(&again), "{said}");
}

#[test]
fn sizes_of_memory_want_a_unit_and_simulate_is_known_as_what_if() {
    for size in ["8", "8.", "1e9"] {
        let said = fails(2, &["optimize", "nowhere", "--memory-budget", size]);
        assert!(said.contains("expected a size with a unit, such as"), "{said}");
    }
    let flags = ["--layers", "32", "--skip", "16", "--alphas", "0.8", "--predictors", "4"];
    let simulated = says(&[&["simulate"], &flags[..]].concat());
    assert_eq!(says(&[&["what-if"], &flags[..]].concat()), simulated);
}
