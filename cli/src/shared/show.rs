//! Results on the terminal: as text, JSON or Markdown.

use crate::args::OutputArgs;
use crate::shared::terminal;
use s3d_data::{Estimate, Recommendation, Run, RunDir, RunHeader, Stop, finite};
use s3d_measure::coverage::times_as_long;
use s3d_reports::Table;
use s3d_reports::compare::{self, NamedRun};
use s3d_reports::format::{markdown, text};
use s3d_reports::table::{Cell, Column};
use s3d_reports::words::{verdict, warnings};
use s3d_simulator::cost::what_if::PlanAnswer;
use serde::Serialize;
use std::path::Path;

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
    finite::check(recommendation)?;
    if output.markdown {
        return terminal::result(&verdict::summary_markdown(recommendation, header));
    }
    terminal::result(&verdict::summary(
        recommendation,
        header,
        terminal::width(),
        terminal::has_colour(),
    ))
}

/// The plans by number of texts at once, predicted beside measured, below a verdict in words.
///
/// # Errors
/// When standard output does not take it.
pub fn by_batch(recommendation: &Recommendation, output: &OutputArgs) -> anyhow::Result<()> {
    let table = s3d_reports::tables::by_batch_shortened(recommendation);
    if table.rows.is_empty() || output.json {
        return Ok(());
    }
    finite::check(&table)?;
    terminal::result(&match output.markdown {
        true => markdown::table(&table),
        false => {
            let rows = text::table(&table, terminal::width());
            format!("\n{}\n\n{rows}\n{}", table.title, table.note)
        }
    })
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
    let table = compare::table(runs);
    finite::check(&table)?;
    terminal::result(&markdown::table(&table))
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
    finite::check(tables)?;
    let parts: Vec<String> = tables
        .iter()
        .map(|table| match output.markdown {
            true => markdown::table(table),
            false => format!("{}\n\n{}", table.title, text::table(table, terminal::width())),
        })
        .collect();
    terminal::result(&parts.join("\n"))
}

/// The advice of a run.
pub fn warnings(header: &RunHeader) {
    for warning in warnings::warnings(header) {
        terminal::note(&format!("warning: {}", warning.whole));
    }
}

/// Why measuring stopped, what the traces cover and what else that would have taken; nothing of
/// what was not measured.
pub fn effort(header: &RunHeader) {
    match header.stopped {
        Some(Stop::Narrow) => terminal::note(
            "end-to-end blocks: stopped because the ratio between the leading plans is narrow \
             enough",
        ),
        Some(Stop::Budget) => {
            terminal::note("end-to-end blocks: stopped because their share of the time was spent");
        }
        Some(Stop::Blocks) => {
            terminal::note("end-to-end blocks: all that were asked for are measured")
        }
        None => {}
    }
    if let Some(coverage) = header.coverage.as_ref().filter(|c| c.sampled_plans > 0) {
        terminal::note(&format!(
            "traces: {} plans, {} positions of windows and draftings in {}; generating as much \
             under \
             every plan would take {}, {:.0} times as long (extrapolated from {} plans)",
            coverage.plans,
            coverage.positions,
            coverage.trace_seconds,
            coverage.generation_seconds,
            times_as_long(coverage),
            coverage.sampled_plans
        ));
    }
    if let Some(cpu) = header.cpu_seconds {
        let wall = header.seconds_measuring;
        terminal::note(&format!("measured for {wall}, using {cpu} of processor time"));
    }
}

/// How much a run directory holds.
pub fn counts(dir: &Path, run: &Run) -> String {
    let seen = &run.observations;
    format!(
        "{}: {} latency samples, {} traces, {} generations, {} memory records",
        dir.display(),
        seen.latency.len() + seen.together.latency.len(),
        seen.traces.len(),
        seen.throughput.len(),
        seen.memory.len()
    )
}

/// A command as a shell reads it.
pub fn command(words: &[String]) -> String {
    words.iter().map(|word| verdict::quoted(word)).collect::<Vec<_>>().join(" ")
}

/// A line for each name, its value beside it.
pub fn names_and_values(rows: &[(&str, String)]) -> Vec<String> {
    rows.iter().map(|(name, value)| format!("{name:<18} {value}")).collect()
}

/// Where the page is.
pub fn files(dir: &RunDir) {
    terminal::note(&format!("report: {}", dir.file("report.html").display()));
}

/// Rows of the map that a terminal shows.
const ROWS: usize = 12;

/// The fastest of `cells`.
pub fn fastest(cells: &[PlanAnswer]) -> Table {
    let columns = vec![
        Column::new("drafting"),
        Column::new("skipped"),
        Column::new("predictors"),
        Column::new("tokens per iteration"),
        Column::new("improvement factor"),
    ];
    let rows = cells.iter().take(ROWS).map(|cell| {
        vec![
            Cell::text(cell.drafting.name()),
            Cell::Count(cell.skipped as u64),
            Cell::Count(cell.predictors as u64),
            Cell::Number(cell.answer.expected_tokens, 3),
            Cell::Number(cell.answer.improvement_factor, 3),
        ]
    });
    Table::new("map", "The fastest plans, computed from the model", columns).rows(rows)
}

/// `1.02 (0.99 to 1.05)`
pub fn between(estimate: Estimate) -> String {
    match estimate.interval() {
        Some((low, high)) => format!("{:.3} ({low:.3} to {high:.3})", estimate.value),
        None => format!("{:.3}", estimate.value),
    }
}
