//! One short function per command.

mod export;
mod simulate;

use crate::args::Command;

/// Runs a command.
///
/// # Errors
/// Whatever the command refuses; [`crate::usage::Usage`] for wrong flags.
pub fn dispatch(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Simulate(args) => simulate::simulate(&args),
        Command::Export(args) => export::export(&args),
        _ => anyhow::bail!("not yet"),
    }
}
