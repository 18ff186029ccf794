//! What training buys: the training parameter (`U` in the paper) against training steps, over
//! checkpoints of one model.

use crate::draw::palette::Hue;
use crate::figure::{Axis, Figure, Mark, Point, Quantity, Series, Stroke, Symbol};
use crate::input::NamedRun;
use crate::table::{Cell, Column, Table};
use s3d_data::{CurveFit, Drafting, Estimate};
use std::collections::{BTreeMap, BTreeSet};

/// Draft positions that the figure shows; later ones are reached too rarely to be fitted well.
const SHOWN: usize = 4;

/// Intervals are drawn up to this many times the largest value: a flat curve fits every large `U`.
const CUT: f64 = 2.0;

/// A checkpoint's training parameter for one draft position.
struct TrainingPoint<'a> {
    run: &'a str,
    steps: u64,
    drafting: Drafting,
    predictor: usize,
    family: &'a str,
    training: Estimate,
    ceiling: Option<Estimate>,
}

/// All points of the comparison; none unless two checkpoints of one shape differ in their steps.
fn points(runs: &[NamedRun]) -> Vec<TrainingPoint<'_>> {
    let mut shapes = runs.iter().map(|run| &run.input.header.model.shape);
    let first = shapes.next();
    let alike = shapes.all(|shape| Some(shape) == first); // checkpoints go by names of their own
    let steps: BTreeSet<_> =
        runs.iter().filter_map(|run| run.input.header.model.training_steps).collect();
    if !alike || steps.len() < 2 {
        return Vec::new();
    }
    let mut points: Vec<_> = Drafting::ALL.into_iter().flat_map(|d| of_drafting(runs, d)).collect();
    points.sort_by_key(|point| (point.drafting, point.predictor, point.steps));
    points
}

/// The points of one drafting, all of one family: a `U` means something within its family alone.
fn of_drafting(runs: &[NamedRun], drafting: Drafting) -> Vec<TrainingPoint<'_>> {
    let Some(family) = family(runs, drafting) else { return Vec::new() };
    let point = |run: &'_ NamedRun, curve: &'_ CurveFit| {
        let parameter = |name: &str| {
            curve.parameters.iter().find(|known| known.name == name).map(|known| known.estimate)
        };
        Some((run.input.header.model.training_steps?, parameter("u")?, parameter("ceiling")))
    };
    let mut points = Vec::new();
    for run in runs {
        for curve in curves(run, drafting).filter(|curve| curve.family.name() == family) {
            let Some((steps, training, ceiling)) = point(run, curve) else { continue };
            points.push(TrainingPoint {
                run: &run.name,
                steps,
                drafting,
                predictor: curve.predictor,
                family,
                training,
                ceiling,
            });
        }
    }
    points
}

fn curves(run: &NamedRun, drafting: Drafting) -> impl Iterator<Item = &CurveFit> {
    let curves = run.input.fit.iter().flat_map(|fit| &fit.curves);
    curves.filter(move |curve| curve.drafting == drafting && curve.predictor <= SHOWN)
}

/// Of the families with a `U`, the one that most often fits a draft position of a run best (AIC).
fn family(runs: &[NamedRun], drafting: Drafting) -> Option<&str> {
    let mut wins: BTreeMap<&str, usize> = BTreeMap::new();
    for run in runs {
        for predictor in 1..=SHOWN {
            let with_u = curves(run, drafting)
                .filter(|curve| curve.predictor == predictor)
                .filter(|curve| curve.parameters.iter().any(|known| known.name == "u"));
            let best = with_u.min_by(|a, b| a.aic.total_cmp(&b.aic));
            *wins.entry(best.map_or("", |curve| curve.family.name())).or_default() += 1;
        }
    }
    wins.remove("");
    wins.into_iter().max_by_key(|(_, count)| *count).map(|(family, _)| family)
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
    let words = format!("{}, {} steps: U = {}", point.run, point.steps, point.training);
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
            Cell::text(point.run),
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
