//! The page: one self-contained file that needs no network and no script to be read.
//!
//! The order is that of a reader's questions: should I speculate, with which plan, how sure is
//! that, why is it not more, is the comparison fair, what does it cost, how was it made.

pub(crate) mod picture;
pub(crate) mod template;
mod what_if;

use crate::error::Result;
use crate::figure::Figure;
use crate::format::html::HtmlTable;
use crate::input::ReportInput;
use crate::page::picture::{Picture, belongs};
use crate::page::template::{Template, render};
use crate::page::what_if::WhatIf;
use crate::table::Table;
use crate::words::baseline;
use crate::words::caveat::at_temperature;
use crate::words::provenance::{Provenance, machine_name};
use crate::words::verdict::Verdict;
use crate::words::warnings::{Warning, warnings};
use crate::{figures, tables};
use s3d_data::TimesFrom;
use s3d_simulator::PlanEvaluation;
use serde::Serialize;

/// Rows of a table on the page; a search can compare thousands of plans.
const ROWS_SHOWN: usize = 200;

/// Ties that stand beside the choice on the first screen.
const TIES_FIRST: usize = 2;

/// Warnings on the first screen; all stand where it is said how the run was measured.
const WARNINGS_FIRST: usize = 3;

/// What the template of a report is given.
#[derive(Serialize)]
struct Report<'a> {
    title: String,
    model: &'a str,
    machine: String,
    /// `, at temperature 0.8`; nothing of greedy texts.
    drawn: String,
    imposed: bool,
    verdict: Verdict,
    warnings: Vec<Warning>,
    warnings_first: usize,
    /// The choice and its nearest rivals.
    leading: HtmlTable,
    /// Figures of the first screen.
    first: Vec<Picture>,
    by_task: ByTask,
    by_batch: Option<ByBatch>,
    /// The choice by context, where the run was asked about several.
    by_context: Option<ByContext>,
    what_if: Option<WhatIf>,
    /// Figures that say why it is not more.
    reasons: Vec<Picture>,
    /// Figures of the other plans.
    others: Vec<Picture>,
    /// What is said of plain decoding.
    baseline: Vec<String>,
    /// Figures that set predictions beside measurements.
    predictions: Vec<Picture>,
    tables: Vec<Folded>,
    made: Provenance,
}

/// The choice by task, with the acceptance behind it.
#[derive(Serialize)]
struct ByTask {
    title: &'static str,
    /// Whether tasks differ, which stands near the top.
    differ: bool,
    figures: Vec<Picture>,
    table: Option<HtmlTable>,
}

/// The plans by number of texts at once, with the pass times behind them.
#[derive(Serialize)]
struct ByBatch {
    figures: Vec<Picture>,
    table: HtmlTable,
}

/// The choice by context.
#[derive(Serialize)]
struct ByContext {
    figures: Vec<Picture>,
    table: HtmlTable,
}

/// A table that opens on a click.
#[derive(Serialize)]
struct Folded {
    /// All rows, also those that are not shown.
    rows: usize,
    table: HtmlTable,
}

/// The report of one run as an HTML document.
///
/// # Errors
/// When a figure cannot be drawn.
pub fn page(input: &ReportInput) -> Result<String> {
    let figures = figures::all(input);
    let [first, others] = leading_figures(input, &figures);
    let reasons = ["waterfall", "pass_time", "components", "accepted", "acceptance"];
    let report = Report {
        title: title(input),
        model: &input.header.model.name,
        machine: machine_name(&input.header),
        drawn: at_temperature(input.header.sampling.as_ref()),
        imposed: input.header.imposed.is_some(),
        verdict: Verdict::new(&input.recommendation, &input.header),
        warnings: warnings(&input.header),
        warnings_first: WARNINGS_FIRST,
        leading: HtmlTable::new(&tables::leading(&input.recommendation, TIES_FIRST)),
        first: Picture::of(&figures, &first)?,
        by_task: by_task(input, &figures)?,
        by_batch: by_batch(input, &figures)?,
        by_context: by_context(input, &figures)?,
        what_if: WhatIf::new(input),
        reasons: Picture::of(&figures, &reasons)?,
        others: Picture::of(&figures, &others)?,
        baseline: baseline::sentences(input),
        predictions: Picture::of(&figures, &["prediction"])?,
        tables: tables::all(input).iter().map(Folded::new).collect(),
        made: Provenance::new(&input.header),
    };
    render(Template::Report, &report)
}

fn title(input: &ReportInput) -> String {
    let imposed = if input.header.imposed.is_some() { " (imposed acceptance)" } else { "" };
    let derived =
        if input.header.times_from() == TimesFrom::DataSheet { " (derived times)" } else { "" };
    let drawn = at_temperature(input.header.sampling.as_ref());
    format!("S3D report: {}{drawn}{imposed}{derived}", input.header.model.name)
}

/// The curve and the map of the first screen, and the figures of all other plans. Where the choice
/// is no window in the middle of the model, the map is that of windows.
fn leading_figures<'a>(input: &ReportInput, figures: &'a [Figure]) -> [Vec<&'a str>; 2] {
    let middle = |cell: &&PlanEvaluation| cell.is_symmetric(input.layers());
    let chosen = input.grid.iter().find(|cell| Some(&cell.plan) == input.chosen());
    let map = if chosen.is_none_or(|cell| middle(&cell)) { "map" } else { "windows" };
    let named =
        |prefix: &'static str| figures.iter().filter(move |figure| belongs(&figure.name, prefix));
    let first: Vec<&str> = ["speedup", map]
        .iter()
        .filter_map(|prefix| named(prefix).next())
        .map(|figure| figure.name.as_str())
        .collect();
    let others = ["speedup", "map", "windows", "speed_memory"];
    let others = others.iter().flat_map(|prefix| named(prefix));
    let others = others.map(|figure| figure.name.as_str()).filter(|name| !first.contains(name));
    [first.clone(), others.collect()]
}

fn by_task(input: &ReportInput, figures: &[Figure]) -> Result<ByTask> {
    let differ = !input.recommendation.by_task.is_empty();
    let table = tables::by_task(&input.recommendation);
    let (title, names, table) = match table.rows.is_empty() {
        true => ("Acceptance by task", &["acceptance_by_task"][..], None),
        false => ("By task", &["by_task", "acceptance_by_task"][..], Some(HtmlTable::new(&table))),
    };
    Ok(ByTask { title, differ, figures: Picture::of(figures, names)?, table })
}

/// Nothing where several texts were not timed.
fn by_batch(input: &ReportInput, figures: &[Figure]) -> Result<Option<ByBatch>> {
    let table = tables::by_batch(&input.recommendation);
    if table.rows.is_empty() {
        return Ok(None);
    }
    let figures = Picture::of(figures, &["speedup_by_batch", "pass_time_by_batch"])?;
    Ok(Some(ByBatch { figures, table: HtmlTable::new(&table) }))
}

fn by_context(input: &ReportInput, figures: &[Figure]) -> Result<Option<ByContext>> {
    let table = tables::by_context(&input.recommendation);
    if table.rows.is_empty() {
        return Ok(None);
    }
    let figures = Picture::of(figures, &["speedup_by_context", "speed_memory_by_context"])?;
    Ok(Some(ByContext { figures, table: HtmlTable::new(&table) }))
}

impl Folded {
    fn new(table: &Table) -> Self {
        let mut shown = HtmlTable::first_rows(table, ROWS_SHOWN);
        if table.rows.len() > ROWS_SHOWN {
            let file =
                format!(" The first {ROWS_SHOWN} rows; all stand in tables/{}.csv.", table.name);
            shown.note += &file;
        }
        Self { rows: table.rows.len(), table: shown }
    }
}
