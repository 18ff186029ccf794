//! CSV for programs: SI units, full precision, an interval in two columns of its own.

use crate::figure::{self, Axis, Bar, Figure, Mark, Point, Quantity};
use crate::table::{Cell, Column, Table};
use s3d_data::Estimate;
use s3d_data::cells::guarded;

/// The table as CSV.
pub fn table(table: &Table) -> Vec<u8> {
    let kinds: Vec<Kind> = (0..table.columns.len()).map(|i| kind(table, i)).collect();
    let headers =
        table.columns.iter().zip(&kinds).flat_map(|(column, kind)| headers(column, *kind));
    let mut records = vec![headers.collect::<Vec<_>>()];
    for row in &table.rows {
        records.push(row.iter().zip(&kinds).flat_map(|(cell, kind)| fields(cell, *kind)).collect());
    }
    write(&records)
}

/// What a column's cells need.
#[derive(Debug, Clone, Copy)]
struct Kind {
    interval: bool,
    unit: Option<&'static str>,
}

fn kind(table: &Table, column: usize) -> Kind {
    let cells = || table.rows.iter().map(|row| &row[column]);
    let interval = cells().any(|cell| cell.is_estimate());
    let unit = cells().find_map(|cell| match cell {
        Cell::Seconds(_) => Some("seconds"),
        Cell::Bytes(_) => Some("bytes"),
        Cell::Share(_) => Some("fraction"),
        _ => None,
    });
    Kind { interval, unit }
}

fn headers(column: &Column, kind: Kind) -> Vec<String> {
    let header = match kind.unit {
        Some(unit) => format!("{} ({unit})", column.name),
        None => column.header(),
    };
    if !kind.interval {
        return vec![header];
    }
    vec![header, format!("{} low", column.name), format!("{} high", column.name)]
}

fn fields(cell: &Cell, kind: Kind) -> Vec<String> {
    let mut fields = match cell {
        Cell::Unknown => vec![String::new()],
        Cell::Bytes(bytes) => vec![bytes.to_string()],
        Cell::Number(value, _) => vec![value.to_string()],
        Cell::Estimate(e, _) | Cell::Seconds(e) => numbers(&narrow(e)).to_vec(),
        Cell::Level(e, _) | Cell::Share(e) => numbers(e).to_vec(),
        Cell::Link { text, url } => vec![format!("{text} <{url}>")],
        Cell::Text(_) | Cell::Count(_) => vec![cell.words()],
    };
    fields.resize(if kind.interval { 3 } else { 1 }, String::new());
    fields
}

/// A ratio or rate without an interval that is too wide to be shown.
fn narrow(estimate: &Estimate) -> Estimate {
    if estimate.is_wide() { Estimate::alone(estimate.value) } else { *estimate }
}

fn numbers(estimate: &Estimate) -> [String; 3] {
    let end = |end: Option<f64>| end.map_or(String::new(), |value| value.to_string());
    [estimate.value.to_string(), end(estimate.low), end(estimate.high)]
}

/// The data of a figure as CSV: one row per point, whatever is drawn. Bars and cells stand at (x,
/// y) and have a value; bars start at x. Panels are told apart by their titles.
pub fn figure(figure: &Figure) -> Vec<u8> {
    let y = axis_header(&figure.y);
    let header = ["series", "kind", &axis_header(&figure.x), &y, "value", "low", "high", "text"];
    let mut records = vec![header.map(String::from).to_vec()];
    if !figure.panels.is_empty() {
        records[0].insert(0, "panel".into());
    }
    for panel in &figure.panels {
        let named = |row: Vec<String>| std::iter::once(panel.title.clone()).chain(row).collect();
        records.extend(series_rows(panel).into_iter().map(named));
    }
    records.extend(series_rows(figure));
    write(&records)
}

/// One row per point of each series, its name first.
fn series_rows(figure: &Figure) -> Vec<Vec<String>> {
    let mut records = Vec::new();
    for (index, series) in figure.series.iter().enumerate() {
        let end = series.end.as_ref().map(|end| format!("line {end}"));
        let label = end.or_else(|| series.label.clone());
        let label = label.unwrap_or_else(|| format!("series {}", index + 1));
        for row in mark_rows(&series.mark, figure) {
            records.push(std::iter::once(label.clone()).chain(row).collect());
        }
    }
    records
}

fn axis_header(axis: &Axis) -> String {
    match axis.quantity {
        Quantity::Seconds => format!("{} (seconds)", axis.label),
        Quantity::Bytes => format!("{} (bytes)", axis.label),
        Quantity::Number | Quantity::Count => axis.label.clone(),
    }
}

/// A place on an axis: its number, or the name of the thing there.
fn place(axis: &Axis, value: f64) -> String {
    let name = axis.categories.get(value.round().max(0.0) as usize);
    name.cloned().unwrap_or_else(|| value.to_string())
}

fn mark_rows(mark: &Mark, figure: &Figure) -> Vec<[String; 7]> {
    let ends = |axis: &Axis, e: &Estimate| numbers(&if axis.ratio { narrow(e) } else { *e });
    let row = |kind: &str, x: f64, y: String, value: [String; 3], text: &str| {
        let [value, low, high] = value;
        [kind.into(), place(&figure.x, x), y, value, low, high, text.into()]
    };
    let none = || [const { String::new() }; 3];
    match mark {
        Mark::Line { points, .. } => {
            let corner = |&(x, y): &(f64, f64)| row("line", x, y.to_string(), none(), "");
            points.iter().map(corner).collect()
        }
        Mark::Band { points } => {
            let corner = |&(x, low, high): &(f64, f64, f64)| {
                let ends = [String::new(), low.to_string(), high.to_string()];
                row("band", x, String::new(), ends, "")
            };
            points.iter().map(corner).collect()
        }
        Mark::Points { points, .. } => {
            let point = |p: &Point| {
                let [y, low, high] = ends(&figure.y, &p.y);
                row("point", p.x, y, [String::new(), low, high], &p.text)
            };
            points.iter().map(point).collect()
        }
        Mark::Bars { bars } => {
            let bar = |b: &Bar| {
                row("bar", b.from, place(&figure.y, b.at), ends(&figure.x, &b.to), &b.text)
            };
            bars.iter().map(bar).collect()
        }
        Mark::Heat { cells } => {
            let cell = |c: &figure::Tile| {
                row(
                    "cell",
                    c.x as f64,
                    place(&figure.y, c.y as f64),
                    numbers(&narrow(&c.value)),
                    &c.text,
                )
            };
            cells.iter().map(cell).collect()
        }
    }
}

/// Writes records; a record never fails to be written to memory, and an error would leave a gap
/// that the reader sees.
fn write(records: &[Vec<String>]) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    for record in records {
        if writer.write_record(record.iter().map(|cell| guarded(cell).into_owned())).is_err() {
            break;
        }
    }
    writer.into_inner().unwrap_or_default()
}
