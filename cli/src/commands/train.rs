//! `s3d train`: the masked-prediction training of a preset, from nothing or from where it stopped.

use crate::args::TrainArgs;
use crate::progress::Bar;
use crate::usage::usage;
use crate::{resolve, terminal};
use anyhow::Context;
use s3d_data::SkipWindow;
use s3d_measure::{Clock, SystemClock};
use s3d_model::LoadOptions;
use s3d_model::corpus::prompts;
use s3d_model::train::{GreedyTrace, HeldOut, TrainConfig, Trainer, walk};
use serde::Serialize;
use std::path::Path;

/// Held-out documents of the loss.
const DOCUMENTS: u64 = 60;
/// Held-out prompts of the acceptance table.
const PROMPTS: usize = 60;
/// Held-out prompts written beside the model.
const SHIPPED_PROMPTS: usize = 240;
/// Tokens continued after each prompt.
const TOKENS: usize = 128;
/// Predictors of the acceptance table's tokens per iteration.
const PREDICTORS: usize = 4;

/// Trains, keeps a state to go on from, saves the model, judges it on held-out text.
pub fn train(args: &TrainArgs) -> anyhow::Result<()> {
    let state = args.out.join("state");
    let clock = SystemClock::new(&LoadOptions::default().device);
    let bar = Bar::new(args.quiet);
    let mut trainer = trainer(args, &state)?;
    let steps = trainer.config().steps;
    while trainer.steps_done() < steps {
        let report = trainer.step()?;
        bar.show(
            report.step as f64 / steps as f64,
            format!(
                "step {} of {steps}  text loss {:.3}  first and last draft {:.2} {:.2} nats",
                report.step,
                report.text_loss,
                report.draft_loss.first().copied().unwrap_or_default(),
                report.draft_loss.last().copied().unwrap_or_default()
            ),
        );
        if report.step.is_multiple_of(args.checkpoint_every) || report.step == steps {
            trainer.checkpoint(&state)?;
        }
        if args.keep.contains(&report.step) {
            keep(&trainer, &args.out.join(format!("step-{}", report.step)))?;
        }
    }
    bar.show(1.0, "judging on held-out text".into());
    keep(&trainer, &args.out)?;
    let summary = judge(&trainer, &clock)?;
    bar.clear();
    terminal::json(&summary)
}

/// The model as it is now, with prompts, so that it can be measured.
fn keep(trainer: &Trainer, folder: &Path) -> anyhow::Result<()> {
    trainer.save(folder)?;
    Ok(trainer.save_prompts(folder, SHIPPED_PROMPTS)?)
}

/// A run to begin or to go on with.
fn trainer(args: &TrainArgs, state: &Path) -> anyhow::Result<Trainer> {
    let threads = resolve::threads(args.threads)?;
    if args.checkpoint_every == 0 {
        return Err(usage("--checkpoint-every: expected at least 1, found 0"));
    }
    let mut config = match args.preset.as_str() {
        "story" => TrainConfig::story(args.seed),
        other => return Err(usage(format!("--preset: expected story, found '{other}'"))),
    };
    config.steps = args.steps.unwrap_or(config.steps);
    if !state.join("training.safetensors").is_file() {
        return Ok(Trainer::new(config, threads)?);
    }
    let trainer = Trainer::resume(state, threads)?;
    let (found, wanted) = (trainer.config(), &config);
    anyhow::ensure!(
        (found.seed, found.steps) == (wanted.seed, wanted.steps),
        "{}: holds a training with seed {} and {} steps, but seed {} and {} steps were asked for; \
         give another --out, or remove the folder to start over",
        state.display(),
        found.seed,
        found.steps,
        wanted.seed,
        wanted.steps
    );
    Ok(trainer)
}

/// What held-out text says of a trained model.
#[derive(Serialize)]
struct Summary {
    steps: u64,
    parameters: usize,
    held_out_nats_per_token: f64,
    characters_per_token: f64,
    acceptance: Vec<Acceptance>,
    judging_seconds: f64,
}

/// Acceptance with one window skipped, simultaneous drafting.
#[derive(Serialize)]
struct Acceptance {
    skip: String,
    tokens_per_iteration_at_4: f64,
    alpha: Vec<f64>,
}

fn judge(trainer: &Trainer, clock: &SystemClock) -> anyhow::Result<Summary> {
    let start = clock.now().0;
    let loss = trainer
        .held_out(DOCUMENTS)?
        .into_iter()
        .fold(HeldOut::default(), |all, (_, loss)| all.and(loss));
    let config = trainer.config();
    let layers = config.model.num_hidden_layers;
    let windows: Vec<SkipWindow> = SkipWindow::all_symmetric(layers);
    let prompts = prompts(config.seed, PROMPTS);
    let traces = trainer.acceptance(&prompts, TOKENS, &windows)?;
    let masks = config.model.s3d.as_ref().context("the preset trains masks")?.masks;
    let row = |(window, traces): (&SkipWindow, &Vec<GreedyTrace>)| {
        let all: Vec<&GreedyTrace> = traces.iter().collect();
        Acceptance {
            skip: window.to_string(),
            tokens_per_iteration_at_4: walk(&all, PREDICTORS).0,
            alpha: walk(&all, masks + 1).1,
        }
    };
    Ok(Summary {
        steps: trainer.steps_done(),
        parameters: trainer.parameters(),
        held_out_nats_per_token: loss.nats_per_token(),
        characters_per_token: loss.characters_per_token(),
        acceptance: windows.iter().zip(&traces).map(row).collect(),
        judging_seconds: clock.now().0 - start,
    })
}
