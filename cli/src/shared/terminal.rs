//! The only place that prints: results to standard output, everything else to standard error.

use crate::shared::usage::Usage;
use anyhow::Context;
use s3d_data::{finite, quote};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// Prints a result and a line end.
///
/// # Errors
/// When standard output does not take it (a full disk, say).
pub fn result(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", printable(text.trim_end())).and_then(|()| out.flush()).context(WRITE)
}

/// Text of files may hold control characters, which would move the cursor: they are escaped,
/// colours apart.
fn printable(text: &str) -> String {
    let colour = |part: &str| -> Option<usize> {
        let code = part.strip_prefix('[')?;
        let end = code.find(|c: char| !(c.is_ascii_digit() || c == ';'))?;
        code[end..].starts_with('m').then_some(end + 2)
    };
    let mut parts = text.split('\u{1b}');
    let mut out = quote::escaped(parts.next().unwrap_or_default());
    for part in parts {
        let kept = colour(part).filter(|_| has_colour()).unwrap_or(0);
        out += if kept > 0 { "\u{1b}" } else { "\\u001b" };
        out += &part[..kept];
        out += &quote::escaped(&part[kept..]);
    }
    out
}

/// Prints a result as indented JSON.
///
/// # Errors
/// When standard output does not take it, or a number is not finite.
pub fn json<T: serde::Serialize>(value: &T) -> anyhow::Result<()> {
    finite::check(value)?;
    result(&serde_json::to_string_pretty(value)?)
}

/// Prints a piece of streamed text at once.
///
/// # Errors
/// When standard output does not take it.
pub fn stream(text: &str) -> anyhow::Result<()> {
    let shown = if io::stdout().is_terminal() { printable(text) } else { text.to_string() };
    let mut out = io::stdout().lock();
    out.write_all(shown.as_bytes()).and_then(|()| out.flush()).context(WRITE)
}

/// Characters of an error and its causes.
const LONGEST_ERROR: usize = 2000;

const WRITE: &str = "cannot write to standard output; free some space or redirect it elsewhere";

/// Says something beside the result; nothing is lost where standard error is closed.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{}", quote::escaped(text));
}

/// Whether progress can be drawn.
pub fn is_interactive() -> bool {
    io::stderr().is_terminal()
}

/// Whether somebody reads results as they come.
pub fn shows_results() -> bool {
    io::stdout().is_terminal()
}

/// Characters of a line where nothing says how many there are.
const WIDTH: usize = 80;

/// Lines that are longer are hard to read, whatever the terminal holds.
const WIDEST: usize = 140;

/// Characters of a line: those of the terminal that results go to, else 80.
pub fn width() -> usize {
    let size = terminal_size::terminal_size_of(io::stdout());
    size.map_or(WIDTH, |(width, _)| usize::from(width.0).clamp(40, WIDEST))
}

/// Whether results may be coloured: a terminal, and `NO_COLOR` not set (no-color.org).
pub fn has_colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// What is said when Ctrl-C ends the program, which then has the exit code of an interrupted one:
/// 130.
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
    let mut text = chain(&error);
    if let Some((end, _)) = text.char_indices().nth(LONGEST_ERROR) {
        text.replace_range(end.., "...");
    }
    note(&format!("error: {text}"));
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
