//! Predicted against measured: how far the model of costs can be trusted.

use crate::draw::palette::Hue;
use crate::figure::{Axis, Figure, Mark, Point, Quantity, Series, Stroke, Symbol};
use crate::input::ReportInput;
use s3d_data::Drafting;
use s3d_simulator::predict::held_out::HeldOutPlan;

/// Plans that were measured but not used, with the band of 5 % around equality.
pub fn prediction(input: &ReportInput) -> Figure {
    let x = Axis::new("measured speedup (times)", Quantity::Number);
    let y = Axis::new("predicted speedup (times)", Quantity::Number).of_ratios();
    let figure = Figure::new("prediction", "Predicted against measured", x, y).caption(
        "Plans that were measured but not used to predict; bars: predicted 95 % intervals. On the \
         line the prediction is exact, inside the band it is off by at most 5 %.",
    );
    let speedups =
        || input.held_out.iter().flat_map(|plan| [plan.measured.value, plan.predicted.value]);
    let low = speedups().fold(f64::INFINITY, f64::min);
    let high = speedups().fold(f64::NEG_INFINITY, f64::max);
    if low > high {
        return figure;
    }
    let ends = [low, high];
    let band = ends.map(|end| (end, 0.95 * end, 1.05 * end)).to_vec();
    let line = ends.map(|end| (end, end)).to_vec();
    let mut figure =
        figure.with(Series::new("within 5 %", Hue::Muted, Mark::Band { points: band })).with(
            Series::new("equal", Hue::Muted, Mark::Line { points: line, stroke: Stroke::Dashed }),
        );
    for (index, drafting) in Drafting::ALL.into_iter().enumerate() {
        let mine = input.held_out.iter().filter(|plan| of(plan) == Some(drafting));
        let mark =
            Mark::Points { points: mine.map(point).collect(), symbol: Symbol::of_index(index) };
        figure.series.push(Series::new(drafting.name(), Hue::of_drafting(drafting), mark));
    }
    figure
}

fn of(plan: &HeldOutPlan) -> Option<Drafting> {
    plan.plan.draft().map(|draft| draft.drafting)
}

fn point(plan: &HeldOutPlan) -> Point {
    let words =
        format!("{}: measured {:#}, predicted {:#}", plan.plan, plan.measured, plan.predicted);
    Point::new(plan.measured.value, plan.predicted, words)
}
