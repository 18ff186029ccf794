//! What is said of an engine that was imported: why it is, or is not, faster there.

use crate::args::OptimizeArgs;
use crate::shared::usage::usage;
use crate::shared::{show, terminal, typed_numbers};
use s3d_data::{Run, TimesFrom};
use s3d_reports::Table;
use s3d_reports::table::{Cell, Column};
use s3d_simulator::Request;
use s3d_simulator::cost::summary::FullPass;
use s3d_simulator::cost::what_if::Rates;
use s3d_simulator::explore::engine::{BreakEven, Engine, Measured, engine};
use serde_json::json;

/// The acceptance that the flags give, if any.
///
/// # Errors
/// Rates outside their domain; both a list and a curve.
pub fn rates(args: &OptimizeArgs) -> anyhow::Result<Option<Rates>> {
    match (&args.curve.curve, args.alphas.as_slice()) {
        (Some(_), [_, ..]) => Err(usage("--alphas and --curve both give acceptance; give one")),
        (Some(_), []) => {
            let ceilings = args.curve.ceiling.len().max(1);
            Ok(Some(Rates::Curves(typed_numbers::curves(&args.curve, ceilings)?)))
        }
        (None, []) => Ok(None),
        (None, alphas) => Ok(Some(Rates::PerPredictor(typed_numbers::rates(alphas, None)?))),
    }
}

/// What the run says of its engine: of one that was imported, or where acceptance is given.
///
/// # Errors
/// What the rates refuse.
pub fn of(run: &Run, request: &Request, rates: Option<&Rates>) -> anyhow::Result<Option<Engine>> {
    let asked = run.header.times_from() == TimesFrom::OtherEngine || rates.is_some();
    Ok(asked.then(|| engine(run, request, rates)).transpose()?)
}

/// The whole answer where no plan can be chosen: no acceptance was measured, or no pass was timed.
///
/// # Errors
/// Nothing to say at all: `why` then; or when standard output does not take it.
pub fn alone(
    run: &Run,
    request: &Request,
    engine: &Engine,
    why: anyhow::Error,
    args: &OptimizeArgs,
) -> anyhow::Result<()> {
    if engine.passes.len() < 2 && engine.measured.is_empty() {
        return Err(why);
    }
    let header = &run.header;
    if args.output.json {
        return terminal::json(&json!({
            "schema_version": header.schema_version,
            "model": header.model.name,
            "device": header.device,
            "machine": header.machines.first().map(|machine| &machine.model),
            "dtype": header.dtype,
            "context": request.context(),
            "choice": null,
            "speculate": false,
            "reason": format!("no plan could be chosen: {why}"),
            "notes": header.warnings,
            "engine": engine,
        }));
    }
    terminal::result(&sentences(engine).join("\n"))?;
    for note in &header.warnings {
        terminal::result(&format!("- {note}"))?;
    }
    terminal::result("")?;
    show::tables(&(), &tables(engine), &args.output)
}

/// The answer in sentences: what width costs, the acceptance that breaks even, the length that
/// pays.
pub fn sentences(engine: &Engine) -> Vec<String> {
    let last = engine.passes.last().filter(|pass| pass.width > 1);
    let width = last.map(|pass| {
        format!(
            "A pass over {} tokens takes {:.2} times as long here as a pass over one.",
            pass.width, pass.ratio.value
        )
    });
    let needs = engine.break_even.iter().filter(|row| row.acceptance.is_some());
    let least = needs.min_by(|a, b| total(a.acceptance).total_cmp(&total(b.acceptance)));
    let needs = match least {
        Some(row) => Some(format!(
            "Speculation breaks even from an acceptance of {:.2} on ({}).",
            total(row.acceptance),
            draft(row)
        )),
        None if engine.break_even.is_empty() => None,
        None => Some("No draft length breaks even, even if every draft is accepted.".into()),
    };
    let pays = engine.pays.as_ref().map(|row| match row.speedup {
        Some(speedup) if speedup > 1.0 => format!(
            "At the given acceptance the draft length that pays is {}: {speedup:.2} times plain \
             decoding, computed.",
            draft(row)
        ),
        _ => format!(
            "At the given acceptance no draft length pays: the best, {}, is {:.2} times plain \
             decoding, computed.",
            draft(row),
            total(row.speedup)
        ),
    });
    let ask = (engine.pays.is_none() && !engine.break_even.is_empty()).then(|| {
        "For the draft length that pays give an acceptance: --alphas 0.8, or --curve.".to_string()
    });
    let measured = engine.measured.iter().filter_map(ran);
    [width, needs, pays, ask].into_iter().flatten().chain(measured).collect()
}

/// `It measured seq:8..32:4 at 1.25 times plain decoding: 3.00 tokens per iteration where 2.40
/// break even.`
fn ran(row: &Measured) -> Option<String> {
    let (speedup, needed) = (row.speedup?.value, row.break_even_tokens?);
    Some(format!(
        "It measured {} at {speedup:.2} times plain decoding: {:.2} tokens per iteration where \
         {needed:.2} break even.",
        row.plan, row.tokens_per_iteration
    ))
}

fn total(value: Option<f64>) -> f64 {
    value.unwrap_or(f64::NAN)
}

/// `3 drafts one after the other, a draft pass of 0.25 of a full one`.
fn draft(row: &BreakEven) -> String {
    let drafts = if row.predictors == 1 { "1 draft" } else { "drafts" };
    let drafts = match row.predictors {
        1 => drafts.to_string(),
        count => format!("{count} {drafts}"),
    };
    let how = match row.drafting {
        s3d_data::Drafting::Simultaneous => "at once",
        s3d_data::Drafting::Sequential => "one after the other",
    };
    format!("{drafts} {how}, a draft pass of {:.2} of a full one", row.draft_share)
}

/// The tables behind the sentences; those that are empty are left out.
pub fn tables(engine: &Engine) -> Vec<Table> {
    // The pass of width 1 alone says nothing of width.
    let widths = if engine.passes.len() > 1 { &engine.passes[..] } else { &[] };
    let all = [passes(widths), lengths(&engine.break_even), measured(&engine.measured)];
    all.into_iter().filter(|table| !table.rows.is_empty()).collect()
}

fn passes(passes: &[FullPass]) -> Table {
    let columns =
        vec![Column::unit("width", "tokens"), Column::new("full pass"), Column::new("t(w) / t(1)")];
    let row = |pass: &FullPass| {
        vec![
            Cell::Count(pass.width as u64),
            Cell::Seconds(pass.seconds),
            Cell::Estimate(pass.ratio, 2),
        ]
    };
    Table::new("width", "What width costs on this engine", columns).rows(passes.iter().map(row))
}

fn lengths(rows: &[BreakEven]) -> Table {
    let columns = vec![
        Column::new("drafting"),
        Column::new("draft pass"),
        Column::new("drafts"),
        Column::new("break-even acceptance"),
        Column::new("break-even tokens"),
        Column::unit("speedup", "times"),
    ];
    let row = |row: &BreakEven| {
        vec![
            Cell::text(row.drafting.name()),
            Cell::Number(row.draft_share, 2),
            Cell::Count(row.predictors as u64),
            row.acceptance.map_or(Cell::text("never"), |rate| Cell::Number(rate, 3)),
            Cell::Number(row.tokens_per_iteration, 2),
            row.speedup.map_or(Cell::Unknown, |speedup| Cell::Number(speedup, 2)),
        ]
    };
    Table::new("break_even", "Draft lengths, and the acceptance at which each breaks even", columns)
        .note("Draft pass: over a full one. Speedup: computed, at the given acceptance.")
        .rows(rows.iter().map(row))
        .without_empty_columns()
}

fn measured(rows: &[Measured]) -> Table {
    let columns = vec![
        Column::new("plan"),
        Column::new("tokens per iteration"),
        Column::new("break-even tokens"),
        Column::unit("measured speedup", "times"),
        Column::unit("speed", "tokens/s"),
    ];
    let row = |row: &Measured| {
        vec![
            Cell::text(row.plan.to_string()),
            Cell::Number(row.tokens_per_iteration, 2),
            row.break_even_tokens.map_or(Cell::Unknown, |tokens| Cell::Number(tokens, 2)),
            Cell::estimate(row.speedup, 2),
            Cell::Number(row.tokens_per_s, 1),
        ]
    };
    Table::new("measured", "What the engine measured, against plain decoding", columns)
        .rows(rows.iter().map(row))
        .without_empty_columns()
}
