//! The training parameter (`U` in the paper) against training steps, as a figure and a table.

use crate::draw::palette::Hue;
use crate::figure::{Axis, Figure, Mark, Point, Quantity, Series, Stroke, Symbol};
use crate::input::NamedRun;
use crate::table::{Cell, Column, Table};
use s3d_data::Drafting;
use s3d_simulator::explore::training_points::{Checkpoint, TrainingPoint, training_points};
use std::collections::BTreeSet;

/// Intervals are drawn up to this many times the largest value: a flat curve fits every large `U`.
const CUT: f64 = 2.0;

fn checkpoint(NamedRun { name, input }: &NamedRun) -> Checkpoint<'_> {
    Checkpoint { name, model: &input.header.model, fit: input.fit.as_ref() }
}

fn points(runs: &[NamedRun]) -> Vec<TrainingPoint<'_>> {
    training_points(&runs.iter().map(checkpoint).collect::<Vec<_>>())
}

/// The training parameter against training steps, one line per draft position.
pub(super) fn figure(runs: &[NamedRun], drafting: Drafting) -> Figure {
    let all = points(runs);
    let mine = || all.iter().filter(|point| point.drafting == drafting);
    let family = mine().next().map_or("", |point| point.family);
    let x = Axis::new("training steps", Quantity::Count).reach(0.0);
    let y = Axis::new(format!("training parameter U of the {family} curve"), Quantity::Number);
    let title = format!("What training buys, {drafting} drafting");
    let mut figure = Figure::new(&format!("training_{drafting}"), title, x, y.reach(0.0)).caption(
        "The shape parameter of the acceptance curve fitted to each checkpoint, with its 95 % \
         interval (drawn to twice the largest value); the higher, the more layers can be skipped \
         before \
         drafts are rejected.",
    );
    let top = CUT * mine().map(|point| point.training.value).fold(0.0, f64::max);
    let predictors: BTreeSet<_> = mine().map(|point| point.predictor).collect();
    for predictor in predictors {
        let of_predictor = mine().filter(|point| point.predictor == predictor);
        let points: Vec<_> = of_predictor.map(|point| place(point, top)).collect();
        let line = points.iter().map(|point| (point.x, point.y.value)).collect();
        let hue = Hue::of_predictor(predictor);
        let symbol = Symbol::of_index(predictor.saturating_sub(1));
        let line = Mark::Line { points: line, stroke: Stroke::Fine };
        figure.series.push(Series::unlisted(hue, line));
        let mark = Mark::Points { points, symbol };
        figure.series.push(Series::new(format!("draft {predictor}"), hue, mark));
    }
    figure
}

/// The point, its interval cut at `top`; its words hold the whole interval.
fn place(point: &TrainingPoint, top: f64) -> Point {
    let words = format!("{}, {} steps: U = {}", point.name, point.steps, point.training);
    let cut = point.training.map(|value| value.min(top));
    Point::new(point.steps as f64, cut, words)
}

/// The same as a table, the ceiling beside it.
pub(super) fn table(runs: &[NamedRun]) -> Table {
    let columns = vec![
        Column::new("run"),
        Column::new("training steps"),
        Column::new("drafting"),
        Column::new("draft"),
        Column::new("family"),
        Column::new("U"),
        Column::new("ceiling"),
    ];
    let rows = points(runs).into_iter().map(|point| {
        vec![
            Cell::text(point.name),
            Cell::Count(point.steps),
            Cell::text(point.drafting.name()),
            Cell::Count(point.predictor as u64),
            Cell::text(point.family),
            Cell::Estimate(point.training, 2),
            Cell::estimate(point.ceiling, 3),
        ]
    });
    Table::new("training", "The training parameter by training steps", columns)
        .note(
            "One family for all rows of a drafting: that which most often explains the points \
            best.",
        )
        .rows(rows)
}
