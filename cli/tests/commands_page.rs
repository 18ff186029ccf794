//! `docs/COMMANDS.md` is what the program itself says of its commands. To write it anew after a
//! change: `S3D_WRITE_DOCS=1 cargo test --release --workspace --test commands_page`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;
use std::path::Path;

/// Names of the commands, as `s3d --help` lists them.
fn commands() -> Vec<String> {
    let help = common::says(&["--help"]);
    let list = help.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    let names = list.lines().filter_map(|line| line.strip_prefix("  "));
    let names = names.filter(|line| !line.starts_with(' '));
    names.filter_map(|line| line.split_whitespace().next()).map(String::from).collect()
}

fn page() -> String {
    let mut page = String::from(
        "# Which commands and flags are there?\n\nWhat `s3d COMMAND --help` prints; a test keeps \
         this page equal to it. \
         Results go to standard output,\neverything else to standard error; exit code 0: done \
         (also when the answer \
         is \"do not speculate\"), 2: wrong usage,\n1: everything else.\n",
    );
    for name in commands().into_iter().filter(|name| name != "help") {
        let help = common::says(&[&name, "--help"]);
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        page += &format!("\n## `s3d {name}`\n\n```text\n{}\n```\n", lines.join("\n"));
    }
    page
}

#[test]
fn the_page_of_commands_is_what_the_program_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/COMMANDS.md");
    let page = page();
    if std::env::var_os("S3D_WRITE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/COMMANDS.md is old: S3D_WRITE_DOCS=1 cargo test --test commands_page writes it"
    );
    assert!(page.matches("\n## `s3d ").count() >= 18, "commands are missing");
}
