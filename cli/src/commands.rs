//! One short function per command.

mod doctor;
mod export;
mod generate;
mod inspect;
mod memory_child;
mod simulate;
mod train;

use crate::args::Command;

/// Runs a command.
///
/// # Errors
/// Whatever the command refuses; [`crate::usage::Usage`] for wrong flags.
pub fn dispatch(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Simulate(args) => simulate::simulate(&args),
        Command::Export(args) => export::export(&args),
        Command::Generate(args) => generate::generate(&args),
        Command::Train(args) => train::train(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::MemoryChild(args) => memory_child::memory_child(&args),
        _ => anyhow::bail!("not yet"),
    }
}
