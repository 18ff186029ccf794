//! Acceptance: against the skip ratio, by task, by iteration, by training step.

use crate::figure::{Axis, Bar, Figure, Mark, Point, Quantity, Series, Stroke, Symbol};
use crate::input::ReportInput;
use crate::palette::Hue;
use s3d_data::{AcceptancePoint, Drafting, Fit};

/// Acceptance rate of each draft position against the skip ratio, with the best fitted curve.
pub fn acceptance(input: &ReportInput, drafting: Drafting) -> Figure {
    let x = Axis::new("share of layers skipped (beta)", Quantity::Number).reach(0.0);
    let y = Axis::new("acceptance of draft i, given those before it (alpha)", Quantity::Number);
    let title = format!("Acceptance by skipped layers, {drafting} drafting");
    let name = format!("acceptance_{drafting}");
    let mut figure = Figure::new(&name, title, x, y.reach(0.0).reach(1.0)).caption(
        "Points: accepted over attempted drafts at the positions that decoding visits, with 95 % \
         intervals over prompts. Lines: the fitted curve of the family that explains them best.",
    );
    let Some(fit) = &input.fit else { return figure };
    let over_all = |point: &&AcceptancePoint| point.drafting == drafting && point.task.is_none();
    let points: Vec<_> = fit.acceptance.iter().filter(over_all).collect();
    let predictors = points.iter().map(|point| point.predictor).max().unwrap_or(0);
    for predictor in 1..=predictors {
        figure.series.extend(fitted(fit, drafting, predictor));
        figure.series.push(observed(&points, predictor, input.layers()));
    }
    figure
}

fn fitted(fit: &Fit, drafting: Drafting, predictor: usize) -> Option<Series> {
    let curve = fit
        .curves
        .iter()
        .find(|curve| curve.drafting == drafting && curve.predictor == predictor && curve.best)?;
    let mark = Mark::Line { points: curve.points.clone(), stroke: Stroke::Thin };
    Some(Series::unlisted(Hue::of_predictor(predictor), mark))
}

fn observed(points: &[&AcceptancePoint], predictor: usize, layers: usize) -> Series {
    let place = |point: &AcceptancePoint| {
        let words = format!(
            "draft {predictor} at {} skipped: {} of {} accepted, {}",
            point.skip, point.accepted, point.attempted, point.rate
        );
        Point::new(point.skipped as f64 / layers.max(1) as f64, point.rate, words)
    };
    let of_predictor = points.iter().filter(|point| point.predictor == predictor);
    let points = of_predictor.map(|point| place(point)).collect();
    let symbol = Symbol::of_index(predictor.saturating_sub(1));
    let mark = Mark::Points { points, symbol };
    Series::new(format!("draft {predictor}"), Hue::of_predictor(predictor), mark)
}

/// Acceptance of each draft position at the choice's skip, one line per workload.
pub fn acceptance_by_task(input: &ReportInput) -> Figure {
    let x = Axis::new("draft position", Quantity::Count);
    let y = Axis::new("acceptance, given the drafts before it", Quantity::Number);
    let title = "Acceptance by draft position and workload";
    let mut figure = Figure::new("acceptance_by_task", title, x, y.reach(0.0).reach(1.0))
        .caption("At the chosen window. Workloads that lie apart are worth a plan of their own.");
    let (Some(fit), Some(choice)) = (&input.fit, &input.recommendation.choice) else {
        return figure;
    };
    let Some(draft) = choice.plan.draft() else { return figure };
    let skip = draft.skip.to_string();
    let here: Vec<_> = fit
        .acceptance
        .iter()
        .filter(|point| point.drafting == draft.drafting && point.skip == skip)
        .collect();
    let tasks: std::collections::BTreeSet<_> =
        here.iter().filter_map(|point| point.task.as_deref()).collect();
    for (index, task) in tasks.into_iter().enumerate() {
        figure.series.extend(task_series(&here, task, index));
    }
    figure
}

fn task_series(here: &[&AcceptancePoint], task: &str, index: usize) -> [Series; 2] {
    let place = |point: &&&AcceptancePoint| {
        let words = format!("{task}, draft {}: {}", point.predictor, point.rate);
        Point::new(point.predictor as f64 + 0.06 * index as f64, point.rate, words)
    };
    let mine = here.iter().filter(|point| point.task.as_deref() == Some(task));
    let points: Vec<_> = mine.map(|point| place(&point)).collect();
    let line = points.iter().map(|point| (point.x, point.y.value)).collect();
    let (hue, symbol) = (Hue::of_index(index), Symbol::of_index(index));
    [
        Series::unlisted(hue, Mark::Line { points: line, stroke: Stroke::Thin }),
        Series::new(task, hue, Mark::Points { points, symbol }),
    ]
}

/// How many drafts the choice's iterations accept.
pub fn accepted(input: &ReportInput) -> Figure {
    let rows = || input.accepted.iter().rev(); // places count upwards; none accepted stands on top
    let names = rows().map(|row| format!("{} accepted", row.accepted)).collect();
    let x = Axis::new("share of iterations", Quantity::Number).reach(0.0);
    let title = "Iterations by number of accepted drafts";
    let bars = rows().enumerate().map(|(index, row)| Bar {
        at: index as f64,
        thickness: 0.7,
        from: 0.0,
        to: row.share,
        text: format!("{} accepted: {} of iterations", row.accepted, row.share),
    });
    let series = Series::unlisted(Hue::Blue, Mark::Bars { bars: bars.collect() });
    Figure::new("accepted", title, x, Axis::categories("", names))
        .caption("Of the chosen plan; every iteration commits one token more than it accepts.")
        .with(series)
}

/// The training parameter against training steps.
pub fn training(input: &ReportInput) -> Figure {
    let x = Axis::new("training steps", Quantity::Count).reach(0.0);
    let y = Axis::new("training parameter (U)", Quantity::Number).reach(0.0);
    let mut figure = Figure::new("training", "What training buys", x, y)
        .caption("The shape parameter of the fitted acceptance curve; higher drafts better.");
    for (index, drafting) in Drafting::ALL.into_iter().enumerate() {
        let mine = input.training.iter().filter(|point| point.drafting == drafting);
        let point = |p: &crate::input::TrainingPoint| {
            let words = format!("{drafting}, {} steps: {}", p.steps, p.training);
            Point::new(p.steps as f64, p.training, words)
        };
        let points: Vec<_> = mine.map(point).collect();
        let mark = Mark::Points { points, symbol: Symbol::of_index(index) };
        figure.series.push(Series::new(drafting.name(), Hue::of_drafting(drafting), mark));
    }
    figure
}
