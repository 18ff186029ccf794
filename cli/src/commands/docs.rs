//! `s3d completions` and `s3d man`: what shells and readers of manuals need.

use crate::args::{self, CompletionsArgs, ManArgs};
use crate::terminal;
use s3d_data::store;

/// Prints the completions of a shell.
pub fn completions(args: &CompletionsArgs) -> anyhow::Result<()> {
    terminal::stream(&String::from_utf8(args::completions(args.shell))?)
}

/// Prints the manual page, or writes one page for every command into a folder.
pub fn man(args: &ManArgs) -> anyhow::Result<()> {
    let pages = args::manual()?;
    let Some(out) = &args.out else {
        let first = pages.into_iter().next().map(|(_, text)| text).unwrap_or_default();
        return terminal::stream(&String::from_utf8(first)?);
    };
    for (name, text) in pages {
        let path = out.join(name);
        store::save_atomically(&path, &text)?;
        terminal::result(&path.display().to_string())?;
    }
    Ok(())
}
