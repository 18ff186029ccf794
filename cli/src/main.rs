//! The `s3d` command: parse, run, exit.

mod args;
mod beyond;
mod commands;
mod conclude;
mod engine;
mod heartbeat;
mod hub;
mod job;
mod judge;
mod load;
mod locate;
mod of_run;
mod progress;
mod prompts;
mod resolve;
mod run_of;
mod shipped;
mod show;
mod terminal;
mod usage;
mod version;
mod what_if;

use std::process::ExitCode;

fn main() -> ExitCode {
    match args::parse() {
        Ok(cli) => terminal::exit(commands::dispatch(cli.command)),
        Err(code) => code,
    }
}
