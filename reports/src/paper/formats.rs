//! Part (c), by format: each method on two geometries at f16, q8_0 and q4_0. Memory is computed,
//! speed published where it was published, modelled for plain decoding and S3D, and else left
//! empty.

use super::input::PaperInput;
use super::methods::{FORMATS, PREDICTORS, methods, shape};
use crate::draw::palette::Hue;
use crate::error::Result;
use crate::figure::{Axis, Figure, Mark, Point, Quantity, Series, Symbol};
use crate::figures::equal_lines;
use crate::table::{Cell, Column, Table};
use s3d_data::memory::{Load, Memory, Method};
use s3d_data::published::{self, System};
use s3d_data::{Bytes, Drafting, Dtype, Estimate};
use s3d_simulator::cost::improvement::{ideal_gain, rate_by_bytes};

/// The geometries that are compared.
pub(super) const TARGETS: [&str; 2] = ["LLaMA-2-7B", "Phi-3-mini"];

/// The published row that modelled speeds are scaled from.
const SCALED_FROM: &str = "LLaMA-2-7B";

/// Where a speed comes from.
enum Speed {
    Published(Box<System>),
    Modelled(Estimate),
    Missing,
}

/// One method on one geometry in one format.
struct Entry {
    target: &'static str,
    format: &'static str,
    method: &'static str,
    memory: Memory,
    speed: Speed,
}

fn entries(input: &PaperInput) -> Result<Vec<Entry>> {
    let rows = published::systems()?;
    let mut entries = Vec::new();
    for target in TARGETS {
        let shape = shape(target)?;
        for (format, name) in FORMATS {
            for (method_name, method) in methods()? {
                let load = Load { context: input.context, width: PREDICTORS + 1, batch: 1 };
                let memory = Memory::elsewhere(&shape, format, load, &method);
                let known = published_name(method_name)
                    .filter(|_| format == Dtype::F16)
                    .and_then(|name| row(&rows, target, name));
                let speed = match known {
                    Some(row) => Speed::Published(Box::new(row.clone())),
                    None => modelled(input, &rows, &method, method_name, &memory)?,
                };
                entries.push(Entry { target, format: name, method: method_name, memory, speed });
            }
        }
    }
    Ok(entries)
}

/// The name of a method in the published table.
fn published_name(method: &str) -> Option<&'static str> {
    match method {
        "plain decoding" => Some("autoregressive"),
        "Draft & Verify" => Some("Self-Spec (Draft & Verify)"),
        "EAGLE" => Some("EAGLE v2"),
        "Medusa" => Some("Medusa"),
        "draft model" => Some("TGI small LM"),
        _ => None,
    }
}

fn row<'a>(rows: &'a [System], target: &str, method: &str) -> Option<&'a System> {
    rows.iter().find(|row| {
        row.gpu == "A10G"
            && row.task == "MT-Bench"
            && row.target == target
            && row.method == method
            && row.tokens_per_s.is_some()
    })
}

/// Plain decoding as fast as the published row moves bytes; S3D as many times faster as the choice
/// of the first run with simultaneous drafting commits tokens, at the paper's ideal cost.
fn modelled(
    input: &PaperInput,
    rows: &[System],
    method: &Method,
    name: &str,
    here: &Memory,
) -> Result<Speed> {
    let base = row(rows, SCALED_FROM, "autoregressive").and_then(|row| row.tokens_per_s);
    let Some(base) = base else { return Ok(Speed::Missing) };
    let load = Load { context: input.context, width: 1, batch: 1 };
    let there = Memory::elsewhere(&shape(SCALED_FROM)?, Dtype::F16, load, &Method::Plain);
    let plain = rate_by_bytes(base, &there, here);
    if name == "plain decoding" {
        return Ok(Speed::Modelled(Estimate::exact(plain)));
    }
    let Method::S3d { predictors } = method else { return Ok(Speed::Missing) };
    let choices = input.runs.iter().filter_map(|run| run.recommendation.choice.as_ref());
    let choice = choices.into_iter().find(|choice| choice.drafting == Drafting::Simultaneous);
    let gain = choice.and_then(|choice| {
        let tokens = choice.tokens_per_iteration?;
        Some(ideal_gain(Drafting::Simultaneous, tokens, choice.skip_ratio, *predictors))
    });
    Ok(gain.map_or(Speed::Missing, |gain| Speed::Modelled(gain.map(|times| plain * times))))
}

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
    let rows = entries(input)?.into_iter().map(|entry| {
        let gib = entry.memory.peak_bytes.gib();
        let shape = shapes.iter().find(|shape| shape.name == entry.target);
        let of_shape = shape.map_or(Cell::Unknown, |shape| Cell::Link {
            text: format!("shape: {}", shape.citation),
            url: shape.url.clone(),
        });
        let (speed, kind, source) = match &entry.speed {
            Speed::Published(row) => {
                let source = Cell::Link { text: row.citation.clone(), url: row.url.clone() };
                (row.tokens_per_s.map(Estimate::exact), "published", source)
            }
            Speed::Modelled(speed) => (Some(*speed), "modelled", of_shape),
            Speed::Missing => (None, "not to be had", of_shape),
        };
        vec![
            Cell::text(entry.target),
            Cell::text(entry.format),
            Cell::text(entry.method),
            Cell::Number(gib, 2),
            Cell::estimate(speed, 1),
            Cell::text(kind),
            Cell::estimate(speed.map(|speed| speed.map(|speed| speed / gib)), 2),
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
    let entries = entries(input)?;
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
    let (speed, kind) = match &entry.speed {
        Speed::Published(row) => (Estimate::exact(row.tokens_per_s?), "published"),
        Speed::Modelled(speed) => (*speed, "modelled"),
        Speed::Missing => return None,
    };
    let Bytes(bytes) = entry.memory.peak_bytes;
    let short = entry.method.replace("plain decoding", "plain");
    let point = Point::new(bytes as f64, speed, format!("{short} ({kind})"));
    Some(if kind == "modelled" { point.labelled() } else { point })
}
