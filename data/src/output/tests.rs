//! Tests of the guard on output folders.

use super::made::MARKER;
use super::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::{TempDir, tempdir};

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// All files below a folder, with their bytes.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        match entry.file_type().unwrap().is_dir() {
            true => all
                .extend(files(&entry.path()).into_iter().map(|(n, b)| (format!("{name}/{n}"), b))),
            false => drop(all.insert(name, fs::read_to_string(entry.path()).unwrap())),
        }
    }
    all
}

/// A folder that holds a page and a figure.
fn paper() -> TempDir {
    let dir = tempdir().unwrap();
    let out = Output::open(dir.path(), Holds::Paper).unwrap();
    let draft = out.draft().unwrap();
    write(draft.path(), "paper.html", "old page");
    write(draft.path(), "figures/a.svg", "old figure");
    draft.add().unwrap();
    drop(out);
    dir
}

#[test]
fn somebody_elses_folder_is_refused_and_stays_as_it_was() {
    for names in [&["notes.txt"][..], &["recommendation.json"], &["paper.html", "figures/a.svg"]] {
        let dir = tempdir().unwrap();
        names.iter().for_each(|name| write(dir.path(), name, "mine"));
        let before = files(dir.path());
        for holds in [Holds::Run, Holds::Paper, Holds::Manual, Holds::Sets, Holds::Model] {
            let message = Output::open(dir.path(), holds).unwrap_err().to_string();
            assert!(message.contains("which s3d did not make"), "{message}");
        }
        assert_eq!(files(dir.path()), before);
    }
}

#[test]
fn a_folder_of_one_purpose_is_not_taken_for_another() {
    let dir = paper();
    let before = files(dir.path());
    let message = Output::open(dir.path(), Holds::Run).unwrap_err().to_string();
    assert!(message.contains("holds a comparison with published results, no place for a run"));
    assert_eq!(files(dir.path()), before);
}

#[test]
fn adding_keeps_and_replacing_removes_what_was_made_and_nothing_else() {
    for replacing in [false, true] {
        let dir = paper();
        write(dir.path(), "figures/mine.svg", "mine");
        write(dir.path(), "thesis.txt", "mine");
        let out = Output::open(dir.path(), Holds::Paper).unwrap();
        let draft = out.draft().unwrap();
        write(draft.path(), "paper.html", "new page");
        if replacing {
            draft.replace().unwrap()
        } else {
            draft.add().unwrap()
        }
        let found = files(dir.path());
        assert_eq!(found["paper.html"], "new page");
        assert_eq!(found.contains_key("figures/a.svg"), !replacing);
        assert_eq!((&*found["figures/mine.svg"], &*found["thesis.txt"]), ("mine", "mine"));
        assert_eq!(found.len(), if replacing { 4 } else { 5 }, "{found:?}");
    }
}

#[test]
fn a_file_in_the_way_is_refused_before_anything_changes() {
    let dir = paper();
    write(dir.path(), "figures/b.svg", "mine");
    let before = files(dir.path());
    let out = Output::open(dir.path(), Holds::Paper).unwrap();
    let draft = out.draft().unwrap();
    write(draft.path(), "paper.html", "new page");
    write(draft.path(), "figures/b.svg", "new figure");
    let message = draft.add().unwrap_err().to_string();
    assert!(message.contains("figures/b.svg: was not made by s3d"), "{message}");
    drop(out);
    assert_eq!(files(dir.path()), before);
}

#[test]
fn figures_of_a_program_before_the_list_are_written_over_but_not_removed() {
    let dir = tempdir().unwrap();
    let header = r#"{"schema_version":1,"program_version":"0","command":[],"model":{}}"#;
    write(dir.path(), "run.json", header);
    ["figures/a.svg", "figures/b.svg"].iter().for_each(|name| write(dir.path(), name, "old"));
    let out = Output::open(dir.path(), Holds::Run).unwrap();
    for name in ["figures/a.svg", "figures/b.svg"] {
        let draft = out.draft().unwrap();
        write(draft.path(), name, "new");
        draft.add().unwrap();
    }
    write(dir.path(), "figures/mine.svg", "mine");
    let draft = out.draft().unwrap();
    write(draft.path(), "run.json", header);
    draft.replace().unwrap();
    let found = files(dir.path());
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, [MARKER, "figures/mine.svg", "run.json"]);
}

#[test]
fn a_training_goes_on_in_its_folder_also_where_a_program_before_the_list_made_it() {
    let dir = tempdir().unwrap();
    write(dir.path(), "state/training.safetensors", "old state");
    write(dir.path(), "tokenizer_config.json", "old");
    for step in ["6", "9"] {
        let out = Output::open(dir.path(), Holds::Model).unwrap();
        out.check().unwrap();
        let draft = out.draft().unwrap();
        write(draft.path(), "state/training.safetensors", step);
        write(draft.path(), "tokenizer_config.json", "new");
        draft.add().unwrap();
    }
    let found = files(dir.path());
    let state = &*found["state/training.safetensors"];
    assert_eq!((state, &*found["tokenizer_config.json"]), ("9", "new"));
    // What is appended to before the first files are there is the training's too.
    let dir = tempdir().unwrap();
    Output::open(dir.path(), Holds::Model).unwrap().draft().unwrap().add().unwrap();
    write(dir.path(), "texts.jsonl", "{}");
    Output::open(dir.path(), Holds::Model).unwrap();
    Output::open(dir.path(), Holds::Run).unwrap_err();
}

#[test]
fn a_second_writer_is_kept_out() {
    let dir = paper();
    let out = Output::open(dir.path(), Holds::Paper).unwrap();
    let message = Output::open(dir.path(), Holds::Paper).unwrap_err().to_string();
    assert!(message.contains("another s3d is writing here"), "{message}");
    drop(out);
    Output::open(dir.path(), Holds::Paper).unwrap();
}

#[test]
fn folders_that_stay_empty_go_again() {
    let dir = tempdir().unwrap();
    drop(Output::open(&dir.path().join("a/b/c"), Holds::Run).unwrap());
    assert!(!dir.path().join("a").exists());
    fs::create_dir(dir.path().join("d")).unwrap();
    drop(Output::open(&dir.path().join("d"), Holds::Run).unwrap());
    assert!(dir.path().join("d").exists(), "it was there before");
    // The root of a disk of its own is empty too.
    fs::create_dir(dir.path().join("d/lost+found")).unwrap();
    drop(Output::open(&dir.path().join("d"), Holds::Run).unwrap());
}

#[cfg(unix)]
#[test]
fn inputs_and_links_are_not_written_through() {
    use std::os::unix::fs::symlink;
    let dir = paper();
    let elsewhere = tempdir().unwrap();
    write(elsewhere.path(), "input.html", "the input");
    let input = elsewhere.path().join("input.html");
    fs::remove_file(dir.path().join("paper.html")).unwrap();
    fs::hard_link(&input, dir.path().join("paper.html")).unwrap();
    let out = Output::open(dir.path(), Holds::Paper).unwrap().sparing([&input]);
    assert!(out.check().unwrap_err().to_string().contains("is one of the inputs"));
    let draft = out.draft().unwrap();
    write(draft.path(), "paper.html", "new page");
    assert!(draft.add().unwrap_err().to_string().contains("is one of the inputs"));
    drop(out);

    // A link is replaced itself; what it leads to stays.
    fs::remove_file(dir.path().join("paper.html")).unwrap();
    symlink(&input, dir.path().join("paper.html")).unwrap();
    fs::remove_dir_all(dir.path().join("figures")).unwrap();
    symlink(elsewhere.path(), dir.path().join("figures")).unwrap();
    let out = Output::open(dir.path(), Holds::Paper).unwrap();
    let draft = out.draft().unwrap();
    write(draft.path(), "figures/a.svg", "new figure");
    for message in [draft.add().unwrap_err().to_string(), out.check().unwrap_err().to_string()] {
        assert!(message.contains("figures: expected a folder"), "{message}");
    }
    let draft = out.draft().unwrap();
    write(draft.path(), "paper.html", "new page");
    draft.add().unwrap();
    assert_eq!(fs::read_to_string(&input).unwrap(), "the input");
    assert_eq!(fs::read_to_string(dir.path().join("paper.html")).unwrap(), "new page");
    assert_eq!(files(elsewhere.path()).len(), 1);
}

#[test]
fn what_a_killed_process_had_ready_is_completed_and_what_was_half_made_is_removed() {
    // Killed after any number of moves: the result is the same.
    for moved in 0..3 {
        let dir = paper();
        write(dir.path(), "thesis.txt", "mine");
        let ready = dir.path().join(".s3d-ready");
        write(&ready, "paper.html", "new page");
        write(&ready, "tables/t.csv", "new table");
        write(
            &ready,
            MARKER,
            concat!(
                r#"{"holds":"paper","files":["paper.html","tables/t.csv"],"#,
                r#""removed":["figures/a.svg"]}"#
            ),
        );
        write(dir.path(), ".s3d-tmp-abc/x", "half");
        for name in ["paper.html", "tables/t.csv"].into_iter().take(moved) {
            fs::create_dir_all(dir.path().join("tables")).unwrap();
            fs::rename(ready.join(name), dir.path().join(name)).unwrap();
        }
        drop(Output::open(dir.path(), Holds::Paper).unwrap());
        let found = files(dir.path());
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(names, [MARKER, "paper.html", "tables/t.csv", "thesis.txt"], "{moved} moved");
        assert_eq!((&*found["paper.html"], &*found["tables/t.csv"]), ("new page", "new table"));
    }
}

#[test]
fn somebody_elses_file_where_new_ones_are_put_stays() {
    for list in [None, Some(r#"{"holds":"paper","files":["paper.html"]}"#)] {
        let dir = paper();
        write(dir.path(), ".s3d-ready/tables/thesis.txt", "mine");
        if let Some(list) = list {
            write(dir.path(), ".s3d-ready/.s3d-files.json", list);
        }
        for _ in 0..2 {
            let message = Output::open(dir.path(), Holds::Paper).unwrap_err().to_string();
            assert!(message.contains("thesis.txt: was not made by s3d"), "{message}");
        }
        assert_eq!(files(dir.path())[".s3d-ready/tables/thesis.txt"], "mine");
    }
}

#[test]
fn a_list_that_leads_out_of_the_folder_is_refused() {
    for name in ["../x", "/etc/x", "", ".s3d-ready/x", "a/../../x"] {
        let dir = tempdir().unwrap();
        write(dir.path(), MARKER, &format!(r#"{{"holds":"paper","files":["{name}"]}}"#));
        let message = Output::open(dir.path(), Holds::Paper).unwrap_err().to_string();
        assert!(message.contains("expected paths of files inside this folder"), "{message}");
    }
}
