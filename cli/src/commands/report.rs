//! `s3d report`: page, figures and tables of a run directory; several are compared as well.

use crate::args::ReportArgs;
use crate::shared::conclude::conclude;
use crate::shared::usage::usage;
use crate::shared::{load_run, show, terminal};
use anyhow::Context;
use s3d_data::{Holds, Output, RunDir};
use s3d_reports::compare::{NamedRun, write_comparison};
use s3d_simulator::Request;
use std::path::Path;

/// Writes the report of each run directory, and the comparison where there are several.
pub fn report(args: &ReportArgs) -> anyhow::Result<()> {
    if args.out.is_some() && args.dirs.len() == 1 {
        return Err(usage("--out: the report of one run is written into its own folder"));
    }
    let folder = args.out.as_deref().unwrap_or(Path::new("s3d-comparison"));
    let compared = match args.dirs.len() {
        1 => None,
        _ => Some(Output::open(folder, Holds::Comparison).context("--out")?),
    };
    let mut runs = Vec::new();
    let mut written = Vec::new();
    for path in &args.dirs {
        let dir = RunDir::new(path);
        let run = load_run::one_machine(&dir, args.machine)?;
        let request = Request { seed: args.seed, ..Request::of(&run.header) };
        let output = Output::open(path, Holds::Run)?;
        let input = conclude(run, request)?.save(&output)?;
        runs.push(NamedRun { name: path.display().to_string(), input });
        written.push(dir.file("report.html"));
    }
    if let Some(output) = &compared {
        let draft = output.draft()?;
        write_comparison(&RunDir::new(draft.path()), &runs)?;
        draft.add()?;
        written.push(output.file("comparison.html"));
    }
    if args.output.json || args.output.markdown {
        return show::runs(&runs, &args.output);
    }
    written.iter().try_for_each(|page| terminal::result(&page.display().to_string()))
}
