//! Skipped layers against speedup: the figure that the whole job leads to.

use crate::draw::palette::Hue;
use crate::figure::{Axis, Figure, Mark, Note, Point, Quantity, Series, Stroke, Symbol};
use crate::input::{GridCell, ReportInput};
use s3d_data::Drafting;

/// How far measured points of neighbouring numbers of drafts stand apart, in layers.
const DODGE: f64 = 0.06;

/// One predicted curve per number of drafted tokens, measured points with intervals on top.
pub fn speedup(input: &ReportInput, drafting: Drafting) -> Figure {
    let x = Axis::new(format!("layers skipped, of {}", input.layers()), Quantity::Count);
    let y = Axis::new("speedup (times): lines predicted, points measured", Quantity::Number);
    let title = format!("Speedup by skipped layers, {drafting} drafting");
    let mut figure = Figure::new(&format!("speedup_{drafting}"), title, x, y).caption(
        "Lines: predicted from measured pass times and acceptance, one per number of drafted \
         tokens; windows in the middle of the model; band: 95 % interval of the chosen number. \
         Points: measured end to end, with their 95 % \
         intervals. Ring: the choice.",
    );
    let cells: Vec<_> = input.grid.iter().filter(|cell| cell.drafting == drafting).collect();
    let symmetric: Vec<_> =
        cells.iter().copied().filter(|cell| cell.is_symmetric(input.layers())).collect();
    if symmetric.is_empty() {
        return figure;
    }
    let chosen = input.chosen();
    let chosen_predictors =
        cells.iter().find(|cell| Some(&cell.plan) == chosen).map(|cell| cell.predictors);
    figure.notes.push(Note::Level { y: 1.0, text: "plain decoding".into() });
    figure.series = curves(&symmetric, chosen_predictors);
    figure.series.extend(band(&symmetric, chosen_predictors));
    figure.series.extend(ideal(&symmetric, chosen_predictors));
    figure.series.extend(measured(&symmetric));
    figure.series.extend(ring(&symmetric, input));
    figure
}

/// The numbers of drafted tokens that occur, rising.
fn predictors(cells: &[&GridCell]) -> Vec<usize> {
    let all: std::collections::BTreeSet<_> = cells.iter().map(|cell| cell.predictors).collect();
    all.into_iter().collect()
}

/// `(skipped, value)` of the cells with `predictors`, rising.
fn points(
    cells: &[&GridCell],
    predictors: usize,
    value: impl Fn(&GridCell) -> Option<f64>,
) -> Vec<(f64, f64)> {
    let mut points: Vec<_> = cells
        .iter()
        .filter(|cell| cell.predictors == predictors)
        .filter_map(|cell| Some((cell.skipped as f64, value(cell)?)))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

fn curves(cells: &[&GridCell], chosen: Option<usize>) -> Vec<Series> {
    let curve = |count: usize| {
        let stroke = if Some(count) == chosen { Stroke::Bold } else { Stroke::Thin };
        let points = points(cells, count, |cell| cell.predicted.map(|p| p.value));
        Series::new(
            format!("draft {count}"),
            Hue::of_predictor(count),
            Mark::Line { points, stroke },
        )
    };
    predictors(cells).into_iter().map(curve).collect()
}

/// The 95 % intervals of the chosen draft length's predictions.
fn band(cells: &[&GridCell], chosen: Option<usize>) -> Option<Series> {
    let low = points(cells, chosen?, |cell| cell.predicted?.low);
    let high = points(cells, chosen?, |cell| cell.predicted?.high);
    let corners = low.into_iter().zip(high).map(|((x, low), (_, high))| (x, low, high)).collect();
    let hue = Hue::of_predictor(chosen?);
    Some(Series::new("95 % interval", hue, Mark::Band { points: corners }))
}

/// What the paper's ideal cost would give with the measured acceptance, for the chosen draft
/// length.
fn ideal(cells: &[&GridCell], chosen: Option<usize>) -> Option<Series> {
    let points = points(cells, chosen?, |cell| cell.ideal);
    let mark = Mark::Line { points, stroke: Stroke::Dashed };
    Some(Series::new(format!("ideal cost, draft {}", chosen?), Hue::of_predictor(chosen?), mark))
}

fn measured(cells: &[&GridCell]) -> Vec<Series> {
    let counts = predictors(cells);
    let middle = (counts.len() as f64 - 1.0) / 2.0;
    let series = |(index, count): (usize, &usize)| {
        let shift = (index as f64 - middle) * DODGE;
        let point = |cell: &&&GridCell| {
            Some(Point::new(cell.skipped as f64 + shift, cell.measured?, cell.words()))
        };
        let of_count = cells.iter().filter(|cell| cell.predictors == *count);
        let points = of_count.filter_map(|cell| point(&cell)).collect();
        let symbol = Symbol::of_index(count.saturating_sub(1));
        Series::unlisted(Hue::of_predictor(*count), Mark::Points { points, symbol })
    };
    counts.iter().enumerate().map(series).collect()
}

/// A ring around the choice, where it was measured or else predicted.
fn ring(cells: &[&GridCell], input: &ReportInput) -> Option<Series> {
    let cell = cells.iter().find(|cell| Some(&cell.plan) == input.chosen())?;
    let counts = predictors(cells);
    let index = counts.iter().position(|count| *count == cell.predictors)?;
    let shift = (index as f64 - (counts.len() as f64 - 1.0) / 2.0) * DODGE;
    let (x, y) = match cell.measured {
        Some(measured) => (cell.skipped as f64 + shift, measured),
        None => (cell.skipped as f64, cell.predicted?),
    };
    let y = s3d_data::Estimate::exact(y.value);
    let points = vec![Point::new(x, y, format!("choice: {}", cell.words()))];
    Some(Series::new("choice", Hue::Ink, Mark::Points { points, symbol: Symbol::Ring }))
}
