//! Speedup by task: the one plan for all beside the plan for each.

use crate::draw::palette::Hue;
use crate::figure::{Axis, Bar, Figure, Mark, Note, Quantity, Series};
use crate::input::ReportInput;
use s3d_data::{Estimate, TaskResult};

/// How much of a task's place one of its two bars takes.
const THICKNESS: f64 = 0.36;

/// Two bars a task where its plan is another than the choice, else one.
pub fn by_task(input: &ReportInput) -> Figure {
    // Places count upwards; the first task stands on top.
    let tasks: Vec<&TaskResult> = input.recommendation.by_task.iter().rev().collect();
    let names = tasks.iter().map(|task| task.task.clone()).collect();
    let x = Axis::new("speedup over plain decoding (times)", Quantity::Number).reach(0.0);
    let figure =
        Figure::new("by_task", "Speedup by task", x.of_ratios(), Axis::categories("", names));
    let Some(choice) = input.chosen().filter(|_| !tasks.is_empty()) else { return figure };
    let own = |task: &TaskResult| task.plan != *choice;
    let bars = |one: &dyn Fn(usize, &TaskResult) -> Option<Bar>| {
        tasks.iter().enumerate().filter_map(|(place, task)| one(place, task)).collect()
    };
    let of_choice = bars(&|place, task| {
        let shift = if own(task) { -THICKNESS / 2.0 } else { 0.0 };
        let text = format!("{}: {choice} {:#}", task.task, task.speedup_of_choice);
        Some(bar(place as f64 + shift, task.speedup_of_choice, text))
    });
    let of_task = bars(&|place, task| {
        let text = format!("{}: {} {:#}", task.task, task.plan, task.speedup);
        own(task).then(|| bar(place as f64 + THICKNESS / 2.0, task.speedup, text))
    });
    figure
        .caption(
            "Tokens per iteration on the traced texts of each task, over the cost of an iteration, \
             which is the same for all; bars: 95 % intervals over texts. A task has a plan of its \
             own only where the choice loses to it with 95 % confidence.",
        )
        .note(Note::Limit { x: 1.0, text: "plain decoding".into() })
        .with(Series::new(
            format!("{choice}, the choice"),
            Hue::Blue,
            Mark::Bars { bars: of_choice },
        ))
        .with(Series::new("plan of its own", Hue::Green, Mark::Bars { bars: of_task }))
}

fn bar(at: f64, to: Estimate, text: String) -> Bar {
    let label = format!("{:.2}", to.value);
    Bar { at, thickness: THICKNESS, from: 0.0, to, text, label }
}
