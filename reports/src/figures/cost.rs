//! What an iteration costs: pass time by width, time by component, from ideal to measured.

use crate::draw::palette::Hue;
use crate::figure::{Axis, Bar, Figure, Mark, Point, Quantity, Series, Stroke, Symbol};
use crate::input::ReportInput;
use s3d_data::{Component, Drafting, Estimate, Seconds};
use s3d_simulator::cost::summary::{ComponentSeconds, FullPass, PassKind};
use s3d_simulator::validate::waterfall::WaterfallStep;
use std::collections::BTreeSet;

/// Time of a full pass against its width, beside the least time that the machine allows.
pub fn pass_time(input: &ReportInput) -> Figure {
    let x = Axis::new("tokens fed to the pass (width)", Quantity::Count);
    let y = Axis::new("time of a full pass", Quantity::Seconds).reach(0.0).of_ratios();
    let point = |pass: &FullPass| {
        let seconds = pass.seconds;
        let words =
            format!("width {}: {}", pass.width, crate::table::Cell::Seconds(seconds).words());
        Point::new(pass.width as f64, seconds, words)
    };
    let points = input.passes.iter().map(point).collect();
    let limit =
        input.passes.iter().filter_map(|pass| Some((pass.width as f64, pass.limit_seconds?)));
    let limit = Mark::Line { points: limit.collect(), stroke: Stroke::Dashed };
    let measured = Mark::Points { points, symbol: Symbol::Circle };
    Figure::new("pass_time", "What width costs", x, y)
        .caption(
            "Speculation needs a wide pass to cost little more than one token. Dashed: the least \
             time that the measured read bandwidth and multiply-add rate allow.",
        )
        .with(Series::new("limit of the machine", Hue::Muted, limit))
        .with(Series::new("measured", Hue::Blue, measured))
}

/// Time by component: a plain step beside the choice's draft pass and verify pass.
pub fn components(input: &ReportInput) -> Figure {
    let x = Axis::new("time in one pass, all its layers", Quantity::Seconds).reach(0.0).of_ratios();
    let kinds: Vec<_> = kinds(&input.components);
    let names = kinds.iter().map(|kind| name(*kind).into()).collect();
    let mut figure =
        Figure::new("components", "Where a pass spends its time", x, Axis::categories("", names))
            .caption(
                "Medians over passes in situ, with 95 % intervals; attention and MLP are sums over \
                 the layers of the pass, which are fewer in a draft pass.",
            );
    let shown = shown_passes(input);
    let thickness = 0.8 / shown.len().max(1) as f64;
    for (index, (label, hue, pass, width)) in shown.iter().enumerate() {
        let shift = (index as f64 - (shown.len() as f64 - 1.0) / 2.0) * thickness;
        let bar = |time: &ComponentSeconds| {
            let place = kinds.iter().position(|kind| *kind == time.component)?;
            let words =
                format!("{}, {label}: {}", name(time.component), Seconds(time.seconds.value));
            Some(Bar {
                // Places count upwards; the first pass stands on top.
                at: place as f64 - shift,
                thickness,
                from: 0.0,
                to: time.seconds,
                text: words,
                label: String::new(),
            })
        };
        let mine = input.components.iter().filter(|t| t.pass == *pass && t.width == *width);
        let mark = Mark::Bars { bars: mine.filter_map(bar).collect() };
        figure.series.push(Series::new(label, *hue, mark));
    }
    figure
}

/// A plain step and the choice's passes, as far as they were timed, with name and hue; without them
/// the widest full pass.
fn shown_passes(input: &ReportInput) -> Vec<(String, Hue, PassKind, usize)> {
    let predictors = input.recommendation.choice.as_ref().map_or(0, |choice| choice.predictors);
    let draft = match input.recommendation.choice.as_ref().map(|choice| choice.drafting) {
        Some(Drafting::Sequential) => 1,
        _ => predictors,
    };
    let verify = predictors + 1;
    let of = |words: &str, hue, pass, width: usize| {
        let tokens = if width == 1 { "1 token".into() } else { format!("{width} tokens") };
        (format!("{words}, {tokens}"), hue, pass, width)
    };
    let mut wanted = vec![
        of("plain step", Hue::Grey, PassKind::Full, 1),
        of("draft pass", Hue::Sky, PassKind::Draft, draft),
        of("verify pass", Hue::Blue, PassKind::Full, verify),
    ];
    let timed = |pass, width| input.components.iter().any(|t| t.pass == pass && t.width == width);
    wanted.retain(|(.., pass, width)| timed(*pass, *width));
    let widest =
        input.components.iter().filter(|t| t.pass == PassKind::Full).map(|t| t.width).max();
    if wanted.len() < 2 {
        wanted.extend(widest.map(|width| of("full pass", Hue::Blue, PassKind::Full, width)));
    }
    wanted.dedup_by_key(|(.., pass, width)| (*pass, *width));
    wanted
}

/// The components that occur, the last of a pass first (places count upwards).
fn kinds(times: &[ComponentSeconds]) -> Vec<Component> {
    let all: BTreeSet<_> = times.iter().map(|time| time.component).collect();
    all.into_iter().rev().collect()
}

fn name(component: Component) -> &'static str {
    match component {
        Component::Embed => "embedding",
        Component::Attention => "attention",
        Component::Mlp => "MLP",
        Component::Head => "head",
        Component::Rest => "rest",
        Component::FullPass => "full pass",
        Component::DraftPass => "draft pass",
        Component::VerifyPass => "verify pass",
    }
}

/// From the ideal speedup of the choice to the measured one, step by step.
pub fn waterfall(input: &ReportInput) -> Figure {
    let mut steps = steps(input);
    steps.reverse();
    let names = steps.iter().map(|step| step.label.to_string()).collect();
    let x =
        Axis::new("speedup over plain decoding (times)", Quantity::Number).reach(0.0).of_ratios();
    let mut figure = Figure::new(
        "waterfall",
        "From ideal to measured \
        speedup",
        x,
        Axis::categories("", names),
    )
    .caption(
        "From the speedup if every draft were accepted at the paper's ideal cost to the \
             measured \
             one; the last step is what the model of costs does not explain. Steps are point \
             estimates.",
    );
    for (label, hue) in [("total", Hue::Blue), ("costs", Hue::Orange), ("gains", Hue::Green)] {
        let bar = |(place, step): (usize, &Step)| Bar {
            at: place as f64,
            thickness: 0.7,
            from: step.from.unwrap_or(0.0),
            to: step.to,
            text: format!("{}: {:#}", step.label, step.to),
            label: match step.from {
                None => format!("{:.2}", step.to.value),
                Some(from) => format!("{:+.2}", step.to.value - from),
            },
        };
        let mine = steps.iter().enumerate().filter(|(_, step)| step_kind(step) == label);
        let mark = Mark::Bars { bars: mine.map(bar).collect() };
        figure.series.push(Series::new(label, hue, mark));
    }
    figure
}

/// A bar of the waterfall: a total, or what is added or taken between two speedups.
struct Step {
    label: &'static str,
    /// Speedup before the step; null for a total.
    from: Option<f64>,
    to: Estimate,
}

/// The steps, the first as a total, and the speedup where they lead to, with its interval.
fn steps(input: &ReportInput) -> Vec<Step> {
    let before = std::iter::once(None).chain(input.waterfall.iter().map(|s| Some(s.speedup)));
    let step = |(step, from): (&WaterfallStep, Option<f64>)| Step {
        label: step.cause,
        from,
        to: Estimate::exact(step.speedup),
    };
    let mut steps: Vec<Step> = input.waterfall.iter().zip(before).map(step).collect();
    let choice = input.recommendation.choice.as_ref().filter(|_| steps.len() > 1);
    if let Some(choice) = choice {
        let (label, to) = match choice.measured_speedup {
            Some(measured) => ("measured speedup", Some(measured)),
            None => ("predicted speedup", choice.predicted_speedup),
        };
        steps.extend(to.map(|to| Step { label, from: None, to }));
    }
    steps
}

fn step_kind(step: &Step) -> &'static str {
    match step.from {
        None => "total",
        Some(from) if step.to.value < from => "costs",
        Some(_) => "gains",
    }
}
