//! `s3d paper`: the published tables beside what the model says.

use crate::args::PaperArgs;
use crate::conclude::conclude;
use crate::terminal;
use s3d_data::{RunDir, published};
use s3d_reports::paper::{PaperInput, write_paper};
use s3d_simulator::Request;

/// Writes page, figures and tables of the comparison.
pub fn paper(args: &PaperArgs) -> anyhow::Result<()> {
    let mut input = PaperInput::default();
    for path in &args.runs {
        let run = RunDir::new(path).load()?;
        let request = Request::of(&run.header);
        input.runs.push(conclude(run, request)?.report_input()?);
    }
    if let Some(figures) = &args.figures {
        input.figures = published::load_systems(figures)?;
    }
    let dir = RunDir::new(&args.out);
    write_paper(&dir, &input)?;
    terminal::result(&dir.file("paper.html").display().to_string())
}
