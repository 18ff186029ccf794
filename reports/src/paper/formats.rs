//! Part (c), by format: each method on two geometries at f16, q8_0 and q4_0.

use super::input::PaperInput;
use crate::draw::palette::Hue;
use crate::error::Result;
use crate::figure::{Axis, Figure, Mark, Point, Quantity, Series, Symbol};
use crate::figures::equal_lines;
use crate::table::{Cell, Column, Table};
use s3d_data::{Bytes, published};
use s3d_simulator::explore::published::FORMATS;
use s3d_simulator::explore::published::by_format::{Entry, SCALED_FROM, Speed, TARGETS, entries};

/// The table.
pub(super) fn table(input: &PaperInput) -> Result<Table> {
    let columns = vec![
        Column::new("target"),
        Column::new("format"),
        Column::new("method"),
        Column::unit("memory, computed", "GiB"),
        Column::unit("speed", "tokens/s"),
        Column::new("speed is"),
        Column::unit("speed per memory", "tokens/s per GiB"),
        Column::new("source"),
    ];
    let shapes = published::shapes()?;
    let entries = entries(input.context, &input.choices())?;
    let rows = entries.into_iter().map(|entry| {
        let shape = shapes.iter().find(|shape| shape.name == entry.target);
        let of_shape = shape.map_or(Cell::Unknown, |shape| Cell::Link {
            text: format!("shape: {}", shape.citation),
            url: shape.url.clone(),
        });
        let (kind, source) = match &entry.speed {
            Speed::Published(row) => {
                ("published", Cell::Link { text: row.citation.clone(), url: row.url.clone() })
            }
            Speed::Modelled(_) => ("modelled", of_shape),
            Speed::Missing => ("not to be had", of_shape),
        };
        vec![
            Cell::text(entry.target),
            Cell::text(entry.format),
            Cell::text(entry.method),
            Cell::Number(entry.memory.gib(), 2),
            Cell::estimate(entry.tokens_per_s(), 1),
            Cell::text(kind),
            Cell::estimate(entry.per_gib(), 2),
            source,
        ]
    });
    let title = "Memory and speed by method and format, A10G";
    Ok(Table::new("paper_formats", title, columns)
        .note(format!(
            "Memory at {} tokens of context. Modelled plain decoding moves the bytes of its \
             weights \
             and cache as fast as the published row of {SCALED_FROM} at half precision; quantized \
             kernels are often slower than that, so it is an upper bound, and so is S3D, whose \
             tokens \
             per iteration are those of our first run, at the ideal cost 2 - beta.",
            input.context
        ))
        .rows(rows))
}

/// The same as a figure: one symbol per format, filled by what is known of the speed.
pub(super) fn figure(input: &PaperInput) -> Result<Figure> {
    let x = Axis::new("peak memory, computed", Quantity::Bytes).reach(0.0);
    let y = Axis::new("tokens per second", Quantity::Number).reach(0.0);
    let title = "Speed against memory by format, A10G";
    let mut figure = Figure::new("paper_formats", title, x, y).caption(
        "Published speed where there is one (Beagle paper, arXiv 2505.24544), else modelled: an \
         upper \
         bound, see the table. Shapes: LLaMA 2 (arXiv 2307.09288), Phi-3 (arXiv 2404.14219). \
         Dashed: \
         equal speed per memory.",
    );
    let entries = entries(input.context, &input.choices())?;
    for (row, target) in TARGETS.into_iter().enumerate() {
        for (index, (_, format)) in FORMATS.into_iter().enumerate() {
            let mine = entries.iter().filter(|e| e.target == target && e.format == format);
            let points = mine.filter_map(point).collect();
            let hue = Hue::of_index(index);
            let mark = Mark::Points { points, symbol: Symbol::of_index(row) };
            figure.series.push(Series::new(format!("{target}, {format}"), hue, mark));
        }
    }
    let lines = equal_lines(&figure);
    figure.series.extend(lines);
    Ok(figure)
}

fn point(entry: &Entry) -> Option<Point> {
    let modelled = matches!(entry.speed, Speed::Modelled(_));
    let kind = if modelled { "modelled" } else { "published" };
    let Bytes(bytes) = entry.memory;
    let short = entry.method.replace("plain decoding", "plain");
    let point = Point::new(bytes as f64, entry.tokens_per_s()?, format!("{short} ({kind})"));
    Some(if modelled { point.labelled() } else { point })
}
