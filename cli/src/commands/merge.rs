//! `s3d merge`: shards of one request into one run directory.

use crate::args::MergeArgs;
use crate::shared::{resolve, show, terminal};
use s3d_data::RunDir;
use s3d_measure::merge::{Merging, merge};

/// Checks that the shards belong together, writes the run, and says what is in it.
pub fn merge_shards(args: &MergeArgs) -> anyhow::Result<()> {
    let command = resolve::command_line();
    let how = Merging { partial: args.partial, force: args.force, command };
    let run = merge(&args.dirs, &RunDir::new(&args.out), &how)?;
    show::warnings(&run.header);
    terminal::result(&show::counts(&args.out, &run))
}
