//! The only place that prints: results to standard output, everything else to standard error.

use crate::usage::Usage;
use anyhow::Context;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// Prints a result and a line end.
///
/// # Errors
/// When standard output does not take it (a full disk, say).
pub fn result(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()).context(WRITE)
}

/// Prints a result as indented JSON.
///
/// # Errors
/// When standard output does not take it.
pub fn json<T: serde::Serialize>(value: &T) -> anyhow::Result<()> {
    result(&serde_json::to_string_pretty(value)?)
}

/// Prints a piece of streamed text at once.
///
/// # Errors
/// When standard output does not take it.
pub fn stream(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context(WRITE)
}

const WRITE: &str = "cannot write to standard output; free some space or redirect it elsewhere";

/// Says something beside the result; nothing is lost where standard error is closed.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Whether progress can be drawn.
pub fn is_interactive() -> bool {
    io::stderr().is_terminal()
}

/// Whether somebody reads results as they come.
pub fn shows_results() -> bool {
    io::stdout().is_terminal()
}

/// Whether results may be coloured: a terminal, and `NO_COLOR` not set (no-color.org).
pub fn has_colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// What is said when Ctrl-C ends the program, which then has the exit code of an interrupted one: 130.
///
/// # Errors
/// When the system lets no program catch it.
pub fn on_interrupt(text: String) -> anyhow::Result<()> {
    #[expect(clippy::exit, reason = "an interrupted program ends in the middle of its work")]
    let end = move || {
        note(&text);
        std::process::exit(130);
    };
    match ctrlc::set_handler(end) {
        // Said already, for the same command.
        Err(ctrlc::Error::MultipleHandlers) => Ok(()),
        other => other.context("cannot catch Ctrl-C"),
    }
}

/// The exit code, after saying what went wrong: 0 done, 2 wrong usage, 1 everything else.
/// A reader that has gone away (a closed pipe) is no failure.
pub fn exit(outcome: anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    if is_closed_pipe(&error) {
        return ExitCode::SUCCESS;
    }
    note(&format!("error: {}", chain(&error)));
    match error.downcast_ref::<Usage>() {
        Some(_) => {
            note("Try 's3d --help' or 's3d COMMAND --help'.");
            ExitCode::from(2)
        }
        None => ExitCode::FAILURE,
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// An error and its causes on one line, without saying anything twice.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
