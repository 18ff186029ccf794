//! Nobody's files are lost and no answer comes from another run's data: the real program on folders
//! that hold something, on runs that were killed, on disks that are full.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use common::in_folder::{command, done, fails, root, s3d};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A small measurement: 2 windows of traces on one short text.
const TRACES: &str = "measure acceptance --plans 3..9:2,4..8:2 --widen 1 --tokens 8 --gamma-max 2 \
    --threads 1 --quiet";
/// A measurement that goes on until it is killed.
const LONG: &str = "measure throughput --plans plain,3..9:2 --widen 1 --tokens 100 --prompt-count \
    200 --threads 1 --quiet";

/// Everything below a folder: names, and the bytes of files.
fn all(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(all(&entry.path())),
            false => drop(found.insert(entry.path(), fs::read(entry.path()).unwrap())),
        }
    }
    found
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A copy of the recorded run.
fn recorded(folder: &Path, name: &str) {
    let from = root().join("data/runs/story-x2-epyc");
    for file in ["run.json", "acceptance.jsonl", "latency.csv", "throughput.csv", "memory.csv"] {
        write(folder, &format!("{name}/{file}"), &fs::read_to_string(from.join(file)).unwrap());
    }
}

fn header(run: &Path) -> Value {
    serde_json::from_slice(&fs::read(run.join("run.json")).unwrap()).unwrap()
}

/// What `s3d inspect` counts.
fn counted(folder: &Path, run: &str, what: &str) -> u64 {
    let (printed, _) = done(folder, &format!("inspect {run} --json"));
    serde_json::from_str::<Value>(&printed).unwrap()["counts"][what].as_u64().unwrap()
}

/// Starts a measurement and waits until its header is there, other than `before`.
fn started(folder: &Path, run: &str, before: &[u8], arguments: &str) -> Child {
    let mut child = command(folder, arguments).stderr(Stdio::null()).spawn().unwrap();
    let file = folder.join(run).join("run.json");
    for _ in 0..1200 {
        std::thread::sleep(Duration::from_millis(50));
        assert!(child.try_wait().unwrap().is_none(), "{arguments}: ended by itself");
        if fs::read(&file).is_ok_and(|now| now != before) {
            return child;
        }
    }
    panic!("{arguments}: no header");
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn somebody_elses_folder_is_refused_by_every_command_and_stays_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for (part, name) in [("1/2", "a"), ("2/2", "b")] {
        done(dir, &format!("{TRACES} --prompt-count 2 --shard {part} --out {name}"));
    }
    recorded(dir, "run");
    recorded(dir, "other");
    write(
        dir,
        "traces.jsonl",
        r#"{"skip_start":3,"skip_end":9,"id":"a","prompt":4,"accepted":[2,1,0]}"#,
    );
    // Names that the program would take for its own.
    for name in [
        "recommendation.json",
        "journal.jsonl",
        "fit.json",
        "latency.csv",
        "paper.html",
        "comparison.html",
        "s3d.1",
        "set-1.json",
        "figures/hyper.svg",
        "tables/x.csv",
    ] {
        write(&dir.join("mine"), name, "mine");
    }
    let before = all(dir);
    for arguments in [
        &format!("{TRACES} --prompt-count 1 --out mine"),
        &format!("{TRACES} --prompt-count 1 --out mine --force"),
        "run --widen 1 --time-budget 1s --out mine --force --quiet",
        "import traces.jsonl --layers 12 --out mine",
        "derive --card a10g --model llama-2-7b --out mine",
        "export run --csv mine",
        "paper --out mine",
        "man --out mine",
        "merge a b --out mine --force",
        "report run other --out mine",
        "optimize run --write-sets mine",
    ] {
        let said = fails(dir, 1, arguments);
        assert!(said.contains("mine: ") && said.contains("Nothing was changed"), "{said}");
    }
    assert!(all(dir) == before, "a file was changed, added or lost");
}

#[test]
fn inputs_are_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    recorded(dir, "run");
    let before = all(dir);
    for arguments in [
        "import run/latency.csv run/acceptance.jsonl --layers 12 --out run",
        "import run/latency.csv run/acceptance.jsonl --layers 12 --out .",
        "export run --csv run",
        "paper --run run --out run",
        "derive --card a10g --model llama-2-7b --out run",
    ] {
        let said = fails(dir, 1, arguments);
        assert!(said.contains("give another"), "{said}");
    }
    assert!(all(dir) == before, "a file was changed, added or lost");
}

#[test]
fn force_costs_nothing_while_anything_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    done(dir, &format!("{TRACES} --prompt-count 1 --out run"));
    write(dir, "bad.jsonl", "no prompt\n");
    let before = all(dir);
    for (code, wrong) in [
        (1, "--prompts missing.jsonl"),
        (1, "--prompts bad.jsonl"),
        (2, "--plans 3..99:2"),
        (2, "--impose 0.5,7"),
        (1, "--tokens 1"),
        (2, "--dtype f99"),
        (1, "--tokenizer missing.json"),
    ] {
        let plain = "measure acceptance --out run --force --quiet --widen 1";
        fails(dir, code, &format!("{plain} {wrong}"));
        assert!(all(dir) == before, "{wrong}: the run was touched");
    }
    // Only the engine finds that the model has too few masks for this plan.
    let late = "measure throughput --plans 3..9:16 --gamma-max 16 --prompt-count 1 --tokens 4";
    let said = fails(dir, 1, &format!("{late} --out run --force --quiet --widen 1"));
    assert!(said.contains("masks at most 8"), "{said}");
    assert!(all(dir) == before, "the run was touched");
}

#[test]
fn force_takes_what_the_program_made_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    done(dir, &format!("{TRACES} --prompt-count 1 --out run"));
    done(dir, "fit run");
    let run = dir.join("run");
    let mine = ["thesis.txt", "figures/mine.svg", "tables/mine.csv"];
    mine.iter().for_each(|name| write(&run, name, "mine"));
    done(dir, &format!("{TRACES} --prompt-count 2 --out run --force"));
    for name in mine {
        assert_eq!(fs::read_to_string(run.join(name)).unwrap(), "mine", "{name}");
    }
    assert!(!run.join("fit.json").exists(), "what was concluded of the old run");
    assert_eq!(counted(dir, "run", "traces"), 4, "2 texts of 2 windows");
}

#[test]
fn a_running_measurement_keeps_others_out_and_killed_it_leaves_no_old_tables() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    done(dir, &format!("{TRACES} --prompt-count 1 --out run"));
    assert_eq!(counted(dir, "run", "traces"), 2);
    let old = fs::read(dir.join("run/run.json")).unwrap();
    let child = started(dir, "run", &old, &format!("{LONG} --out run --force"));
    for second in [format!("{LONG} --out run"), format!("{LONG} --out run --force")] {
        let said = fails(dir, 1, &second);
        assert!(said.contains("another s3d is writing"), "{said}");
    }
    kill(child);
    assert_eq!(counted(dir, "run", "traces"), 0, "the old run's traces are not the new run's");
    let said = s3d(dir, "fit run");
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("interrupted") && said.contains("go on with: "), "{said}");
    assert!(
        said.contains("measure throughput --plans plain,3..9:2"),
        "the command to go on with: {said}"
    );
}

#[test]
fn tables_of_another_run_are_refused_by_all_that_read_them() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    done(dir, &format!("{TRACES} --prompt-count 1 --out run"));
    done(dir, &format!("{TRACES} --prompt-count 2 --out other"));
    done(dir, "fit run");
    fs::copy(dir.join("other/acceptance.jsonl"), dir.join("run/acceptance.jsonl")).unwrap();
    for reader in ["fit run", "optimize run", "validate run", "report run", "inspect run"] {
        let said = fails(dir, 1, reader);
        assert!(said.contains("acceptance.jsonl: is not the table that run.json lists"), "{said}");
    }
    fails(dir, 1, "export run --csv tables");
    assert!(!dir.join("tables").exists());
}

#[test]
fn a_run_goes_on_only_with_the_same_request() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write(dir, "p.jsonl", "{\"id\":\"a\",\"text\":\"Once upon a time\"}\n");
    let measure = format!("{TRACES} --prompts p.jsonl --out run");
    done(dir, &measure);
    let before = all(&dir.join("run"));
    for (words, other) in [
        ("--tokens (of acceptance) 8, but 9 was", format!("{measure} --tokens 9")),
        ("--confidence (of acceptance) false, but true was", format!("{measure} --confidence")),
        ("--windows (of acceptance) 3..9,4..8, but 2..9 was", format!("{measure} --plans 2..9:2")),
        ("--seed 1, but 2 was", format!("{measure} --seed 2")),
    ] {
        let other = match other.rsplit_once(" --tokens 9") {
            Some(_) => other.replace("--tokens 8", ""),
            None => other,
        };
        let other = match other.contains("2..9:2") {
            true => other.replace("--plans 3..9:2,4..8:2", ""),
            false => other,
        };
        let said = fails(dir, 1, &other);
        assert!(said.contains(words) && said.contains("--force to start over"), "{said}");
    }
    // Another text under the same name.
    write(dir, "p.jsonl", "{\"id\":\"a\",\"text\":\"Never was there\"}\n");
    let said = fails(dir, 1, &measure);
    assert!(said.contains("--prompts (of acceptance) 1 of digest"), "{said}");
    let throughput = "measure throughput --plans plain,3..9:2 --widen 1 --tokens 8 --gamma-max 2 \
        --threads 1 --quiet";
    let said = fails(dir, 1, &format!("{throughput} --prompts p.jsonl --out run"));
    assert!(said.contains("made with --prompts 1 of digest"), "{said}");
    assert!(all(&dir.join("run")) == before, "the run was touched");
    // The journal alone does not say what was measured.
    fs::create_dir(dir.join("lone")).unwrap();
    fs::copy(dir.join("run/journal.jsonl"), dir.join("lone/journal.jsonl")).unwrap();
    let said = fails(dir, 1, &format!("{TRACES} --prompt-count 1 --out lone"));
    assert!(said.contains("without the run.json"), "{said}");
    fs::remove_file(dir.join("run/run.json")).unwrap();
    let said = fails(dir, 1, &format!("{TRACES} --prompt-count 1 --out run"));
    assert!(said.contains("no run.json beside it"), "{said}");
}

#[test]
fn an_interrupted_run_is_read_from_its_journal() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    done(dir, &format!("{TRACES} --prompt-count 1 --out run"));
    let run = dir.join("run");
    let (whole, _) = done(dir, "fit run --json");
    // As a kill before the end leaves it.
    let mut now = header(&run);
    now["ended"] = Value::Null;
    now.as_object_mut().unwrap().remove("tables");
    fs::write(run.join("run.json"), now.to_string()).unwrap();
    for table in
        ["latency.csv", "acceptance.jsonl", "throughput.csv", "memory.csv", "near_ties.csv"]
    {
        fs::remove_file(run.join(table)).unwrap();
    }
    assert_eq!(counted(dir, "run", "traces"), 2);
    let (fit, said) = done(dir, "fit run --json");
    assert_eq!(fit, whole);
    assert!(said.contains("interrupted") && said.contains("--prompt-count 1 --out run"), "{said}");
    let said = fails(dir, 1, "optimize run");
    assert!(said.contains("go on with: ") && !said.contains("no acceptance traces"), "{said}");
}

#[test]
fn a_journal_with_a_second_name_is_not_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    done(dir, &format!("{TRACES} --prompt-count 1 --out run"));
    let journal = dir.join("run/journal.jsonl");
    let bytes = fs::read(&journal).unwrap();
    fs::write(dir.join("kept.jsonl"), [&bytes[..], b"torn"].concat()).unwrap();
    let before = fs::read(dir.join("kept.jsonl")).unwrap();
    for link in [fs::hard_link::<PathBuf, PathBuf>, |from, to| std::os::unix::fs::symlink(from, to)]
    {
        fs::remove_file(&journal).unwrap();
        link(dir.join("kept.jsonl"), journal.clone()).unwrap();
        let said = fails(dir, 1, &format!("{TRACES} --prompt-count 1 --out run"));
        assert!(said.contains("journal.jsonl: expected a file of its own"), "{said}");
        assert!(fs::read(dir.join("kept.jsonl")).unwrap() == before);
    }
}

#[test]
fn on_a_full_disk_nothing_looks_finished() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    recorded(dir, "run");
    recorded(dir, "other");
    let before = all(dir);
    for arguments in [
        "import run/latency.csv run/acceptance.jsonl --layers 12 --out out",
        "derive --card a10g --model llama-2-7b --out out",
        "export run --csv out",
        "paper --out out",
        "man --out out",
        "report run",
    ] {
        // A file may have so many blocks; the signal that would end the program is off, as on a
        // full disk.
        let limited =
            format!("trap '' XFSZ; ulimit -f 2; exec {} {arguments}", env!("CARGO_BIN_EXE_s3d"));
        let mut shell = Command::new("sh");
        shell.current_dir(dir).env("S3D_DATA", root().join("data")).args(["-c", &limited]);
        let output = shell.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments}: {said}");
        assert!(said.contains("File too large"), "{arguments}: {said}");
        assert!(all(dir) == before && !dir.join("out").exists(), "{arguments}: left something");
    }
}
