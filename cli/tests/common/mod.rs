//! Runs the program and says what came of it.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "tests")]

pub mod in_folder;

use std::process::{Command, Output};

/// Runs, with no model of the Hub at hand.
pub fn s3d(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_s3d"));
    command.env("HF_HUB_CACHE", "/nonexistent").args(arguments).output().unwrap()
}

/// Runs, expects success, and returns standard output.
pub fn says(arguments: &[&str]) -> String {
    let output = s3d(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// The program with 250 MB for its data: a refusal needs no more than that, with a small model read
/// before it.
pub fn limited() -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -d 250000; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_s3d")]);
    command
}

/// Runs in [`limited`] memory, expects this exit code, and returns standard error, which is one
/// error.
pub fn fails(code: i32, arguments: &[&str]) -> String {
    let output = limited().env("HF_HUB_CACHE", "/nonexistent").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(!said.contains("panicked") && output.stdout.is_empty(), "{arguments:?}: {said}");
    said
}

/// Words of a command line; double quotes hold words together.
pub fn words(line: &str) -> Vec<String> {
    let quoted = line.split('"').enumerate();
    quoted
        .flat_map(|(place, part)| match place % 2 {
            1 => vec![part.to_string()],
            _ => part.split_whitespace().map(str::to_string).collect(),
        })
        .collect()
}

/// Writes the files of a page (blocks under a line with their name) into `folder` and runs its
/// commands (blocks of `sh`) there, each of which must succeed and print something. Returns how
/// many there were.
pub fn walk(page: &str, folder: &std::path::Path) -> (usize, usize) {
    let (mut files, mut commands) = (0, 0);
    let mut blocks = page.split("```");
    while let (Some(text), Some(block)) = (blocks.next(), blocks.next()) {
        let (kind, body) = block.split_once('\n').unwrap();
        if kind != "sh" {
            let name = text.trim_end().rsplit('\n').next().unwrap();
            std::fs::write(folder.join(name.trim_matches('`')), body).unwrap();
            files += 1;
            continue;
        }
        for line in body.lines() {
            let words = words(line.strip_prefix("s3d ").unwrap());
            let mut command = Command::new(env!("CARGO_BIN_EXE_s3d"));
            let output = command.current_dir(folder).args(words).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{line}: {said}");
            assert!(!output.stdout.is_empty(), "{line}");
            commands += 1;
        }
    }
    (files, commands)
}
