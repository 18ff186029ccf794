//! The program as it is when installed: no clone around it, its files unpacked into the user's data
//! folder.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A copy of the program in a folder of its own, beside an empty working folder and an empty home.
struct Installed(tempfile::TempDir);

impl Installed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["bin", "work", "home"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        // Copied by another process: a file that this one has open for writing while another test
        // starts a program cannot be run ("text file busy").
        let copy = Command::new("cp")
            .arg(env!("CARGO_BIN_EXE_s3d"))
            .arg(folder.path().join("bin/s3d"))
            .status();
        assert!(copy.unwrap().success());
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(self.path("bin/s3d"));
        command.current_dir(self.path("work")).args(arguments.split_whitespace());
        command.env_clear().env("HOME", self.path("home"));
        command
    }

    fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The folder that the model was unpacked into.
    fn model(&self) -> PathBuf {
        let versions = fs::read_dir(self.path("home/.local/share/s3d")).unwrap();
        let versions: Vec<_> = versions.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(versions.len(), 1, "{versions:?}");
        versions[0].join("models/story")
    }
}

fn clone() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Fails where the unpacked model differs from that of the clone, or where something was left
/// beside it.
fn equals_the_clones(model: &Path) {
    let names = |folder: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let original = clone().join("data/models/story");
    assert_eq!(names(model), names(&original));
    for name in names(&original) {
        let [ours, theirs] = [model, &original].map(|f| fs::read(f.join(&name)).unwrap());
        assert!(ours == theirs, "{name:?} differs");
    }
}

#[test]
fn an_installed_program_brings_its_model_and_repairs_it() {
    let installed = Installed::new();
    let logits = "inspect story --logits 5,17,300 --json";
    let first = succeeds(&installed.run(logits));
    equals_the_clones(&installed.model());
    // The clone's model, read by path, says the same.
    let path = clone().join("data/models/story");
    let output = installed.command("inspect --logits 5,17,300 --json").arg(path).output().unwrap();
    assert_eq!(succeeds(&output), first);

    let model = installed.model();
    let weights = model.join("model.safetensors");
    fs::write(&weights, &fs::read(&weights).unwrap()[..1000]).unwrap();
    let config = fs::read_to_string(model.join("config.json")).unwrap();
    fs::write(model.join("config.json"), config.replace("12", "13")).unwrap();
    fs::remove_file(model.join("tokenizer.json")).unwrap();
    assert_eq!(succeeds(&installed.run(logits)), first);
    equals_the_clones(&model);
}

#[test]
fn first_starts_at_the_same_time_do_not_disturb_each_other() {
    let installed = Installed::new();
    let starts: Vec<_> = (0..4)
        .map(|_| {
            let mut command = installed.command("inspect story --json");
            command.stdout(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let said: Vec<String> =
        starts.into_iter().map(|start| succeeds(&start.wait_with_output().unwrap())).collect();
    assert!(said.iter().all(|one| *one == said[0] && !one.is_empty()));
    equals_the_clones(&installed.model());
}

#[test]
fn a_place_that_cannot_be_written_and_a_wrong_data_folder_are_named() {
    let installed = Installed::new();
    let says = |command: &mut Command, code: i32, words: &[&str]| {
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    };
    let file = installed.path("file");
    fs::write(&file, "").unwrap();
    let inspect = || installed.command("inspect story");
    says(inspect().env("XDG_DATA_HOME", &file), 1, &["cannot unpack", "S3D_DATA"]);
    let shape = "expected a data folder, which holds models/NAME/";
    says(inspect().env("S3D_DATA", &file), 2, &[shape, "found a file"]);
    says(inspect().env("S3D_DATA", installed.path("none")), 2, &[shape, "no such folder"]);
    says(inspect().env("S3D_DATA", installed.path("work")), 2, &[shape, "none of these"]);
    // A right one is used, and nothing is unpacked.
    succeeds(&inspect().env("S3D_DATA", clone().join("data")).output().unwrap());
    assert!(!installed.path("home/.local").exists());
    // What it does not hold comes from inside the program.
    fs::create_dir_all(installed.path("own/models/other")).unwrap();
    succeeds(&inspect().env("S3D_DATA", installed.path("own")).output().unwrap());
    equals_the_clones(&installed.model());
}

#[test]
fn the_version_says_the_commit_it_was_built_from() {
    let installed = Installed::new();
    let version = succeeds(&installed.run("--version"));
    let commit = version.trim().strip_prefix(concat!("s3d ", env!("CARGO_PKG_VERSION"), " ("));
    let commit =
        commit.and_then(|rest| rest.strip_suffix(")")).unwrap_or_else(|| panic!("{version}"));
    // The record says the same.
    succeeds(&installed.run("derive --card a10g --model llama-2-7b --out derived"));
    let header = fs::read_to_string(installed.path("work/derived/run.json")).unwrap();
    let header: serde_json::Value = serde_json::from_str(&header).unwrap();
    let recorded = header["program_commit"].as_str().unwrap_or("unknown commit");
    assert_eq!(recorded, commit);
    // source: git itself, where this is a clone
    let git = Command::new("git").arg("-C").arg(clone()).args(["rev-parse", "HEAD"]).output();
    if let Some(output) =
        git.ok().filter(|output| output.status.success() && clone().join(".git").exists())
    {
        let head = String::from_utf8(output.stdout).unwrap();
        let built = commit.trim_end_matches(", dirty");
        assert!(built.len() >= 7 && head.starts_with(built), "{head} {commit}");
    }
}
