//! Speedup and memory over the length of the text.

use crate::draw::palette::Hue;
use crate::figure::{Axis, Figure, Mark, Note, Point, Quantity, Series, Stroke, Symbol};
use crate::input::ReportInput;
use s3d_data::{Bytes, ContextBasis, Estimate, Plan};
use s3d_simulator::choose::by_context::{PlanAtContext, PlanCurve};

/// What holds for all of it.
const HOLDS: &str = "Acceptance is that of the traced texts at every context; the cost of an \
                     iteration and of a plain step moves with it. Dashed: extrapolated beyond the \
                     contexts that were timed.";

/// A value at a context: where, how much, whether it is extrapolated, in words.
struct Place {
    x: f64,
    y: Estimate,
    extrapolated: bool,
    words: String,
}

/// Speedup of the best plan at each context, and of the one plan for all.
pub fn speedup_by_context(input: &ReportInput) -> Figure {
    let x = Axis::new("context (tokens)", Quantity::Count);
    let y = Axis::new("speedup over plain decoding (times)", Quantity::Number).reach(1.0);
    let mut figure = Figure::new("speedup_by_context", "Speedup by context", x, y.of_ratios())
        .caption(format!("The best plan at each context, and the choice at all. {HOLDS}"));
    let best: Vec<Place> = input.recommendation.by_context.iter().filter_map(best).collect();
    if best.is_empty() {
        return figure;
    }
    let chosen = input.curves.iter().find(|curve| Some(&curve.plan) == input.chosen());
    if let Some(choice) = chosen {
        let places = choice.points.iter().map(|at| place(&choice.plan, at)).collect();
        figure.series.extend(drawn(&format!("{}, the choice", choice.plan), Hue::Blue, places));
    }
    figure.series.extend(drawn("best plan of each context", Hue::Green, best));
    figure.notes.push(Note::Level { y: 1.0, text: "plain decoding".into() });
    let limit = input.recommendation.context_limit.and_then(|limit| limit.crossing);
    if let Some(crossing) = limit {
        let text = format!("stops to pay: {:.0}", crossing.value);
        figure.notes.push(Note::Limit { x: crossing.value, text });
    }
    figure
}

/// Tokens per second against peak memory, a curve a plan: its points are the contexts.
pub fn speed_memory_by_context(input: &ReportInput) -> Figure {
    let x = Axis::new("peak memory", Quantity::Bytes);
    let y = Axis::new("tokens per second", Quantity::Number).reach(0.0).of_ratios();
    let mut figure = Figure::new(
        "speed_memory_by_context",
        "Speed against peak memory, by context",
        x,
        y,
    )
    .caption(format!(
        "Plain decoding, the choice, and each plan that is best at a context; along a curve the \
         context grows from point to point. {HOLDS}"
    ));
    for (index, curve) in input.curves.iter().enumerate() {
        let places: Vec<Place> =
            curve.points.iter().filter_map(|at| by_memory(curve, at)).collect();
        let (name, hue) = match (&curve.plan, Some(&curve.plan) == input.chosen()) {
            (Plan::Plain, _) => ("plain decoding".to_string(), Hue::Grey),
            (plan, true) => (format!("{plan}, the choice"), Hue::Blue),
            (plan, false) => (plan.to_string(), Hue::of_index(index)),
        };
        figure.series.extend(drawn(&name, hue, places));
    }
    if let Some(Bytes(budget)) = input.header.memory_budget_bytes.filter(|_| !figure.is_empty()) {
        let text = format!("memory budget {}", Bytes(budget));
        figure.notes.push(Note::Limit { x: budget as f64, text });
    }
    figure
}

fn best(at: &s3d_data::ContextResult) -> Option<Place> {
    let (plan, y) = (at.plan.as_ref()?, at.speedup?);
    Some(Place {
        x: at.context as f64,
        y,
        extrapolated: at.basis == ContextBasis::Extrapolated,
        words: format!("{plan} at {} tokens: {y:#}, {}", at.context, at.basis.name()),
    })
}

fn place(plan: &Plan, at: &PlanAtContext) -> Place {
    Place {
        x: at.context as f64,
        y: at.speedup,
        extrapolated: at.basis == ContextBasis::Extrapolated,
        words: format!("{plan} at {} tokens: {:#}, {}", at.context, at.speedup, at.basis.name()),
    }
}

fn by_memory(curve: &PlanCurve, at: &PlanAtContext) -> Option<Place> {
    let (bytes, y) = (at.peak_memory_bytes?, at.tokens_per_s?);
    let (plan, context) = (&curve.plan, at.context);
    Some(Place {
        x: bytes as f64,
        y,
        extrapolated: at.basis == ContextBasis::Extrapolated,
        words: format!("{plan} at {context} tokens: {y:#.1} tokens/s, {}", Bytes(bytes)),
    })
}

/// A line through the places with a point at each; dashed where a place is extrapolated.
fn drawn(name: &str, hue: Hue, places: Vec<Place>) -> Vec<Series> {
    let Some(first) = places.iter().position(|place| !place.extrapolated) else {
        return lines(name, hue, &places, 0..0);
    };
    let last = places.iter().rposition(|place| !place.extrapolated).unwrap_or(first);
    lines(name, hue, &places, first..last + 1)
}

/// The line of `known` places drawn through, what lies before and behind it dashed.
fn lines(name: &str, hue: Hue, places: &[Place], known: std::ops::Range<usize>) -> Vec<Series> {
    let line = |part: &[Place], stroke| {
        let points: Vec<_> = part.iter().map(|place| (place.x, place.y.value)).collect();
        (points.len() > 1).then(|| Series::unlisted(hue, Mark::Line { points, stroke }))
    };
    let before = &places[..(known.start + 1).min(places.len())];
    let behind = &places[known.end.saturating_sub(1)..];
    let parts = match known.is_empty() {
        true => vec![line(places, Stroke::Dashed)],
        false => vec![
            line(before, Stroke::Dashed),
            line(&places[known], Stroke::Thin),
            line(behind, Stroke::Dashed),
        ],
    };
    let points = places.iter().map(|place| Point::new(place.x, place.y, &place.words)).collect();
    let points = Mark::Points { points, symbol: Symbol::Circle };
    parts.into_iter().flatten().chain([Series::new(name, hue, points)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(extrapolated: &[bool]) -> Vec<Place> {
        let place = |(x, extrapolated): (usize, &bool)| Place {
            x: x as f64,
            y: Estimate::exact(1.0),
            extrapolated: *extrapolated,
            words: String::new(),
        };
        extrapolated.iter().enumerate().map(place).collect()
    }

    /// Each line: whether it is dashed, and its corners.
    fn strokes(extrapolated: &[bool]) -> Vec<(bool, usize)> {
        let series = drawn("x", Hue::Blue, places(extrapolated));
        let line = |series: &Series| match &series.mark {
            Mark::Line { points, stroke } => Some((*stroke == Stroke::Dashed, points.len())),
            _ => None,
        };
        series.iter().filter_map(line).collect()
    }

    #[test]
    fn what_lies_beyond_the_timed_contexts_is_dashed() {
        // source: by hand: a dashed part begins at the last place that is known
        assert_eq!(strokes(&[false, false, false]), [(false, 3)]);
        assert_eq!(strokes(&[true, false, false, true, true]), [(true, 2), (false, 2), (true, 3)]);
        assert_eq!(strokes(&[false, true]), [(true, 2)]);
        assert_eq!(strokes(&[true, true]), [(true, 2)]);
        assert!(strokes(&[]).is_empty());
    }
}
