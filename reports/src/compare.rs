//! Several runs side by side: dtypes, devices, checkpoints, models.

mod training;

pub use crate::input::NamedRun;

use crate::draw::palette::Hue;
use crate::error::Result;
use crate::figure::{Axis, Bar, Figure, Mark, Note, Point, Quantity, Series, Symbol};
use crate::figures::equal_lines;
use crate::format::html::HtmlTable;
use crate::page::picture::Picture;
use crate::page::template::{Template, render};
use crate::report::{write_figures, write_tables};
use crate::table::{Cell, Column, Table};
use crate::words::caveat::at_temperature;
use crate::words::provenance::{self, Provenance};
use crate::words::verdict::Verdict;
use s3d_data::{Drafting, PlanResult, RunDir, store};
use s3d_simulator::choose::runs::beside;
use serde::Serialize;

/// What the template of a comparison is given.
#[derive(Serialize)]
struct Comparison {
    runs: Vec<Compared>,
    tables: Vec<HtmlTable>,
    pictures: Vec<Picture>,
}

/// One run of a comparison.
#[derive(Serialize)]
struct Compared {
    name: String,
    speculate: bool,
    headline: String,
    made: Provenance,
}

impl Compared {
    fn new(run: &NamedRun) -> Self {
        let verdict = Verdict::new(&run.input.recommendation, &run.input.header);
        Self {
            name: run.name.clone(),
            speculate: verdict.speculate,
            headline: verdict.headline,
            made: Provenance::new(&run.input.header),
        }
    }
}

/// The comparison as one self-contained HTML document.
///
/// # Errors
/// When a figure cannot be drawn.
pub fn document(runs: &[NamedRun]) -> Result<String> {
    let page = Comparison {
        runs: runs.iter().map(Compared::new).collect(),
        tables: tables(runs).iter().map(HtmlTable::new).collect(),
        pictures: figures(runs).iter().map(Picture::new).collect::<Result<_>>()?,
    };
    render(Template::Comparison, &page)
}

/// Writes `comparison.html`, its figures and its table into a folder.
///
/// # Errors
/// As [`document`]; a file that cannot be written.
pub fn write_comparison(dir: &RunDir, runs: &[NamedRun]) -> Result<()> {
    write_figures(dir, &figures(runs))?;
    write_tables(dir, &tables(runs))?;
    store::save_atomically(&dir.file("comparison.html"), document(runs)?.as_bytes())?;
    Ok(())
}

/// The tables of a comparison.
fn tables(runs: &[NamedRun]) -> Vec<Table> {
    let mut tables = vec![table(runs), training::table(runs)];
    tables.retain(|table| !table.rows.is_empty());
    tables
}

/// One row a run: what was compared, the choice, what it gains and costs.
pub fn table(runs: &[NamedRun]) -> Table {
    let columns = vec![
        Column::new("run"),
        Column::new("model"),
        Column::new("device"),
        Column::new("dtype"),
        Column::new("choice"),
        Column::unit("plain", "tokens/s"),
        Column::unit("speed", "tokens/s"),
        Column::unit("speed over the first run's", "times"),
        Column::unit("speedup", "times"),
        Column::new("tokens per iteration"),
        Column::new("peak memory"),
        Column::unit("speed per memory", "tokens/s per GiB"),
    ];
    let first = runs.first().and_then(choice); // its own quotient is left unknown
    Table::new("comparison", "Runs side by side", columns)
        .note(
            "Speed is that of the choice, measured where it was measured. Intervals are 95 %; \
             those \
             of quotients between runs take the runs as independent.",
        )
        .rows(runs.iter().enumerate().map(|(index, run)| row(run, first.filter(|_| index > 0))))
        .without_empty_columns()
}

fn choice(run: &NamedRun) -> Option<&PlanResult> {
    run.input.recommendation.choice.as_ref()
}

fn row(run: &NamedRun, first: Option<&PlanResult>) -> Vec<Cell> {
    let recommendation = &run.input.recommendation;
    let widen = match recommendation.widen {
        1 => String::new(),
        times => format!(", widened x{times}"),
    };
    let imposed = if recommendation.imposed.is_some() { ", imposed acceptance" } else { "" };
    let drawn = at_temperature(recommendation.sampling.as_ref());
    let mut row = vec![
        Cell::text(&run.name),
        Cell::text(&recommendation.model),
        Cell::text(provenance::machine_name(&run.input.header)),
        Cell::text(format!("{}{widen}{drawn}{imposed}", recommendation.dtype)),
    ];
    let Some(choice) = &recommendation.choice else { return row };
    let role = if recommendation.speculate { "" } else { " (do not speculate)" };
    let beside = beside(choice, first);
    row.extend([
        Cell::text(format!("{}{role}", choice.plan)),
        Cell::estimate(recommendation.baseline.tokens_per_s, 1),
        Cell::estimate(choice.tokens_per_s, 1),
        Cell::estimate(beside.over_first, 2),
        Cell::estimate(choice.measured_speedup.or(choice.predicted_speedup), 2),
        Cell::estimate(choice.tokens_per_iteration, 2),
        choice.peak_memory_bytes.map_or(Cell::Unknown, Cell::Bytes),
        Cell::estimate(beside.per_gib, 1),
    ]);
    row
}

fn figures(runs: &[NamedRun]) -> Vec<Figure> {
    let mut figures = vec![speedups(runs), speed_memory(runs)];
    figures.extend(Drafting::ALL.map(|drafting| training::figure(runs, drafting)));
    figures.retain(|figure| !figure.is_empty());
    figures
}

fn speedups(runs: &[NamedRun]) -> Figure {
    let names = runs.iter().rev().map(|run| run.name.clone()).collect();
    let x = Axis::new("speedup of the choice over plain decoding (times)", Quantity::Number)
        .of_ratios();
    let bar = |(place, run): (usize, &NamedRun)| {
        let choice = run.input.recommendation.choice.as_ref()?;
        let speedup = choice.measured_speedup.or(choice.predicted_speedup)?;
        let text = format!("{}: {} {speedup:#}", run.name, choice.plan);
        let label = format!("{:.2}", speedup.value);
        Some(Bar { at: place as f64, thickness: 0.7, from: 0.0, to: speedup, text, label })
    };
    let bars = runs.iter().rev().enumerate().filter_map(bar).collect();
    Figure::new("comparison_speedup", "Speedup by run", x.reach(0.0), Axis::categories("", names))
        .caption("Measured where it was measured, else predicted; bars: 95 % intervals.")
        .note(Note::Limit { x: 1.0, text: "plain decoding".into() })
        .with(Series::unlisted(Hue::Blue, Mark::Bars { bars }))
}

fn speed_memory(runs: &[NamedRun]) -> Figure {
    let x = Axis::new("peak memory", Quantity::Bytes);
    let y = Axis::new("tokens per second", Quantity::Number).reach(0.0).of_ratios();
    let mut figure = Figure::new("comparison_speed_memory", "Speed against memory by run", x, y)
        .caption(
            "The choice of each run, with the 95 % interval of its speed; dashed: equal speed per \
             memory.",
        );
    for (index, run) in runs.iter().enumerate() {
        let choice = run.input.recommendation.choice.as_ref();
        let point = choice.and_then(|choice| {
            let bytes = choice.peak_memory_bytes? as f64;
            let text = format!("{}: {}", run.name, choice.plan);
            Some(Point::new(bytes, choice.tokens_per_s?, text))
        });
        let mark =
            Mark::Points { points: point.into_iter().collect(), symbol: Symbol::of_index(index) };
        figure.series.push(Series::new(&run.name, Hue::of_index(index), mark));
    }
    if !figure.is_empty() {
        let lines = equal_lines(&figure);
        figure.series.extend(lines);
    }
    figure
}
