//! What was typed: the command line as clap reads it. What it means is resolved in `resolve.rs`.

mod analyse;
mod command_line;
mod contexts;
mod engine;
mod generated;
mod measure;
mod numbers;
mod shared;

pub use analyse::*;
pub use command_line::*;
pub use engine::*;
pub use generated::{completions, manual};
pub use measure::*;
pub use numbers::Batches;
pub use shared::*;

use clap::Parser;
use std::process::ExitCode;

/// Reads the command line; help, version and complaints are printed here, with their exit code.
pub fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| match error.print() {
        Ok(()) => ExitCode::from(error.exit_code() as u8),
        Err(_) => ExitCode::FAILURE,
    })
}

/// The model flags of a command line that measured; nothing of one that did not, or of another
/// program's version.
pub fn of_command(command: &[String]) -> Option<ModelArgs> {
    match Cli::try_parse_from(command).ok()?.command {
        Command::Run(args) => Some(args.model),
        Command::Measure(args) => Some(args.model),
        _ => None,
    }
}
