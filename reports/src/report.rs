//! Writes a report into its run directory.

use crate::draw::{chart, scene};
use crate::error::Result;
use crate::figure::Figure;
use crate::format::{csv, markdown};
use crate::input::ReportInput;
use crate::table::Table;
use crate::{figures, page, tables};
use s3d_data::{RunDir, finite, store};
use std::thread;

/// Writes `report.html`, `figures/*` (SVG, PNG, and the data as CSV) and `tables/*` (CSV and
/// Markdown).
///
/// # Errors
/// When a figure cannot be drawn or a file cannot be written; the file is named.
pub fn write_report(dir: &RunDir, input: &ReportInput) -> Result<()> {
    finite::check(&input.recommendation)?;
    write_figures(dir, &figures::all(input))?;
    write_tables(dir, &tables::all(input))?;
    store::save_atomically(&dir.file("report.html"), page::page(input)?.as_bytes())?;
    Ok(())
}

/// Writes figures below `figures/`, drawn on all cores: encoding the pictures takes most of a
/// report's time.
///
/// # Errors
/// As [`write_report`].
pub(crate) fn write_figures(dir: &RunDir, figures: &[Figure]) -> Result<()> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let mine = |worker: usize| figures.iter().skip(worker).step_by(workers);
    let work = |worker: usize| mine(worker).try_for_each(|figure| write_figure(dir, figure));
    thread::scope(|scope| {
        let others: Vec<_> = (1..workers).map(|worker| scope.spawn(move || work(worker))).collect();
        let first = work(0);
        others.into_iter().fold(first, |outcome, other| match other.join() {
            Ok(one) => outcome.and(one),
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

fn write_figure(dir: &RunDir, figure: &Figure) -> Result<()> {
    finite::check(figure)?;
    let scene = scene::scene(figure);
    let file = |extension: &str| dir.file(&format!("figures/{}.{extension}", figure.name));
    store::save_atomically(&file("svg"), chart::svg(&scene)?.as_bytes())?;
    store::save_atomically(&file("png"), &chart::png(&scene)?)?;
    store::save_atomically(&file("csv"), &csv::figure(figure))?;
    Ok(())
}

/// Writes tables below `tables/`.
///
/// # Errors
/// When a file cannot be written; it is named.
pub(crate) fn write_tables(dir: &RunDir, tables: &[Table]) -> Result<()> {
    for table in tables {
        finite::check(table)?;
        let file = |extension: &str| dir.file(&format!("tables/{}.{extension}", table.name));
        store::save_atomically(&file("csv"), &csv::table(table))?;
        store::save_atomically(&file("md"), markdown::table(table).as_bytes())?;
    }
    Ok(())
}
