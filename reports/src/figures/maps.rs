//! Maps of speedup: over skipped layers and drafted tokens, over a window's start and length.

use crate::draw::palette::Hue;
use crate::figure::{Axis, Figure, Mark, Quantity, Series, Tile, TileMark};
use crate::input::ReportInput;
use crate::words::plan_words;
use s3d_data::{Drafting, Estimate};
use s3d_simulator::PlanEvaluation;

/// Speedup over skipped layers x drafted tokens, windows in the middle of the model.
pub fn plan_map(input: &ReportInput, drafting: Drafting) -> Figure {
    let x = Axis::new(format!("layers skipped, of {}", input.layers()), Quantity::Count);
    let y = Axis::new("tokens drafted per iteration", Quantity::Count);
    let title = format!("Where speculation pays, {drafting}");
    let cells = input
        .grid
        .iter()
        .filter(|cell| cell.drafting() == Some(drafting) && cell.is_symmetric(input.layers()))
        .filter_map(|cell| heat(cell, cell.skipped(), cell.predictors(), input));
    Figure::new(&format!("map_{drafting}"), title, x, y)
        .caption(
            "Speedup over plain decoding, measured where it was, else predicted: blue gains, orange \
             loses, the line between is break-even. Framed: the choice; dots: plans that cannot be \
             told apart from it.",
        )
        .with(Series::unlisted(Hue::Blue, Mark::Heat { cells: cells.collect() }))
}

/// Speedup over start and length of the window, at the chosen number of drafted tokens;
/// empty unless other windows than the middle ones were compared.
pub fn window_map(input: &ReportInput, drafting: Drafting) -> Figure {
    let predictors = input.recommendation.choice.as_ref().map_or(0, |choice| choice.predictors);
    let x = Axis::new("first skipped layer", Quantity::Count);
    let y = Axis::new("layers skipped", Quantity::Count);
    let title = format!("Which layers to skip, {drafting}, {predictors} drafted");
    let mine: Vec<_> = input
        .grid
        .iter()
        .filter(|cell| cell.drafting() == Some(drafting) && cell.predictors() == predictors)
        .collect();
    let worth =
        mine.iter().any(|cell| cell.window().is_some() && !cell.is_symmetric(input.layers()));
    let cells = mine.into_iter().filter(|_| worth).filter_map(|cell| {
        let window = cell.window()?;
        heat(cell, window.start(), window.len(), input)
    });
    Figure::new(&format!("windows_{drafting}"), title, x, y)
        .caption(
            "Speedup over plain decoding of the windows that were compared, measured where it was, \
             else predicted. Layers count from 0.",
        )
        .with(Series::unlisted(Hue::Blue, Mark::Heat { cells: cells.collect() }))
}

fn heat(cell: &PlanEvaluation, x: usize, y: usize, input: &ReportInput) -> Option<Tile> {
    let value: Estimate = cell.measured_speedup.or(cell.prediction())?;
    let mark = match (Some(&cell.plan) == input.chosen(), cell.tie) {
        (true, _) => TileMark::Choice,
        (false, true) => TileMark::Tie,
        (false, false) => TileMark::None,
    };
    Some(Tile { x: x as i64, y: y as i64, value, mark, text: plan_words(cell) })
}
