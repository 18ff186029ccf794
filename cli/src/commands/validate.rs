//! `s3d validate`: prediction error, coverage, regret, waterfall, and exact replay.

use crate::args::ValidateArgs;
use crate::shared::conclude::{Conclusion, conclude};
use crate::shared::{load_run, show, terminal};
use s3d_data::{Estimate, Plan, PredictionError, RegretBasis, Run, RunDir, Share, TimesFrom};
use s3d_reports::table::{Cell, Column};
use s3d_reports::{Table, tables};
use s3d_simulator::Request;
use s3d_simulator::predict::blocks::Blocks;
use s3d_simulator::validate::{
    self, Errors, block_sums, bookkeeping, control, rivals, sweep_regret, waterfall,
    waterfall::WaterfallStep,
};
use serde_json::json;

/// Judges a run; fails when a generation did not take the iterations that its trace replays.
pub fn validate(args: &ValidateArgs) -> anyhow::Result<()> {
    let run = load_run::load(&RunDir::new(&args.dir))?;
    if let Some(count) = args.rivals {
        return second_round(&load_run::one_of(run, args.machine)?, args, count);
    }
    let replays = validate::replayed_iterations(&run)?;
    terminal::note(&match replays.compared {
        0 => "replay: no generation can be compared with its trace (texts that are drawn never \
              can: each is another one)"
            .into(),
        compared => format!(
            "replay: {} of {compared} generations took exactly the iterations that their traces \
             replay",
            replays.equal
        ),
    });
    let run = load_run::one_of(run, args.machine)?;
    checks(&run, args.seed);
    let seen = &run.observations;
    let ran = seen.throughput.iter().any(|sample| sample.plan.draft().is_some());
    let alone = ran && seen.traces.is_empty() && run.header.times_from() == TimesFrom::Clock;
    if !seen.latency.is_empty() || alone {
        let request = Request { seed: args.seed, ..Request::of(&run.header) };
        judgement(&conclude(run, request)?, args)?;
    }
    anyhow::ensure!(
        replays.equal == replays.compared,
        "{}: {} generations differ from their replay; the first: {}",
        args.dir.display(),
        replays.different(),
        replays.first_difference.unwrap_or_default()
    );
    Ok(())
}

/// The plan that was recommended before the sweep; regret is that plan's.
fn recorded_choice(args: &ValidateArgs) -> anyhow::Result<Plan> {
    let dir = RunDir::new(args.choice_of.as_ref().unwrap_or(&args.dir));
    let recommendation = dir.load_recommendation()?;
    recommendation.choice.map(|choice| choice.plan).ok_or_else(|| {
        let file = dir.recommendation();
        anyhow::anyhow!("{}: it holds no choice; run s3d run first", file.display())
    })
}

/// The plans of a sweep's second measurement, as `--plans` takes them.
fn second_round(run: &Run, args: &ValidateArgs, count: usize) -> anyhow::Result<()> {
    let choice = recorded_choice(args)?;
    let others = rivals(run, &Blocks::new(run, 0, args.seed), &choice, count);
    anyhow::ensure!(
        !others.is_empty(),
        "{}: no sweep of all symmetric windows, predictors and draftings in it; measure it with \
         s3d measure throughput --plans all --out {}",
        args.dir.display(),
        args.dir.display()
    );
    let plans: Vec<String> = [choice].iter().chain(&others).map(ToString::to_string).collect();
    terminal::result(&plans.join(","))
}

/// What the measurements say about themselves: the two copies of the control, and whether the times
/// of components add up to those of passes.
fn checks(run: &Run, seed: u64) {
    if let Some((ratio, blocks)) = control::control(run, 0, seed) {
        let covered = if ratio.covers(1.0) { "covers" } else { "does not cover" };
        terminal::note(&format!(
            "control: two copies of plain decoding: {ratio:.4} over {blocks} blocks, {covered} 1"
        ));
    }
    if let Some(sums) = block_sums::sums(run, 0) {
        let share = |value: Option<f64>| value.map_or("unknown".into(), |v| Share(v).to_string());
        terminal::note(&format!(
            "sums: components add up to passes within {} (median of {} cells), {} (worst); the \
             fixed cost is {} of a pass; draft passes estimated from a full pass's layers are {} \
             too \
             slow (what the cache saves), which is why draft passes are timed in place",
            Share(sums.median),
            sums.cells.len(),
            Share(sums.worst),
            share(sums.fixed),
            share(sums.cache),
        ));
    }
}

fn judgement(conclusion: &Conclusion, args: &ValidateArgs) -> anyhow::Result<()> {
    let (run, request) = (&conclusion.run, &conclusion.request);
    let known = bookkeeping(run, request)?;
    let recommendation = &conclusion.choice.recommendation;
    let chosen = recommendation.choice.as_ref();
    let steps = match chosen.and_then(|choice| choice.plan.draft().zip(Some(choice))) {
        Some((draft, choice)) if !run.observations.traces.is_empty() => {
            waterfall::waterfall(run, request, draft, choice.measured_speedup)?
        }
        _ => Vec::new(),
    };
    let blocks = Blocks::new(run, request.machine, request.seed);
    let recorded = match &args.choice_of {
        Some(_) => Some(recorded_choice(args)?), // asked for by name: it must be there
        None => recorded_choice(args).ok(),
    };
    let swept = recorded.and_then(|choice| sweep_regret(run, &blocks, &choice));
    let (regret, basis) = match &swept {
        Some(regret) => (Some(regret.estimate), Some(regret.basis)),
        None => (recommendation.regret_bound, recommendation.regret_basis),
    };
    let value = json!({
        "sums": block_sums::sums(run, request.machine),
        "control": control::control(run, request.machine, request.seed).map(|(ratio, _)| ratio),
        "held_out": conclusion.held_out,
        "bookkeeping": known,
        "regret_bound": regret,
        "regret_basis": basis,
        "waterfall": steps,
    });
    let mut shown = vec![errors(conclusion.held_out.as_ref(), known.as_ref())];
    shown.extend(regret.map(|regret| regret_table(regret, basis)));
    shown.push(waterfall_table(&steps));
    shown.push(tables::held_out(&conclusion.report_input()?));
    if let Some(errors) = conclusion.held_out.as_ref() {
        note_not_predicted(errors);
    }
    if run.observations.traces.is_empty() {
        shown.push(tables::plans(recommendation));
    }
    shown.retain(|table| !table.rows.is_empty());
    show::tables(&value, &shown, &args.output)
}

/// Names the plans that were run and are not predicted unseen.
fn note_not_predicted(errors: &Errors) {
    let plans: Vec<String> = errors.not_predicted.iter().map(ToString::to_string).collect();
    if !plans.is_empty() {
        terminal::note(&format!(
            "not predicted unseen: {} (windows at an edge of the model, without traced windows \
             around them, or with fewer traces or times than others)",
            plans.join(", ")
        ));
    }
}

/// How wrong predictions were, over plans that were run end to end.
fn errors(held_out: Option<&Errors>, known: Option<&Errors>) -> Table {
    let columns = vec![
        Column::new("what was known of the plan"),
        Column::new("plans"),
        Column::unit("median error", "%"),
        Column::unit("95th percentile", "%"),
        Column::unit("inside the interval", "%"),
    ];
    let row = |words: &str, error: &PredictionError| {
        let share = |fraction: f64| Cell::Share(Estimate::exact(fraction));
        vec![
            Cell::text(words),
            Cell::Count(error.held_out as u64),
            share(error.median),
            share(error.p95),
            share(error.coverage_95),
        ]
    };
    let rows = [
        held_out.map(|e| row("held out, neighbouring windows traced", &e.summary)),
        known.map(|e| row("trace and pass times (bookkeeping)", &e.summary)),
    ];
    Table::new("errors", "Predicted against measured speedup", columns)
        .rows(rows.into_iter().flatten())
}

fn regret_table(regret: Estimate, basis: Option<RegretBasis>) -> Table {
    let words = match basis {
        Some(RegretBasis::Sweep) => "second measurement of the choice and the best of a sweep",
        _ => "bootstrap bound over predicted plans (no sweep was measured)",
    };
    let columns = vec![Column::unit("regret", "%"), Column::new("how")];
    Table::new("regret", "Speed lost against the best plan", columns)
        .rows([vec![Cell::Share(regret), Cell::text(words)]])
}

fn waterfall_table(steps: &[WaterfallStep]) -> Table {
    let columns = vec![Column::new("cause"), Column::unit("speedup so far", "times")];
    let speedup = |s: &WaterfallStep| {
        s.measured.map_or(Cell::Number(s.speedup, 3), |measured| Cell::Estimate(measured, 3))
    };
    let row = |s: &WaterfallStep| vec![Cell::text(s.cause), speedup(s)];
    Table::new("waterfall", "From the ideal to the measured speedup", columns)
        .rows(steps.iter().map(row))
}
