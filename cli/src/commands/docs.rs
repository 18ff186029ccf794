//! `s3d completions` and `s3d man`: what shells and readers of manuals need.

use crate::args::{self, CompletionsArgs, ManArgs};
use crate::shared::terminal;
use anyhow::Context;
use s3d_data::{Holds, Output, store};

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
    let output = Output::open(out, Holds::Manual).context("--out")?;
    let draft = output.draft()?;
    for (name, text) in &pages {
        store::save_atomically(&draft.path().join(name), text)?;
    }
    draft.add()?;
    let mut paths = pages.iter().map(|(name, _)| output.file(name));
    paths.try_for_each(|path| terminal::result(&path.display().to_string()))
}
