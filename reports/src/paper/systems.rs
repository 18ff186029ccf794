//! Part (b): systems side by side, each row published, measured by us, or modelled.

use super::input::{PaperInput, Section};
use crate::error::Result;
use crate::input::ReportInput;
use crate::table::{Cell, Column, Table};
use crate::words::caveat::at_temperature;
use s3d_data::published::{self, Cited, System};
use s3d_data::{Bytes, Estimate, TimesFrom};
use s3d_simulator::choose::speed_memory::per_gib;

/// Task of the published rows that are shown; the tables on disk hold the others.
const TASK: &str = "MT-Bench";

/// The part.
pub(super) fn part(input: &PaperInput) -> Result<Section> {
    Ok(Section {
        title: "Systems: speed, speedup, tokens per iteration, memory".into(),
        words: "Rows of different machines and models do not compare in speed; speedup and tokens \
                per iteration compare with care. The S3D paper's own tables were not to be had: \
                their cells stay empty, and a CSV with the columns of data/published/systems.csv \
                fills them."
            .into(),
        figures: Vec::new(),
        tables: vec![systems(input)?, claims()?, layer_skipping()?, spec_bench()?, early_exit()?],
    })
}

fn systems(input: &PaperInput) -> Result<Table> {
    let columns = vec![
        Column::new("kind"),
        Column::new("machine"),
        Column::new("target"),
        Column::new("method"),
        Column::unit("speed", "tokens/s"),
        Column::unit("speedup", "times"),
        Column::new("tokens per iteration"),
        Column::unit("peak memory", "GiB"),
        Column::unit("speed per memory", "tokens/s per GiB"),
        Column::new("source"),
    ];
    let published = published::systems()?.into_iter().filter(|row| row.task == TASK);
    let published: Vec<_> = published.map(|row| system_row(&row, "published")).collect();
    let user = input.figures.iter().map(|row| system_row(row, "user's"));
    let ours = input.runs.iter().flat_map(run_rows);
    let title = format!("Systems on {TASK}, and our runs on their own prompts");
    Ok(Table::new("paper_systems", title, columns)
        .note(
            "Speed per memory is speed over peak memory; the memory of our rows is computed \
            from the shape.",
        )
        .rows(ours.chain(user).chain(missing(input)).chain(published)))
}

fn number(value: Option<f64>, decimals: usize) -> Cell {
    value.map_or(Cell::Unknown, |value| Cell::Number(value, decimals))
}

fn system_row(row: &System, kind: &str) -> Vec<Cell> {
    let memory = row.peak_memory_gib.map(Bytes::from_gib);
    let speed = row.tokens_per_s.map(Estimate::exact);
    let per_gib = speed.zip(memory).map(|(speed, memory)| per_gib(speed, memory).value);
    vec![
        Cell::text(kind),
        Cell::text(&row.gpu),
        Cell::text(&row.target),
        Cell::text(&row.method),
        number(row.tokens_per_s, 1),
        number(row.speedup, 2),
        number(row.tokens_per_iteration, 2),
        number(row.peak_memory_gib, 1),
        number(per_gib, 2),
        link(row),
    ]
}

/// The row that the S3D paper would fill.
fn missing(input: &PaperInput) -> Option<Vec<Cell>> {
    let filled = input.figures.iter().any(|row| row.method.to_lowercase().contains("s3d"));
    let mut row = vec![Cell::Unknown; 10];
    row[0] = Cell::text("not to be had");
    row[1] = Cell::text("A10G");
    row[2] = Cell::text("Phi-3-mini");
    row[3] = Cell::text("S3D");
    row[9] = Cell::Link {
        text: "Zhong and Bharadwaj, S3D, arXiv 2405.20314, tables".into(),
        url: "https://arxiv.org/abs/2405.20314".into(),
    };
    (!filled).then_some(row)
}

fn link<T: Cited>(row: &T) -> Cell {
    if row.url().is_empty() {
        return Cell::text(row.citation());
    }
    Cell::Link { text: row.citation().into(), url: row.url().into() }
}

/// Plain decoding and the choice of one of our runs.
fn run_rows(run: &ReportInput) -> Vec<Vec<Cell>> {
    let recommendation = &run.recommendation;
    let machine = run.header.machines.first().map_or("", |machine| machine.model.as_str());
    let imposed = if recommendation.imposed.is_some() { ", imposed acceptance" } else { "" };
    let derived =
        if recommendation.times_from() == TimesFrom::DataSheet { ", derived times" } else { "" };
    let drawn = at_temperature(recommendation.sampling.as_ref());
    let target =
        format!("{} ({}{drawn}{imposed}{derived})", recommendation.model, recommendation.dtype);
    let head = |kind: &str, method: String| {
        vec![Cell::text(kind), Cell::text(machine), Cell::text(&target), Cell::text(method)]
    };
    let timed =
        if recommendation.times_from() == TimesFrom::DataSheet { "derived" } else { "measured" };
    let mut plain = head(timed, "plain decoding".into());
    let speed = recommendation.baseline.tokens_per_s;
    let memory = run.plain_memory_bytes.map(Bytes);
    plain.extend([
        Cell::estimate(speed, 1),
        Cell::Number(1.0, 2),
        Cell::Number(1.0, 2),
        number(memory.map(Bytes::gib), 2),
        Cell::estimate(speed.zip(memory).map(|(speed, memory)| per_gib(speed, memory)), 2),
        Cell::text(format!("our run of {}", run.header.started)),
    ]);
    let mut rows = vec![plain];
    if let Some(choice) = &recommendation.choice {
        let kind = if choice.measured_speedup.is_some() { "measured" } else { "modelled" };
        let mut row = head(kind, format!("S3D {}", choice.plan));
        let memory = choice.peak_memory_bytes.map(Bytes);
        let speed = choice.tokens_per_s;
        row.extend([
            Cell::estimate(choice.tokens_per_s, 1),
            Cell::estimate(choice.measured_speedup.or(choice.predicted_speedup), 2),
            Cell::estimate(choice.tokens_per_iteration, 2),
            number(memory.map(Bytes::gib), 2),
            Cell::estimate(speed.zip(memory).map(|(speed, memory)| per_gib(speed, memory)), 2),
            Cell::text(format!("our run of {}", run.header.started)),
        ]);
        rows.push(row);
    }
    rows
}

fn claims() -> Result<Table> {
    let columns = vec![
        Column::new("what"),
        Column::new("from"),
        Column::new("to"),
        Column::new("unit"),
        Column::new("read in the paper"),
        Column::new("source"),
    ];
    let rows = published::s3d_claims()?.into_iter().map(|claim| {
        let read = if claim.second_hand { "no, second-hand" } else { "yes" };
        let (low, high) = (number(claim.low, 2), number(claim.high, 2));
        let (what, unit) = (Cell::text(&claim.claim), Cell::text(&claim.unit));
        vec![what, low, high, unit, Cell::text(read), link(&claim)]
    });
    Ok(Table::new("paper_claims", "What is known of the S3D paper's own results", columns)
        .rows(rows))
}

fn layer_skipping() -> Result<Table> {
    let columns = vec![
        Column::new("model"),
        Column::new("machine"),
        Column::new("setting"),
        Column::unit("speedup from", "times"),
        Column::unit("to", "times"),
        Column::new("accepted of drafted"),
        Column::new("source"),
    ];
    let rows = published::layer_skipping()?.into_iter().map(|row| {
        let setting = [row.task.as_str(), row.setting.as_str()];
        let setting: Vec<_> = setting.into_iter().filter(|words| !words.is_empty()).collect();
        vec![
            Cell::text(&row.model),
            Cell::text(&row.gpu),
            Cell::text(setting.join(": ")),
            Cell::Number(row.speedup_low, 2),
            Cell::Number(row.speedup_high, 2),
            number(row.accepted_over_drafted, 2),
            link(&row),
        ]
    });
    let title = "Layer skipping elsewhere, the failures included: published";
    Ok(Table::new("paper_layer_skipping", title, columns)
        .note("High acceptance alone does not speed up: compare 0.73 accepted at 0.91 times.")
        .rows(rows))
}

fn spec_bench() -> Result<Table> {
    let mut columns = vec![Column::new("machine"), Column::new("method")];
    for task in ["conversation", "translation", "summarisation", "QA", "math", "RAG", "overall"] {
        columns.push(Column::unit(task, "times"));
    }
    columns.extend([Column::new("tokens per iteration"), Column::new("source")]);
    let rows = published::spec_bench()?.into_iter().map(|row| {
        let speedups =
            [row.conversation, row.translation, row.summarisation, row.qa, row.math, row.rag];
        let mut cells = vec![Cell::text(&row.gpu), Cell::text(&row.method)];
        cells.extend(speedups.map(|speedup| Cell::Number(speedup, 2)));
        cells.extend([
            Cell::Number(row.speedup_overall, 2),
            Cell::Number(row.tokens_per_iteration, 2),
            link(&row),
        ]);
        cells
    });
    let title = "Spec-Bench, Vicuna-7B: published speedups by task";
    Ok(Table::new("paper_spec_bench", title, columns).rows(rows))
}

fn early_exit() -> Result<Table> {
    let columns = vec![
        Column::new("exit layer"),
        Column::new("generation time"),
        Column::unit("speedup", "times"),
        Column::new("source"),
    ];
    let rows = published::early_exit()?.into_iter().map(|row| {
        vec![
            row.exit_layer.map_or(Cell::text("none"), |layer| Cell::Count(layer as u64)),
            Cell::Seconds(Estimate::exact(row.generation_seconds.0)),
            Cell::Number(row.speedup, 2),
            link(&row),
        ]
    });
    let title = "An early-exit model by exit layer: published";
    Ok(Table::new("paper_early_exit", title, columns).rows(rows))
}
