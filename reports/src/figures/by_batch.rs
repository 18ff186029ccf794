//! Many texts at once: the time of a pass by its rows, and the speedup by number of texts.

use crate::draw::palette::Hue;
use crate::figure::{Axis, Figure, Mark, Note, Point, Quantity, Series, Stroke, Symbol};
use crate::input::ReportInput;
use s3d_data::{BatchResult, Estimate};
use s3d_simulator::cost::summary::FullPass;

/// Time of a full pass against the rows of all texts together, a series for each number of texts.
pub fn pass_time_by_batch(input: &ReportInput) -> Figure {
    let x = Axis::new("rows of the pass, all texts together", Quantity::Count);
    let y = Axis::new("time of a full pass", Quantity::Seconds).reach(0.0).of_ratios();
    let mut figure = Figure::new("pass_time_by_batch", "What rows cost, by number of texts", x, y)
        .caption(
            "Rows share each reading of the weights; attention is each text's own. Where the lines \
             lie on each other, only the number of rows counts.",
        );
    if input.shared_passes.is_empty() {
        return figure;
    }
    let all = std::iter::once((1, &input.passes));
    let all = all.chain(input.shared_passes.iter().map(|shared| (shared.batch, &shared.passes)));
    for (index, (batch, passes)) in all.enumerate() {
        let point = |pass: &FullPass| {
            let rows = batch * pass.width;
            let time = crate::table::Cell::Seconds(pass.seconds).words();
            let words = format!("{batch} texts of {} rows: {time}", pass.width);
            Point::new(rows as f64, pass.seconds, words)
        };
        let name = if batch == 1 { "1 text".to_string() } else { format!("{batch} texts") };
        let points = passes.iter().map(point).collect();
        let mark = Mark::Points { points, symbol: Symbol::of_index(index) };
        figure = figure.with(Series::new(name, Hue::of_index(index), mark));
    }
    figure
}

/// Speedup of the best plan against the number of texts, predicted and measured. Numbers of texts
/// are evenly spaced places: most double from one to the next.
pub fn speedup_by_batch(input: &ReportInput) -> Figure {
    let rows = &input.recommendation.by_batch;
    let names = rows.iter().map(|row| row.batch.to_string()).collect();
    let x = Axis::categories("texts at once", names);
    let y = Axis::new("speedup over plain decoding of as many (times)", Quantity::Number);
    let figure = Figure::new("speedup_by_batch", "Speedup by number of texts", x, y.of_ratios())
        .caption(
            "The best plan for each number of texts, in lockstep, with 95 % intervals. The line is \
             the cost law's prediction; squares were measured end to end.",
        );
    if rows.is_empty() {
        return figure;
    }
    let points = |of: &dyn Fn(&BatchResult) -> Option<Estimate>| -> Vec<Point> {
        let point = |(place, row): (usize, &BatchResult)| {
            let speedup = of(row)?;
            let words = format!("{} texts: {} {speedup:#}", row.batch, row.plan);
            Some(Point::new(place as f64, speedup, words))
        };
        rows.iter().enumerate().filter_map(point).collect()
    };
    let predicted = rows.iter().map(|row| row.predicted_speedup.value).enumerate();
    let line = predicted.map(|(place, speedup)| (place as f64, speedup)).collect();
    figure
        .note(Note::Level { y: 1.0, text: "plain decoding".into() })
        .with(Series::unlisted(Hue::Blue, Mark::Line { points: line, stroke: Stroke::Thin }))
        .with(Series::new(
            "predicted",
            Hue::Blue,
            Mark::Points {
                points: points(&|row| Some(row.predicted_speedup)),
                symbol: Symbol::Circle,
            },
        ))
        .with(Series::new(
            "measured",
            Hue::Vermillion,
            Mark::Points { points: points(&|row| row.measured_speedup), symbol: Symbol::Square },
        ))
}
