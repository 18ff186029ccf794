//! Part (c): speed against memory; memory computed from published shapes and checked against
//! published memory, speed published or modelled, each marked.

use super::formats;
use super::input::{PaperInput, Section};
use super::methods::{FORMATS, PREDICTORS, computed_gib, methods, shape};
use crate::draw::palette::Hue;
use crate::error::Result;
use crate::figure::{Axis, Bar, Figure, Mark, Point, Quantity, Series, Stroke, Symbol};
use crate::table::{Cell, Column, Table};
use s3d_data::memory::{Load, Memory, Method};
use s3d_data::published::{self, System};
use s3d_data::{Bytes, Dtype, Estimate, Share};
use s3d_simulator::cost::improvement::ideal_gain;

/// The part.
pub(super) fn part(input: &PaperInput) -> Result<Section> {
    let mut figures = vec![speed_memory(input)?, formats::figure(input)?];
    for target in formats::TARGETS {
        figures.push(memory_bars(target, input.context)?);
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

/// A published memory beside the computed one, in GiB, with each method's increment over plain.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryCheck {
    /// The published row.
    pub row: System,
    /// Published peak memory.
    pub published_gib: f64,
    /// Computed peak memory.
    pub computed_gib: f64,
    /// Published increment over autoregressive decoding.
    pub published_increment_gib: f64,
    /// Computed increment.
    pub computed_increment_gib: f64,
}

/// All published A10G rows on MT-Bench whose method the formulas know.
///
/// # Errors
/// A published table that does not parse.
pub fn published_checks(context: usize) -> Result<Vec<MemoryCheck>> {
    let rows: Vec<_> = published::systems()?
        .into_iter()
        .filter(|row| row.gpu == "A10G" && row.task == "MT-Bench")
        .collect();
    let plain = |target: &str| {
        let plain = rows.iter().find(|row| row.target == target && row.method == "autoregressive");
        plain.and_then(|row| row.peak_memory_gib)
    };
    let mut checks = Vec::new();
    for row in &rows {
        let computed = computed_gib(&row.target, &row.method, context)?;
        let base = computed_gib(&row.target, "autoregressive", context)?;
        let (Some(computed_gib), Some(base), Some(published_gib), Some(published_base)) =
            (computed, base, row.peak_memory_gib, plain(&row.target))
        else {
            continue;
        };
        checks.push(MemoryCheck {
            row: row.clone(),
            published_gib,
            computed_gib,
            published_increment_gib: published_gib - published_base,
            computed_increment_gib: computed_gib - base,
        });
    }
    Ok(checks)
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
        let rest = check.published_gib - check.computed_gib;
        vec![
            Cell::text(&check.row.target),
            Cell::text(&check.row.method),
            Cell::Number(check.published_gib, 1),
            Cell::Number(check.computed_gib, 2),
            Cell::Number(rest, 2),
            Cell::text(Share(rest / check.published_gib).to_string()),
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

fn memory_bars(target: &str, context: usize) -> Result<Figure> {
    let methods = methods()?;
    let shape = shape(target)?;
    let names = methods.iter().rev().map(|(name, _)| (*name).into()).collect();
    let x =
        Axis::new(format!("peak memory, {context} tokens of context"), Quantity::Bytes).reach(0.0);
    let name = format!("paper_memory_{}", target.to_lowercase().replace('-', "_"));
    let title = format!("Memory of {target} by method and format");
    let mut figure = Figure::new(&name, title, x, Axis::categories("", names)).caption(
        "Computed from the published shape (LLaMA 2: arXiv 2307.09288, Phi-3: arXiv 2404.14219); \
         the draft \
         model is a LLaMA of 68 million parameters at f16 (arXiv 2305.09781).",
    );
    let load = Load { context, width: PREDICTORS + 1, batch: 1 };
    let thickness = 0.8 / FORMATS.len() as f64;
    for (index, (format, label)) in FORMATS.into_iter().enumerate() {
        let shift = (index as f64 - 1.0) * thickness;
        let bar = |(place, (name, method)): (usize, &(&str, Method))| {
            let bytes = Memory::elsewhere(&shape, format, load, method).peak_bytes;
            Bar {
                at: place as f64 - shift,
                thickness,
                from: 0.0,
                to: Estimate::exact(bytes.0 as f64),
                text: format!("{name}, {label}: {bytes}, computed"),
                label: String::new(),
            }
        };
        let bars = methods.iter().rev().enumerate().map(bar).collect();
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
        .filter(|row| row.gpu == "A10G" && row.task == "MT-Bench")
        .collect();
    figure.series.extend(equal_lines(&rows));
    for (index, target) in ["Vicuna-7B", "LLaMA-2-7B", "LLaMA-3"].into_iter().enumerate() {
        let points = rows.iter().filter(|row| row.target == target).filter_map(point).collect();
        let mark = Mark::Points { points, symbol: Symbol::of_index(index) };
        figure.series.push(Series::new(target, Hue::of_index(index), mark));
    }
    let points = modelled(input, &rows)?;
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

/// S3D on LLaMA-2-7B with the acceptance of our runs, at ideal cost.
fn modelled(input: &PaperInput, rows: &[System]) -> Result<Vec<Point>> {
    let target = "LLaMA-2-7B";
    let plain = rows.iter().find(|row| row.target == target && row.method == "autoregressive");
    let Some(plain) = plain.and_then(|row| row.tokens_per_s) else { return Ok(Vec::new()) };
    let load = Load { context: input.context, width: PREDICTORS + 1, batch: 1 };
    let method = Method::S3d { predictors: PREDICTORS };
    let bytes = Memory::elsewhere(&shape(target)?, Dtype::F16, load, &method).peak_bytes.0 as f64;
    let point = |choice: &s3d_data::PlanResult| {
        let tokens = choice.tokens_per_iteration?;
        let gain = ideal_gain(choice.drafting, tokens, choice.skip_ratio, PREDICTORS);
        let speed = gain.map(|times| plain * times);
        let simultaneous = choice.drafting == s3d_data::Drafting::Simultaneous;
        let words = format!("S3D {} (modelled)", choice.plan);
        simultaneous.then(|| Point::new(bytes, speed, words).labelled())
    };
    let choices = input.runs.iter().filter_map(|run| run.recommendation.choice.as_ref());
    Ok(choices.filter_map(point).collect())
}
