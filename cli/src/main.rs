//! The `s3d` command: parse, run, exit.

mod args;
mod commands;
mod shared;

use shared::terminal;
use std::process::ExitCode;

fn main() -> ExitCode {
    match args::parse() {
        Ok(cli) => terminal::exit(commands::dispatch(cli.command)),
        Err(code) => code,
    }
}
