//! Runs the program and says what came of it.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "tests")]

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

/// Runs, expects this exit code, and returns standard error, which is one error.
pub fn fails(code: i32, arguments: &[&str]) -> String {
    let output = s3d(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(!said.contains("panicked") && output.stdout.is_empty(), "{arguments:?}: {said}");
    said
}
