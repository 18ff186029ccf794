//! Results on the terminal: as text, JSON or Markdown.

use crate::args::OutputArgs;
use crate::terminal;
use s3d_data::{Recommendation, RunDir, RunHeader};
use s3d_reports::compare::{self, NamedRun};
use s3d_reports::format::{markdown, text};
use s3d_reports::{Table, verdict};
use serde::Serialize;

/// Columns of a terminal that are counted on.
const WIDTH: usize = 80;

/// The verdict and the best plans.
///
/// # Errors
/// When standard output does not take it.
pub fn choice(
    recommendation: &Recommendation,
    header: &RunHeader,
    output: &OutputArgs,
) -> anyhow::Result<()> {
    if output.json {
        return terminal::json(recommendation);
    }
    if output.markdown {
        return terminal::result(&verdict::summary_markdown(recommendation, header));
    }
    terminal::result(&verdict::summary(recommendation, header, WIDTH, terminal::has_colour()))
}

/// What runs recommend: one as [`choice`] prints it, several as a list, or as a table in Markdown.
///
/// # Errors
/// When standard output does not take it.
pub fn runs(runs: &[NamedRun], output: &OutputArgs) -> anyhow::Result<()> {
    if let [run] = runs {
        return choice(&run.input.recommendation, &run.input.header, output);
    }
    if output.json {
        let all: Vec<_> = runs.iter().map(|run| &run.input.recommendation).collect();
        return terminal::json(&all);
    }
    terminal::result(&markdown::table(&compare::table(runs)))
}

/// Tables, or `value` as JSON.
///
/// # Errors
/// When standard output does not take it.
pub fn tables<T: Serialize>(
    value: &T,
    tables: &[Table],
    output: &OutputArgs,
) -> anyhow::Result<()> {
    if output.json {
        return terminal::json(value);
    }
    let parts: Vec<String> = tables
        .iter()
        .map(|table| match output.markdown {
            true => markdown::table(table),
            false => format!("{}\n\n{}", table.title, text::table(table, WIDTH)),
        })
        .collect();
    terminal::result(&parts.join("\n"))
}

/// The advice of a run.
pub fn warnings(header: &RunHeader) {
    for warning in &header.warnings {
        terminal::note(&format!("warning: {warning}"));
    }
}

/// Where the page is.
pub fn files(dir: &RunDir) {
    terminal::note(&format!("report: {}", dir.file("report.html").display()));
}
