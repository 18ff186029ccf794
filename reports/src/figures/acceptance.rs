//! Acceptance: against the skip ratio, by task, by iteration, by training step.

use crate::draw::palette::Hue;
use crate::figure::{Axis, Bar, Figure, Mark, Point, Quantity, Series, Stroke, Symbol};
use crate::input::ReportInput;
use s3d_data::{AcceptancePoint, CurveFit, Drafting, Fit, Share, SkipWindow};

/// How far workloads stand apart at one draft position.
const TASK_SHIFT: f64 = 0.16;

/// Acceptance rate against the skip ratio, one panel per draft position, with all fitted families.
pub fn acceptance(input: &ReportInput, drafting: Drafting) -> Figure {
    let x = Axis::new("share of layers skipped (beta)", Quantity::Number);
    let y = Axis::new("acceptance of draft i, given those before it (alpha)", Quantity::Number);
    let title = format!("Acceptance by skipped layers, {drafting} drafting");
    let name = format!("acceptance_{drafting}");
    let mut figure = Figure::new(&name, title, x, y).caption(
        "Points: accepted over attempted drafts at the positions that decoding visits, windows in \
         the \
         middle of the model, with 95 % intervals over prompts. Lines: the fitted families; the \
         strong one, named above each panel, \
         explains the points best (AIC).",
    );
    let Some(fit) = &input.fit else { return figure };
    let over_all = |point: &&AcceptancePoint| point.drafting == drafting && point.task.is_none();
    let points = middle_first(fit.acceptance.iter().filter(over_all).collect(), input.layers());
    let predictors = points.iter().map(|point| point.predictor).max().unwrap_or(0);
    let panel = |predictor| panel(fit, &points, drafting, predictor, input.layers());
    figure.panels = (1..=predictors).map(panel).collect();
    figure
}

/// The points of windows in the middle of the model where there are any, else all: a search over
/// every window has hundreds at each skip ratio.
fn middle_first(points: Vec<&AcceptancePoint>, layers: usize) -> Vec<&AcceptancePoint> {
    let middle = |point: &AcceptancePoint| {
        let window = SkipWindow::symmetric(layers, point.skipped);
        window.is_ok_and(|window| window.to_string() == point.skip)
    };
    let inner: Vec<_> = points.iter().copied().filter(|point| middle(point)).collect();
    if inner.is_empty() { points } else { inner }
}

/// The panel of one draft position; its axes are named by the whole figure.
fn panel(
    fit: &Fit,
    points: &[&AcceptancePoint],
    drafting: Drafting,
    predictor: usize,
    layers: usize,
) -> Figure {
    let axis = || Axis::new("", Quantity::Number).reach(0.0).reach(1.0);
    let of = |curve: &&CurveFit| curve.drafting == drafting && curve.predictor == predictor;
    let curves = || fit.curves.iter().filter(of);
    let best = curves().find(|curve| curve.best);
    let family = best.map(|curve| format!(": {}", curve.family)).unwrap_or_default();
    let mut figure = Figure::new("", format!("draft {predictor}{family}"), axis(), axis());
    figure.series = curves().map(fitted).collect();
    figure.series.push(observed(points, predictor, layers));
    figure
}

fn fitted(curve: &CurveFit) -> Series {
    let stroke = if curve.best { Stroke::Bold } else { Stroke::Fine };
    let mark = Mark::Line { points: curve.points.clone(), stroke };
    Series::new(curve.family.name(), Hue::of_family(curve.family), mark)
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
    Series::new("measured", Hue::Ink, Mark::Points { points, symbol: Symbol::Dot })
}

/// Acceptance of each draft position at the choice's skip, one line per workload.
pub fn acceptance_by_task(input: &ReportInput) -> Figure {
    let x = Axis::new("draft position", Quantity::Count);
    let y = Axis::new("acceptance, given the drafts before it", Quantity::Number);
    let title = "Acceptance by draft position and workload";
    let mut figure = Figure::new("acceptance_by_task", title, x, y.reach(0.0).reach(1.0)).caption(
        "At the chosen window. Workloads with clearly different acceptance may need \
            different plans.",
    );
    let (Some(fit), Some(choice)) = (&input.fit, &input.recommendation.choice) else {
        return figure;
    };
    let Some(draft) = choice.plan.draft() else { return figure };
    let skip = draft.skip.to_string();
    let here: Vec<_> = fit
        .acceptance
        .iter()
        .filter(|point| point.drafting == draft.drafting && point.skip == skip)
        .filter(|point| point.predictor <= choice.predictors)
        .collect();
    let tasks: std::collections::BTreeSet<_> =
        here.iter().filter_map(|point| point.task.as_deref()).collect();
    let middle = (tasks.len() as f64 - 1.0) / 2.0;
    for (index, task) in tasks.into_iter().enumerate() {
        let shift = TASK_SHIFT * (index as f64 - middle);
        figure.series.extend(task_series(&here, task, index, shift));
    }
    figure
}

fn task_series(here: &[&AcceptancePoint], task: &str, index: usize, shift: f64) -> [Series; 2] {
    let place = |point: &&&AcceptancePoint| {
        let words = format!("{task}, draft {}: {}", point.predictor, point.rate);
        Point::new(point.predictor as f64 + shift, point.rate, words)
    };
    let mine = here.iter().filter(|point| point.task.as_deref() == Some(task));
    let points: Vec<_> = mine.map(|point| place(&point)).collect();
    let line = points.iter().map(|point| (point.x, point.y.value)).collect();
    let (hue, symbol) = (Hue::of_index(index), Symbol::of_index(index));
    [
        Series::unlisted(hue, Mark::Line { points: line, stroke: Stroke::Fine }),
        Series::new(task, hue, Mark::Points { points, symbol }),
    ]
}

/// How many drafts the choice's iterations accept.
pub fn accepted(input: &ReportInput) -> Figure {
    // Places count upwards; none accepted stands on top.
    let rows = || input.accepted.iter().enumerate().rev();
    let names = rows().map(|(accepted, _)| format!("{accepted} accepted")).collect();
    let x = Axis::new("share of iterations", Quantity::Number).reach(0.0);
    let title = "Iterations by number of accepted drafts";
    let bars = rows().enumerate().map(|(index, (accepted, share))| Bar {
        at: index as f64,
        thickness: 0.7,
        from: 0.0,
        to: *share,
        text: format!("{accepted} accepted: {share} of iterations"),
        label: Share(share.value).to_string(),
    });
    let series = Series::unlisted(Hue::Blue, Mark::Bars { bars: bars.collect() });
    Figure::new("accepted", title, x, Axis::categories("", names))
        .caption("Of the chosen plan; every iteration commits one token more than it accepts.")
        .with(series)
}
