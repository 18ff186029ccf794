//! `s3d report`: page, figures and tables of a run directory.

use crate::args::ReportArgs;
use crate::conclude::conclude;
use crate::{show, terminal};
use s3d_data::RunDir;
use s3d_simulator::Request;

/// Writes the report of each run directory.
pub fn report(args: &ReportArgs) -> anyhow::Result<()> {
    for path in &args.dirs {
        let dir = RunDir::new(path);
        let run = dir.load()?;
        let request = Request { seed: args.seed, ..Request::of(&run.header) };
        conclude(run, request)?.save(&dir)?;
        show::files(&dir);
        terminal::result(&dir.file("report.html").display().to_string())?;
    }
    Ok(())
}
