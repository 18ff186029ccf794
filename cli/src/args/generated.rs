//! What is generated from the command line's definition: shell completions and manual pages.

use super::command_line::Cli;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use std::io;

/// The completions of `shell`, as a script.
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "s3d", &mut script);
    script
}

/// The manual pages in roff: their file names and texts, `s3d.1` first, then one for every command.
///
/// # Errors
/// None in practice: pages are written to memory.
pub fn manual() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut whole = Cli::command().disable_help_subcommand(true);
    whole.build();
    let shown = whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let pages = std::iter::once(whole.clone()).chain(shown);
    pages.map(|command| page(&command)).collect()
}

fn page(command: &Command) -> io::Result<(String, Vec<u8>)> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_string();
    let mut text = Vec::new();
    let source = concat!("s3d ", env!("CARGO_PKG_VERSION"));
    clap_mangen::Man::new(command.clone()).source(source).render(&mut text)?;
    Ok((format!("{name}.1"), text))
}
