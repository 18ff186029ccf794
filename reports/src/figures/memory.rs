//! Speed against peak memory.

use crate::draw::palette::Hue;
use crate::draw::scale;
use crate::figure::{Axis, Figure, Mark, Note, Point, Quantity, Series, Stroke, Symbol};
use crate::input::ReportInput;
use s3d_data::{Bytes, Drafting, Estimate};
use s3d_simulator::PlanEvaluation;
use s3d_simulator::choose::speed_memory::SpeedMemory;

/// Memory that differs by less than this share of it is drawn as differing little.
const LEAST_SPAN: f64 = 0.08;

/// Lines of equal speed per memory in one figure, about.
const LINES: usize = 4;

/// Tokens per second against peak memory, with the Pareto front, the budget, and lines of equal
/// tokens/s per GiB.
pub fn speed_memory(input: &ReportInput) -> Figure {
    let x = Axis::new("peak memory", Quantity::Bytes).span(LEAST_SPAN);
    let y = Axis::new("tokens per second", Quantity::Number).reach(0.0).of_ratios();
    let mut figure = Figure::new("speed_memory", "Speed against peak memory", x, y).caption(
        "The fastest plan of each number of drafts, plans that were measured, and plans that no \
         other \
         beats on both speed and memory (joined by the line). Dashed: equal speed per memory. The \
         ring is the choice, with its 95 % interval; those of the others stand in the tables.",
    );
    let Some(plans) = SpeedMemory::of(&input.grid) else { return figure };
    let line = plans.front.iter().filter_map(|plan| place(plan)).collect();
    let mark = Mark::Line { points: line, stroke: Stroke::Thin };
    figure.series.push(Series::new("best for its memory", Hue::Green, mark));
    for (index, drafting) in Drafting::ALL.into_iter().enumerate() {
        let mine = input.grid.iter().filter(|plan| plan.drafting() == Some(drafting));
        let shown = mine.filter(|plan| plans.stands_out(plan));
        let points = shown.filter_map(|plan| point(plan, plans.on_front(plan))).collect();
        let mark = Mark::Points { points, symbol: Symbol::of_index(index) };
        figure.series.push(Series::new(drafting.name(), Hue::of_drafting(drafting), mark));
    }
    figure.series.extend(plain(input));
    figure.series.extend(choice(input));
    if figure.is_empty() {
        return figure;
    }
    if let Some(Bytes(budget)) = input.header.memory_budget_bytes {
        let text = format!("memory budget {}", Bytes(budget));
        figure.notes.push(Note::Limit { x: budget as f64, text });
    }
    let lines = equal_lines(&figure);
    figure.series.extend(lines);
    figure
}

/// Plain decoding, where its speed and memory are known.
fn plain(input: &ReportInput) -> Option<Series> {
    let speed = input.recommendation.baseline.tokens_per_s?;
    let bytes = input.plain_memory_bytes?;
    let words = format!("plain: {speed:.1} tokens/s, {}", Bytes(bytes));
    let points = vec![Point::new(bytes as f64, speed, words)];
    Some(Series::new("plain decoding", Hue::Grey, Mark::Points { points, symbol: Symbol::Square }))
}

/// A ring around the choice.
fn choice(input: &ReportInput) -> Option<Series> {
    let cell = input.grid.iter().find(|cell| Some(&cell.plan) == input.chosen())?;
    let (x, _) = place(cell)?;
    let points = vec![Point::new(x, cell.tokens_per_s?, words(cell))];
    Some(Series::new("choice", Hue::Ink, Mark::Points { points, symbol: Symbol::Ring }))
}

/// Rays of equal tokens/s per GiB across the figure, at round rates up to the highest point's; one
/// legend entry names all rates, from the lowest line up.
pub fn equal_lines(figure: &Figure) -> Vec<Series> {
    let mut points: Vec<&Point> = Vec::new();
    for series in &figure.series {
        if let Mark::Points { points: more, .. } = &series.mark {
            points.extend(more);
        }
    }
    let gib = |bytes: f64| Bytes(bytes.max(1.0) as u64).gib();
    let top = points.iter().map(|point| point.y.value / gib(point.x)).fold(0.0, f64::max);
    let mut rates = scale::ticks(0.0, top, LINES, Quantity::Number);
    rates.retain(|rate| *rate > 0.0);
    let names = scale::tick_labels(&rates, Quantity::Number);
    let label = format!("{} tokens/s per GiB", names.join(", "));
    let (low, high) = scale::range(figure, true);
    let highest = scale::range(figure, false).1;
    let line = |(index, rate): (usize, f64)| {
        // A ray ends where it leaves the figure.
        let end = high.min(Bytes::from_gib(highest / rate).0 as f64);
        let points = [low, end].map(|bytes| (bytes, rate * gib(bytes))).to_vec();
        let mark = Mark::Line { points, stroke: Stroke::Dashed };
        Series { label: (index == 0).then(|| label.clone()), hue: Hue::Muted, mark, end: None }
    };
    rates.into_iter().enumerate().map(line).collect()
}

/// Memory and speed of a plan, where both are known.
fn place(cell: &PlanEvaluation) -> Option<(f64, f64)> {
    Some((cell.peak_memory_bytes? as f64, cell.tokens_per_s?.value))
}

fn words(cell: &PlanEvaluation) -> String {
    let speed = cell.tokens_per_s.map(|speed| format!("{speed:.1} tokens/s, ")).unwrap_or_default();
    format!("{}: {speed}{}", cell.plan, Bytes(cell.peak_memory_bytes.unwrap_or(0)))
}

fn point(cell: &PlanEvaluation, on_front: bool) -> Option<Point> {
    let (x, y) = place(cell)?;
    let words = if on_front { cell.plan.to_string() } else { words(cell) };
    let point = Point::new(x, Estimate::exact(y), words);
    Some(if on_front { point.labelled() } else { point })
}
