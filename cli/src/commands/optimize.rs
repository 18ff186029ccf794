//! `s3d optimize`: the choice, from a run directory or from numbers.

mod curves;
mod engine;
mod numbers;
mod run;

use crate::args::OptimizeArgs;
use crate::shared::usage::usage;
use crate::shared::{load_run, locate};
use numbers::from_numbers;
use run::{from_run, from_runs, request};
use s3d_data::RunDir;
use std::path::PathBuf;

/// Chooses and prints; nothing is written (`s3d report` records what a run concludes) but the free
/// sets that were asked for.
pub fn optimize(args: &OptimizeArgs) -> anyhow::Result<()> {
    match (&args.profile, args.dirs.as_slice()) {
        (Some(profile), dirs) => from_profile(profile, dirs, args),
        (None, []) => from_numbers(args),
        (None, [dir]) => from_run(load_run::one_machine(&RunDir::new(dir), args.machine)?, args),
        (None, _) if args.curve.curve.is_some() => {
            Err(usage("--curve gives acceptance to one imported run; found several runs"))
        }
        (None, dirs) => from_runs(dirs, args),
    }
}

/// Pass times of a profile, acceptance of a run directory or of a curve.
fn from_profile(name: &str, dirs: &[PathBuf], args: &OptimizeArgs) -> anyhow::Result<()> {
    let mut run = load_run::one_machine(&RunDir::new(locate::profile(name)?), args.machine)?;
    match dirs {
        [] => curves::from_curves(&run, name, &request(&run.header, args)?, args),
        [dir] => {
            curves::take_traces(&mut run, name, dir)?;
            from_run(run, args)
        }
        _ => Err(usage("--profile takes acceptance from one run directory, found several")),
    }
}
