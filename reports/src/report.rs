//! Writes a report into its run directory.

use crate::format::{csv, markdown};
use crate::input::ReportInput;
use crate::{Result, chart, figures, page, scene, tables};
use s3d_data::{RunDir, store};

/// Writes `report.html`, `figures/*` (SVG, PNG, and the data as CSV) and `tables/*` (CSV and Markdown).
///
/// # Errors
/// When a figure cannot be drawn or a file cannot be written; the file is named.
pub fn write_report(dir: &RunDir, input: &ReportInput) -> Result<()> {
    for figure in figures::all(input) {
        let scene = scene::scene(&figure);
        let file = |extension: &str| dir.file(&format!("figures/{}.{extension}", figure.name));
        store::save_atomically(&file("svg"), chart::svg(&scene)?.as_bytes())?;
        store::save_atomically(&file("png"), &chart::png(&scene)?)?;
        store::save_atomically(&file("csv"), &csv::figure(&figure))?;
    }
    for table in tables::all(input) {
        let file = |extension: &str| dir.file(&format!("tables/{}.{extension}", table.name));
        store::save_atomically(&file("csv"), &csv::table(&table))?;
        store::save_atomically(&file("md"), markdown::table(&table).as_bytes())?;
    }
    store::save_atomically(&dir.file("report.html"), page::page(input)?.as_bytes())?;
    Ok(())
}
