//! Runs the program in a folder, with the data of the clone.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The clone.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The program with these arguments, to be run in `folder`.
pub fn command(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_s3d"));
    command.current_dir(folder).env("S3D_DATA", root().join("data"));
    command.args(arguments.split_whitespace());
    command
}

/// Runs it.
pub fn s3d(folder: &Path, arguments: &str) -> Output {
    command(folder, arguments).output().unwrap()
}

/// Runs, expects success, and returns what was printed and what was said.
pub fn done(folder: &Path, arguments: &str) -> (String, String) {
    let output = s3d(folder, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments}: {said}");
    (String::from_utf8(output.stdout).unwrap(), said)
}

/// Runs in limited memory, expects this exit code, and returns what was said.
pub fn fails(folder: &Path, code: i32, arguments: &str) -> String {
    let mut command = super::limited();
    command.current_dir(folder).env("S3D_DATA", root().join("data"));
    let output = command.args(arguments.split_whitespace()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments}: {said}");
    said
}
