//! Skipped layers against speedup: the figure that the whole job leads to.
//!
//! One number of drafts is the answer and has the colour; the others stand thin behind it, named at
//! their ends.

use crate::draw::palette::Hue;
use crate::figure::{Axis, Figure, Mark, Note, Point, Quantity, Series, Stroke, Symbol};
use crate::input::ReportInput;
use crate::words::plan_words;
use s3d_data::{Drafting, Estimate};
use s3d_simulator::PlanEvaluation;
use std::collections::{BTreeMap, BTreeSet};

/// How far measured points at one place stand apart at most, in layers.
const DODGE: f64 = 0.16;

/// How wide all measured points of one place are together at most, in layers.
const PLACE: f64 = 0.7;

/// One predicted curve per number of drafted tokens, measured points with intervals on top.
pub fn speedup(input: &ReportInput, drafting: Drafting) -> Figure {
    let x = Axis::new(format!("layers skipped, of {}", input.layers()), Quantity::Count);
    let words = "speedup over plain decoding (times)";
    let y = Axis::new(words, Quantity::Number).of_ratios();
    let title = format!("Speedup by skipped layers, {drafting}");
    let mut figure = Figure::new(&format!("speedup_{drafting}"), title, x, y);
    let cells: Vec<_> =
        input.grid.iter().filter(|cell| cell.drafting() == Some(drafting)).collect();
    let symmetric: Vec<_> =
        cells.iter().copied().filter(|cell| cell.is_symmetric(input.layers())).collect();
    let Some(drafts) = drafts(&symmetric, &cells, input) else { return figure };
    figure.caption = format!(
        "Lines: predicted from measured pass times and acceptance, for windows in the middle of the \
         model; in colour drafts of {drafts}, with their 95 % interval; grey the other numbers of \
         drafted tokens, named at their ends. Points: measured end to end, of any window (grey: without their intervals, which \
         stand in the tables)."
    );
    figure.notes.push(Note::Level { y: 1.0, text: "plain decoding".into() });
    figure.series = others(&symmetric, drafts);
    figure.series.extend(measured(&cells, input, |cell| cell.predictors() != drafts));
    figure.series.push(band(&symmetric, drafts));
    figure.series.push(ideal(&symmetric, drafts));
    figure.series.push(curve(&symmetric, drafts));
    figure.series.extend(measured(&cells, input, |cell| cell.predictors() == drafts));
    figure.series.extend(ring(&cells, input));
    figure
}

/// The number of drafts in colour: the chosen one, else the one with the highest predicted curve.
fn drafts(
    symmetric: &[&PlanEvaluation],
    all: &[&PlanEvaluation],
    input: &ReportInput,
) -> Option<usize> {
    let chosen = all.iter().find(|cell| Some(&cell.plan) == input.chosen());
    let value = |cell: &PlanEvaluation| cell.prediction().map_or(f64::NEG_INFINITY, |p| p.value);
    let best = symmetric.iter().max_by(|a, b| value(a).total_cmp(&value(b)))?;
    Some(chosen.unwrap_or(best).predictors())
}

/// `(skipped, value)` of the cells with `drafts`, rising.
fn points(
    cells: &[&PlanEvaluation],
    drafts: usize,
    value: impl Fn(&PlanEvaluation) -> Option<f64>,
) -> Vec<(f64, f64)> {
    let mut points: Vec<_> = cells
        .iter()
        .filter(|cell| cell.predictors() == drafts)
        .filter_map(|cell| Some((cell.skipped() as f64, value(cell)?)))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

fn predicted(cells: &[&PlanEvaluation], drafts: usize) -> Vec<(f64, f64)> {
    points(cells, drafts, |cell| cell.prediction().map(|p| p.value))
}

fn curve(cells: &[&PlanEvaluation], drafts: usize) -> Series {
    let mark = Mark::Line { points: predicted(cells, drafts), stroke: Stroke::Bold };
    Series::new(format!("draft {drafts}"), Hue::Blue, mark).ending(drafts.to_string())
}

/// The other numbers of drafts, under one entry of the legend.
fn others(cells: &[&PlanEvaluation], drafts: usize) -> Vec<Series> {
    let counts: BTreeSet<_> = cells.iter().map(|cell| cell.predictors()).collect();
    let line = |(index, count): (usize, usize)| {
        let mark = Mark::Line { points: predicted(cells, count), stroke: Stroke::Fine };
        let series = match index {
            0 => Series::new("other numbers of drafts", Hue::Grey, mark),
            _ => Series::unlisted(Hue::Grey, mark),
        };
        series.ending(count.to_string())
    };
    counts.into_iter().filter(|count| *count != drafts).enumerate().map(line).collect()
}

/// The 95 % intervals of predictions, cut as those of points are.
fn band(cells: &[&PlanEvaluation], drafts: usize) -> Series {
    let axis = Axis::new("", Quantity::Number).of_ratios();
    let end = |pick: fn((f64, f64)) -> f64| {
        points(cells, drafts, |cell| {
            let predicted = cell.prediction().filter(|p| p.interval().is_some())?;
            Some(pick(axis.shown(&predicted)))
        })
    };
    let ends = end(|ends| ends.0).into_iter().zip(end(|ends| ends.1));
    let points = ends.map(|((x, low), (_, high))| (x, low, high)).collect();
    Series::new("95 % interval", Hue::Blue, Mark::Band { points })
}

/// What the paper's ideal cost would give with the measured acceptance.
fn ideal(cells: &[&PlanEvaluation], drafts: usize) -> Series {
    let mark = Mark::Line {
        points: points(cells, drafts, |cell| cell.ideal_speedup),
        stroke: Stroke::Dashed,
    };
    Series::new(format!("ideal cost, draft {drafts}"), Hue::Blue, mark)
}

/// Measured points of the cells that `wanted` lets through; the choice's number in colour.
fn measured(
    cells: &[&PlanEvaluation],
    input: &ReportInput,
    wanted: impl Fn(&PlanEvaluation) -> bool,
) -> Option<Series> {
    let places = places(cells);
    let point = |cell: &&PlanEvaluation| {
        Some(Point::new(
            *places.get(&cell.plan.to_string())?,
            cell.measured_speedup?,
            plan_words(cell),
        ))
    };
    let points: Vec<Point> =
        cells.iter().copied().filter(|cell| wanted(cell)).filter_map(|cell| point(&cell)).collect();
    let drafts = cells.iter().find(|cell| Some(&cell.plan) == input.chosen())?.predictors();
    let coloured = cells.iter().any(|cell| wanted(cell) && cell.predictors() == drafts);
    Some(match coloured {
        true => Series::new("measured", Hue::Blue, Mark::Points { points, symbol: Symbol::Circle }),
        false => Series::unlisted(Hue::Grey, Mark::Points { points, symbol: Symbol::Speck }),
    })
}

/// Where each measured plan stands: those that skip equally many layers beside each other.
fn places(cells: &[&PlanEvaluation]) -> BTreeMap<String, f64> {
    let mut by_skipped: BTreeMap<usize, Vec<&PlanEvaluation>> = BTreeMap::new();
    for cell in cells.iter().filter(|cell| cell.measured_speedup.is_some()) {
        by_skipped.entry(cell.skipped()).or_default().push(cell);
    }
    let mut places = BTreeMap::new();
    for (skipped, mut plans) in by_skipped {
        plans.sort_by_key(|cell| (cell.predictors(), cell.plan.to_string()));
        let step = DODGE.min(PLACE / plans.len() as f64);
        let middle = (plans.len() as f64 - 1.0) / 2.0;
        for (index, cell) in plans.iter().enumerate() {
            let shift = step * (index as f64 - middle);
            places.insert(cell.plan.to_string(), skipped as f64 + shift);
        }
    }
    places
}

/// A ring around the choice, where it was measured or else predicted.
fn ring(cells: &[&PlanEvaluation], input: &ReportInput) -> Option<Series> {
    let cell = cells.iter().find(|cell| Some(&cell.plan) == input.chosen())?;
    let y = Estimate::exact(cell.measured_speedup.or(cell.prediction())?.value);
    let x = places(cells).get(&cell.plan.to_string()).copied().unwrap_or(cell.skipped() as f64);
    let points = vec![Point::new(x, y, format!("choice: {}", plan_words(cell)))];
    Some(Series::new("choice", Hue::Ink, Mark::Points { points, symbol: Symbol::Ring }))
}
