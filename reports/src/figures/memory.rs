//! Speed against peak memory.

use crate::figure::{Axis, Figure, Mark, Note, Point, Quantity, Series, Stroke, Symbol};
use crate::input::{GridCell, ReportInput};
use crate::palette::Hue;
use s3d_data::{Bytes, Drafting};

/// Tokens per second against peak memory, with the Pareto front and the budget.
pub fn speed_memory(input: &ReportInput) -> Figure {
    let x = Axis::new("peak memory", Quantity::Bytes);
    let y = Axis::new("tokens per second", Quantity::Number).reach(0.0);
    let mut figure = Figure::new("speed_memory", "Speed against peak memory", x, y).caption(
        "Plans that skip the middle of the model, that were measured, or that no other beats on \
         both speed and memory (joined by the line). The ring is the choice.",
    );
    let front = front(&input.grid);
    let shown = |cell: &&GridCell| {
        cell.is_symmetric(input.layers()) || cell.measured.is_some() || on_front(cell, &front)
    };
    let line = front.iter().map(|(_, x, y)| (*x, *y)).collect();
    let mark = Mark::Line { points: line, stroke: Stroke::Dashed };
    figure.series.push(Series::new("best for its memory", Hue::Muted, mark));
    for (index, drafting) in Drafting::ALL.into_iter().enumerate() {
        let mine = input.grid.iter().filter(shown).filter(|cell| cell.drafting == drafting);
        let points = mine.filter_map(|cell| point(cell, &front)).collect();
        let mark = Mark::Points { points, symbol: Symbol::of_index(index) };
        figure.series.push(Series::new(drafting.name(), Hue::of_drafting(drafting), mark));
    }
    let chosen = input.grid.iter().find(|cell| Some(&cell.plan) == input.chosen());
    if let Some(point) = chosen.and_then(|cell| point(cell, &[])) {
        let mark = Mark::Points { points: vec![point], symbol: Symbol::Ring };
        figure.series.push(Series::new("choice", Hue::Ink, mark));
    }
    if let (Some(budget), false) = (input.header.memory_budget_bytes, figure.is_empty()) {
        let text = format!("memory budget {}", Bytes(budget));
        figure.notes.push(Note::Limit { x: budget as f64, text });
    }
    figure
}

fn on_front(cell: &GridCell, front: &[(&GridCell, f64, f64)]) -> bool {
    front.iter().any(|(other, ..)| std::ptr::eq(*other, cell))
}

/// Memory and speed of a plan, where both are known.
fn place(cell: &GridCell) -> Option<(f64, f64)> {
    Some((cell.peak_memory_bytes? as f64, cell.tokens_per_s?.value))
}

fn point(cell: &GridCell, front: &[(&GridCell, f64, f64)]) -> Option<Point> {
    let (x, _) = place(cell)?;
    let speed = cell.tokens_per_s?;
    let words = format!("{}: {speed:.1} tokens/s, {}", cell.plan, Bytes(x as u64));
    let on_front = on_front(cell, front);
    let point = Point::new(x, speed, if on_front { cell.plan.to_string() } else { words });
    Some(if on_front { point.labelled() } else { point })
}

/// The plans that no other beats on both speed and memory, by rising memory.
fn front(grid: &[GridCell]) -> Vec<(&GridCell, f64, f64)> {
    let mut all: Vec<_> =
        grid.iter().filter_map(|cell| place(cell).map(|(x, y)| (cell, x, y))).collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1).then(b.2.total_cmp(&a.2)));
    let mut best = f64::NEG_INFINITY;
    all.retain(|&(_, _, speed)| {
        let kept = speed > best;
        best = best.max(speed);
        kept
    });
    all
}
