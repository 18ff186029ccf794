//! The tables of a report.

mod contexts;

pub use contexts::{by_context, drafting_memory};

use crate::format::text;
use crate::input::ReportInput;
use crate::table::{Cell, Column, Table};
use crate::words::caveat::caveat;
use s3d_data::{
    AcceptancePoint, Answer, BatchResult, CurveFit, Estimate, Fit, Origin, PlanResult,
    Recommendation, Share, TaskResult,
};
use s3d_simulator::PlanEvaluation;
use s3d_simulator::choose::by_batch::{off_percent, prediction_error};
use s3d_simulator::cost::summary::PassKind;

/// All tables that `input` has data for, in the order of the page.
pub fn all(input: &ReportInput) -> Vec<Table> {
    let recommendation = &input.recommendation;
    let judged = [
        plans(recommendation),
        by_context(recommendation),
        by_task(recommendation),
        by_batch(recommendation),
        grid(input),
        held_out(input),
        acceptance(input),
    ];
    let fitted = input.fit.iter().flat_map(|fit| [curves(fit), laws(fit)]);
    let timed =
        [passes(input), components(input), memory(input), drafting_memory(&input.plan_memory)];
    let all = judged.into_iter().chain(fitted).chain(timed);
    all.filter(|table| !table.rows.is_empty()).map(|table| marked(table, recommendation)).collect()
}

/// The table with a note where acceptance or times were not measured.
fn marked(mut table: Table, recommendation: &Recommendation) -> Table {
    let words = caveat(recommendation).filter(|words| !table.note.contains(words));
    if let Some(words) = words {
        table.note = format!("{} With {words}.", table.note).trim_start().into();
    }
    table
}

fn plan_columns() -> Vec<Column> {
    vec![
        Column::new("plan"),
        Column::new("role"),
        Column::unit("predicted speedup", "times"),
        Column::unit("measured speedup", "times"),
        Column::unit("speed", "tokens/s"),
        Column::new("tokens per iteration"),
        Column::new("peak memory"),
    ]
}

/// The choice, its ties, and plain decoding.
pub fn plans(recommendation: &Recommendation) -> Table {
    let choice = recommendation.choice.iter().map(|choice| plan_row(choice, "choice"));
    let ties = recommendation.ties.iter().map(|tie| plan_row(tie, "tied"));
    let baseline = &recommendation.baseline;
    let plain = [("plain", baseline.tokens_per_s), ("stock", baseline.stock_tokens_per_s)];
    let plain = plain.into_iter().filter(|(_, speed)| speed.is_some()).map(|(name, speed)| {
        let mut row = vec![Cell::Unknown; 5];
        row[0] = Cell::text(name);
        row[1] = Cell::text("baseline");
        row[4] = Cell::rate(speed);
        row
    });
    let table = Table::new(
        "plans",
        "The choice and what cannot be told apart from it",
        plan_columns(),
    )
    .note(
        "Speedup over plain decoding; intervals are 95 %. Speed and tokens per iteration are \
             measured where the speedup is, else predicted.",
    )
    .rows(choice.chain(ties).chain(plain))
    .without_empty_columns();
    marked(table, recommendation)
}

/// At most twelve rows, the baselines kept: what stands under a verdict.
pub fn shortened(mut table: Table) -> Table {
    let baseline = |row: &[Cell]| row.get(1) == Some(&Cell::text("baseline"));
    let kept = table.rows.iter().filter(|row| baseline(row)).cloned().collect::<Vec<_>>();
    if table.rows.len() > 12 {
        table.rows.retain(|row| !baseline(row));
        table.rows.truncate(12 - kept.len());
        table.rows.extend(kept);
    }
    table
}

/// What is read at a glance: the choice, at most `ties` plans that are tied with it, and plain
/// decoding; of each plan the one speedup that is known best, and where it comes from.
pub fn leading(recommendation: &Recommendation, ties: usize) -> Table {
    let columns = vec![
        Column::new("plan"),
        Column::unit("speedup", "times"),
        Column::new("known"),
        Column::new("tokens/s"),
        Column::new("tokens per iteration"),
        Column::new("memory"),
        Column::new("role"),
    ];
    let row = |plan: &PlanResult, role: &str| {
        let basis = if plan.measured_speedup.is_some() { "measured" } else { "predicted" };
        vec![
            Cell::text(plan.plan.to_string()),
            Cell::estimate(plan.measured_speedup.or(plan.predicted_speedup), 2),
            Cell::text(basis),
            Cell::rate(plan.tokens_per_s),
            Cell::estimate(plan.tokens_per_iteration, 2),
            plan.peak_memory_bytes.map_or(Cell::Unknown, Cell::Bytes),
            Cell::text(role),
        ]
    };
    let choice = recommendation.choice.iter().map(|choice| row(choice, "choice"));
    let tied = recommendation.ties.iter().take(ties).map(|tie| row(tie, "tied"));
    let baseline = &recommendation.baseline;
    let plain = [("plain", baseline.tokens_per_s), ("stock", baseline.stock_tokens_per_s)];
    let plain = plain.into_iter().filter(|(_, speed)| speed.is_some()).map(|(name, speed)| {
        let mut row = vec![Cell::Unknown; 7];
        row[0] = Cell::text(name);
        (row[2], row[6]) = (Cell::text("measured"), Cell::text("baseline"));
        row[3] = Cell::rate(speed);
        row
    });
    let left = recommendation.ties.len().saturating_sub(ties);
    let title = match left {
        0 => "The choice and what cannot be told apart from it".to_string(),
        left => format!("The choice, and {ties} of {} plans tied with it", left + ties),
    };
    let table = Table::new("leading", title, columns).rows(choice.chain(tied).chain(plain));
    marked(table.without_empty_columns(), recommendation)
}

/// The table with intervals left out until it fits `width` characters: those of tokens per
/// iteration first, then those of tokens per second; at last without the roles, which the title
/// tells.
pub(crate) fn narrowed(mut table: Table, width: usize) -> Table {
    for name in ["tokens per iteration", "tokens/s"] {
        let place = table.columns.iter().position(|column| column.name == name);
        if let Some(place) = place.filter(|_| text::natural_width(&table) > width) {
            table.rows.iter_mut().for_each(|row| row[place] = row[place].without_interval());
        }
    }
    if text::natural_width(&table) > width {
        let kept: Vec<bool> = table.columns.iter().map(|column| column.name != "role").collect();
        table.keep_columns(&kept);
    }
    table
}

/// The choice by task, where there are several.
pub fn by_task(recommendation: &Recommendation) -> Table {
    let columns = vec![
        Column::new("task"),
        Column::unit("speedup", "times"),
        Column::new("plan"),
        Column::unit("speedup of the choice", "times"),
        Column::new("loss of the choice"),
        Column::new("tokens per iteration"),
        Column::new("texts"),
        Column::new("worth it"),
    ];
    let few = |cell: Cell, wide: bool| if wide { Cell::text("more texts needed") } else { cell };
    let ratio = |e: Estimate| few(Cell::Estimate(e, 2), e.is_wide());
    let row = |task: &TaskResult| {
        vec![
            Cell::text(&task.task),
            ratio(task.speedup),
            Cell::text(task.plan.to_string()),
            ratio(task.speedup_of_choice),
            few(Cell::Share(task.loss_of_choice), task.speedup.is_wide()),
            ratio(task.tokens_per_iteration),
            Cell::Count(task.texts as u64),
            Cell::text(worth(task.verdict)),
        ]
    };
    Table::new("by_task", "The choice by task", columns)
        .note(
            "Tokens per iteration on the traced texts of the task, over the cost of an iteration, \
             which is the same for all tasks. A task has a plan of its own only where the choice \
             loses to it with 95 % confidence; each text is judged under the plan that is best on \
             the other texts of its task.",
        )
        .rows(recommendation.by_task.iter().map(row))
}

/// The best plan for each number of texts at once, predicted beside measured.
pub fn by_batch(recommendation: &Recommendation) -> Table {
    let columns = vec![
        Column::new("texts"),
        Column::new("plan"),
        Column::unit("predicted speedup", "times"),
        Column::unit("measured speedup", "times"),
        Column::unit("off by", "%"),
        Column::new("worth it"),
        Column::unit("speed", "tokens/s"),
        Column::unit("plain", "tokens/s"),
        Column::new("tokens per iteration"),
        Column::new("peak memory"),
    ];
    let row = |row: &BatchResult| {
        vec![
            Cell::Count(row.batch as u64),
            Cell::text(row.plan.to_string()),
            Cell::Estimate(row.predicted_speedup, 2),
            Cell::estimate(row.measured_speedup, 2),
            off_percent(row).map_or(Cell::Unknown, |off| Cell::Number(off, 1)),
            Cell::text(worth(row.verdict)),
            Cell::rate(row.tokens_per_s),
            Cell::rate(row.plain_tokens_per_s),
            Cell::Estimate(row.tokens_per_iteration, 2),
            row.peak_memory_bytes.map_or(Cell::Unknown, Cell::Bytes),
        ]
    };
    let error = prediction_error(&recommendation.by_batch);
    let error = error.map_or(String::new(), |(median, count)| {
        format!(" Predictions are off by {} in the median of {count}.", Share(median))
    });
    Table::new("by_batch", "Plans by number of texts at once", columns)
        .note(format!(
            "Texts are decoded in lockstep, and one that ends is replaced; speedups are over plain \
             decoding of as many texts, speeds those of all texts together. Intervals are 95 %: of \
             predictions over traced texts and pass times, of measurements over blocks.{error}"
        ))
        .rows(recommendation.by_batch.iter().map(row))
        .without_empty_columns()
}

/// [`by_batch`] as a terminal shows it: without speeds, tokens and memory.
pub fn by_batch_shortened(recommendation: &Recommendation) -> Table {
    let mut table = by_batch(recommendation);
    let shown = ["texts", "plan", "predicted speedup", "measured speedup", "off by", "worth it"];
    let kept: Vec<bool> =
        table.columns.iter().map(|column| shown.contains(&column.name.as_str())).collect();
    table.keep_columns(&kept);
    table
}

fn worth(answer: Answer) -> &'static str {
    match answer {
        Answer::Speculate => "yes",
        Answer::DoNot => "no",
        Answer::CannotTellYet => "cannot tell yet",
    }
}

fn plan_row(plan: &PlanResult, role: &str) -> Vec<Cell> {
    vec![
        Cell::text(plan.plan.to_string()),
        Cell::text(role),
        Cell::estimate(plan.predicted_speedup, 2),
        Cell::estimate(plan.measured_speedup, 2),
        Cell::rate(plan.tokens_per_s),
        Cell::estimate(plan.tokens_per_iteration, 2),
        plan.peak_memory_bytes.map_or(Cell::Unknown, Cell::Bytes),
    ]
}

/// Every plan that was compared, the fastest first.
pub fn grid(input: &ReportInput) -> Table {
    let mut cells: Vec<&PlanEvaluation> = input.grid.iter().collect();
    let speedup = |cell: &PlanEvaluation| cell.prediction().map_or(f64::NEG_INFINITY, |p| p.value);
    cells.sort_by(|a, b| speedup(b).total_cmp(&speedup(a)));
    let row = |cell: &PlanEvaluation| {
        let role = match (Some(&cell.plan) == input.chosen(), cell.tie) {
            (true, _) => "choice",
            (false, true) => "tied",
            (false, false) => "",
        };
        vec![
            Cell::text(cell.plan.to_string()),
            Cell::text(role),
            Cell::estimate(cell.prediction(), 2),
            Cell::estimate(cell.measured_speedup, 2),
            Cell::rate(cell.tokens_per_s),
            Cell::Estimate(cell.tokens_per_iteration, 2),
            cell.peak_memory_bytes.map_or(Cell::Unknown, Cell::Bytes),
        ]
    };
    Table::new("grid", "All plans that were compared, the fastest first", plan_columns())
        .rows(cells.into_iter().map(row))
        .without_empty_columns()
}

/// Plans that were predicted unseen.
pub fn held_out(input: &ReportInput) -> Table {
    let columns = vec![
        Column::new("plan"),
        Column::unit("predicted speedup", "times"),
        Column::unit("measured speedup", "times"),
    ];
    let rows = input.held_out.iter().map(|plan| {
        vec![
            Cell::text(plan.plan.to_string()),
            Cell::Estimate(plan.predicted, 2),
            Cell::Estimate(plan.measured, 2),
        ]
    });
    Table::new("held_out", "Plans that were predicted unseen, then measured", columns).rows(rows)
}

fn acceptance(input: &ReportInput) -> Table {
    let columns = vec![
        Column::new("drafting"),
        Column::new("skip"),
        Column::new("draft"),
        Column::new("workload"),
        Column::new("accepted"),
        Column::new("attempted"),
        Column::new("acceptance"),
    ];
    let row = |point: &AcceptancePoint| {
        vec![
            Cell::text(point.drafting.name()),
            Cell::text(&point.skip),
            Cell::Count(point.predictor as u64),
            Cell::text(point.task.as_deref().unwrap_or("all")),
            Cell::Count(point.accepted),
            Cell::Count(point.attempted),
            Cell::Level(point.rate, 3),
        ]
    };
    let points = input.fit.iter().flat_map(|fit| &fit.acceptance);
    Table::new("acceptance", "Acceptance of each draft, given those before it", columns)
        .note("Intervals resample prompts: tokens of one prompt are not independent.")
        .rows(points.map(row))
}

/// The fitted acceptance curves.
pub fn curves(fit: &Fit) -> Table {
    let columns = vec![
        Column::new("drafting"),
        Column::new("draft"),
        Column::new("family"),
        Column::new("parameters"),
        Column::new("AIC"),
        Column::new("held-out RMSE"),
        Column::new("dispersion"),
    ];
    let row = |curve: &CurveFit| {
        let parameters = curve.parameters.iter().map(|p| format!("{} {:#.3}", p.name, p.estimate));
        let best = if curve.best { " (best)" } else { "" };
        vec![
            Cell::text(curve.drafting.name()),
            Cell::Count(curve.predictor as u64),
            Cell::text(format!("{}{best}", curve.family)),
            Cell::text(parameters.collect::<Vec<_>>().join("; ")),
            Cell::Number(curve.aic, 1),
            curve.held_out_rmse.map_or(Cell::Unknown, |rmse| Cell::Number(rmse, 4)),
            Cell::Number(curve.dispersion, 2),
        ]
    };
    Table::new("curves", "Fitted acceptance curves", columns).rows(fit.curves.iter().map(row))
}

/// The cost laws that were compared.
pub fn laws(fit: &Fit) -> Table {
    let columns = vec![
        Column::new("time of"),
        Column::new("law"),
        Column::unit("parameters", "seconds per unit"),
        Column::new("median held-out error"),
        Column::new("best"),
    ];
    let rows = fit.laws.iter().map(|law| {
        let parameter = |p: &s3d_data::Parameter| {
            let interval = p.estimate.interval().filter(|_| !p.estimate.is_wide());
            let interval = interval.map(|(low, high)| format!(" [{low:.3e}, {high:.3e}]"));
            format!("{} {:.3e}{}", p.name, p.estimate.value, interval.unwrap_or_default())
        };
        let parameters: Vec<_> = law.parameters.iter().map(parameter).collect();
        let error = law.held_out_error.map(|error| Share(error).to_string());
        vec![
            Cell::text(law.what.name()),
            Cell::text(law.law.name()),
            Cell::text(parameters.join("; ")),
            error.map_or(Cell::Unknown, Cell::Text),
            Cell::text(if law.chosen { "yes" } else { "" }),
        ]
    });
    Table::new("laws", "Cost laws", columns)
        .note(
            "Best: lowest error on times left out, the simplest within their noise. The laws of \
             full passes and of \
             components describe; the choice takes the times themselves. The best law of draft \
             passes also gives \
             the times of windows that were not timed.",
        )
        .rows(rows)
}

fn passes(input: &ReportInput) -> Table {
    let columns = vec![
        Column::unit("width", "tokens"),
        Column::new("full pass"),
        Column::new("limit of the machine"),
    ];
    let rows = input.passes.iter().map(|pass| {
        let limit = pass.limit_seconds.map(|limit| Cell::Seconds(Estimate::exact(limit)));
        let limit = limit.unwrap_or(Cell::Unknown);
        vec![Cell::Count(pass.width as u64), Cell::Seconds(pass.seconds), limit]
    });
    Table::new("pass_time", "Time of a full pass by width", columns)
        .rows(rows)
        .without_empty_columns()
}

fn components(input: &ReportInput) -> Table {
    let columns = vec![
        Column::new("component"),
        Column::new("pass"),
        Column::unit("width", "tokens"),
        Column::new("time in one pass"),
    ];
    let rows = input.components.iter().map(|time| {
        vec![
            Cell::text(format!("{:?}", time.component).to_lowercase()),
            Cell::text(match time.pass {
                PassKind::Full => "full depth",
                PassKind::Draft => "draft of the choice",
            }),
            Cell::Count(time.width as u64),
            Cell::Seconds(time.seconds),
        ]
    });
    Table::new("components", "Time by component, over all layers of a pass", columns).rows(rows)
}

fn memory(input: &ReportInput) -> Table {
    let columns = vec![
        Column::new("item"),
        Column::unit("context", "tokens"),
        Column::unit("width", "tokens"),
        Column::new("memory"),
        Column::new("how known"),
    ];
    let rows = input.memory.iter().map(|record| {
        let origin = match record.origin {
            Origin::Measured => "measured",
            Origin::Computed => "computed",
        };
        vec![
            Cell::text(record.item.name()),
            Cell::Count(record.context as u64),
            Cell::Count(record.width as u64),
            Cell::Bytes(record.bytes.0),
            Cell::text(origin),
        ]
    });
    Table::new("memory", "Memory", columns).rows(rows)
}
