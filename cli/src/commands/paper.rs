//! `s3d paper`: the published tables beside what the model says.

use crate::args::PaperArgs;
use crate::shared::conclude::conclude;
use crate::shared::{load_run, terminal};
use anyhow::Context;
use s3d_data::{Holds, Output, RunDir, published};
use s3d_reports::paper::{PaperInput, write_paper};
use s3d_simulator::Request;

/// Writes page, figures and tables of the comparison.
pub fn paper(args: &PaperArgs) -> anyhow::Result<()> {
    let output = Output::open(&args.out, Holds::Paper).context("--out")?.sparing(&args.figures);
    let mut input = PaperInput::default();
    for path in &args.runs {
        let run = load_run::load(&RunDir::new(path))?;
        let request = Request::of(&run.header);
        input.runs.push(conclude(run, request)?.report_input()?);
    }
    if let Some(figures) = &args.figures {
        input.figures = published::load_systems(figures)?;
    }
    let draft = output.draft()?;
    write_paper(&RunDir::new(draft.path()), &input)?;
    draft.add()?;
    terminal::result(&output.file("paper.html").display().to_string())
}
