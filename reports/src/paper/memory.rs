//! Part (c): speed against memory; memory computed from published shapes and checked against
//! published memory, speed published or modelled, each marked.

use super::formats;
use super::input::{PaperInput, Section};
use crate::draw::palette::Hue;
use crate::error::Result;
use crate::figure::{Axis, Bar, Figure, Mark, Point, Quantity, Series, Stroke, Symbol};
use crate::table::{Cell, Column, Table};
use s3d_data::published::{self, System};
use s3d_data::{Bytes, Estimate, Share};
use s3d_simulator::explore::published::by_format::{Entry, TARGETS, entries};
use s3d_simulator::explore::published::{FORMATS, compared, modelled_plans, published_checks};

/// The part.
pub(super) fn part(input: &PaperInput) -> Result<Section> {
    let mut figures = vec![speed_memory(input)?, formats::figure(input)?];
    for target in TARGETS {
        figures.push(memory_bars(target, input)?);
    }
    Ok(Section {
        title: "Speed against memory".into(),
        words: format!(
            "Memory is computed from published shapes (weights, cache of {} tokens, activations of \
             the widest pass, what the method adds) and checked against published memory below. \
             Published speeds are at half precision; the methods' quantized speeds were not to be \
             had \
             and stay empty. S3D speeds are modelled where a run of ours gives acceptance: its \
             tokens \
             per iteration over the ideal cost 2 - beta, times the speed of plain decoding; an \
             upper \
             bound.",
            input.context
        ),
        figures,
        tables: vec![formats::table(input)?, checks_table(input.context)?],
    })
}

fn checks_table(context: usize) -> Result<Table> {
    let columns = vec![
        Column::new("target"),
        Column::new("method"),
        Column::unit("published", "GiB"),
        Column::unit("computed", "GiB"),
        Column::unit("unexplained rest", "GiB"),
        Column::new("of published"),
        Column::unit("published increment", "GiB"),
        Column::unit("computed increment", "GiB"),
        Column::new("source"),
    ];
    let rows = published_checks(context)?.into_iter().map(|check| {
        vec![
            Cell::text(&check.row.target),
            Cell::text(&check.row.method),
            Cell::Number(check.published_gib, 1),
            Cell::Number(check.computed_gib, 2),
            Cell::Number(check.rest_gib, 2),
            Cell::text(Share(check.rest_share).to_string()),
            Cell::Number(check.published_increment_gib, 1),
            Cell::Number(check.computed_increment_gib, 2),
            Cell::Link { text: check.row.citation.clone(), url: check.row.url.clone() },
        ]
    });
    let title = "Computed memory against published memory, half precision, A10G, MT-Bench";
    Ok(Table::new("paper_memory", title, columns)
        .note(format!(
            "Computed for {context} tokens of context; the published context is not stated. \
             Increments are over autoregressive decoding of the same target."
        ))
        .rows(rows))
}

fn memory_bars(target: &str, input: &PaperInput) -> Result<Figure> {
    let context = input.context;
    let mut entries = entries(context, &input.choices())?;
    entries.retain(|entry| entry.target == target);
    entries.reverse();
    let of = |format: &'static str| entries.iter().filter(move |entry| entry.format == format);
    let names = of(FORMATS[0].1).map(|entry| entry.method.into()).collect();
    let x =
        Axis::new(format!("peak memory, {context} tokens of context"), Quantity::Bytes).reach(0.0);
    let name = format!("paper_memory_{}", target.to_lowercase().replace('-', "_"));
    let title = format!("Memory of {target} by method and format");
    let mut figure = Figure::new(&name, title, x, Axis::categories("", names)).caption(
        "Computed from the published shape (LLaMA 2: arXiv 2307.09288, Phi-3: arXiv 2404.14219); \
         the draft \
         model is a LLaMA of 68 million parameters at f16 (arXiv 2305.09781).",
    );
    let thickness = 0.8 / FORMATS.len() as f64;
    for (index, (_, label)) in FORMATS.into_iter().enumerate() {
        let shift = (index as f64 - 1.0) * thickness;
        let bar = |(place, entry): (usize, &Entry)| Bar {
            at: place as f64 - shift,
            thickness,
            from: 0.0,
            to: Estimate::exact(entry.memory.0 as f64),
            text: format!("{}, {label}: {}, computed", entry.method, entry.memory),
            label: String::new(),
        };
        let bars = of(label).enumerate().map(bar).collect();
        figure.series.push(Series::new(label, Hue::of_index(index), Mark::Bars { bars }));
    }
    Ok(figure)
}

fn speed_memory(input: &PaperInput) -> Result<Figure> {
    let x = Axis::new("peak memory", Quantity::Bytes);
    let y = Axis::new("tokens per second", Quantity::Number).reach(0.0);
    let title = "Speed against memory, 7B and 8B models, A10G, half precision, MT-Bench";
    let mut figure = Figure::new("paper_speed_memory", title, x, y).caption(
        "Published speed and memory (Beagle paper, arXiv 2505.24544). Dashed: equal tokens/s per \
         GiB \
         (1, 2 and 3). S3D, where shown: modelled speed, computed memory.",
    );
    let rows: Vec<_> = published::systems()?
        .into_iter()
        .chain(input.figures.iter().cloned())
        .filter(compared)
        .collect();
    figure.series.extend(equal_lines(&rows));
    for (index, target) in ["Vicuna-7B", "LLaMA-2-7B", "LLaMA-3"].into_iter().enumerate() {
        let points = rows.iter().filter(|row| row.target == target).filter_map(point).collect();
        let mark = Mark::Points { points, symbol: Symbol::of_index(index) };
        figure.series.push(Series::new(target, Hue::of_index(index), mark));
    }
    let plans = modelled_plans(&rows, &input.choices(), input.context)?;
    let points = plans.into_iter().map(|modelled| {
        let words = format!("S3D {} (modelled)", modelled.plan);
        Point::new(modelled.memory.0 as f64, modelled.speed, words).labelled()
    });
    let points = points.collect();
    let mark = Mark::Points { points, symbol: Symbol::Diamond };
    figure.series.push(Series::new("S3D, modelled", Hue::Vermillion, mark));
    Ok(figure)
}

fn point(row: &System) -> Option<Point> {
    let bytes = Bytes::from_gib(row.peak_memory_gib?).0 as f64;
    Some(Point::new(bytes, Estimate::exact(row.tokens_per_s?), &row.method).labelled())
}

/// Lines of 1, 2 and 3 tokens per second and GiB over the published range.
fn equal_lines(rows: &[System]) -> Vec<Series> {
    let memory = || rows.iter().filter_map(|row| row.peak_memory_gib);
    let (low, high) = (memory().fold(f64::INFINITY, f64::min), memory().fold(0.0, f64::max));
    let line = |rate: f64| {
        let points = [low, high].map(|gib| (Bytes::from_gib(gib).0 as f64, rate * gib)).to_vec();
        Series::unlisted(Hue::Muted, Mark::Line { points, stroke: Stroke::Dashed })
    };
    [1.0, 2.0, 3.0].into_iter().map(line).collect()
}
