//! `s3d train`: a preset from nothing, or mask predictors for a checkpoint that has none; begun, or gone
//! on with where it stopped.

mod judge;

use crate::args::{Method, Objective, Targets, TrainArgs};
use crate::progress::Bar;
use crate::usage::usage;
use crate::{load, locate, resolve, terminal};
use judge::{Judge, Summary};
use s3d_measure::{Clock, SystemClock};
use s3d_model::config::AdapterConfig;
use s3d_model::device::DeviceName;
use s3d_model::train::{
    Corpus, DraftTargets, Own, Practice, StepReport, TrainConfig, Trainer, read_texts,
};
use std::path::Path;

/// Held-out prompts written beside the model.
const SHIPPED_PROMPTS: usize = 240;
/// Steps on a checkpoint, where nothing else is said.
const OWN_STEPS: u64 = 600;
/// Steps whose time says how many of them fit into `--cpu-seconds`.
const TIMED_STEPS: u64 = 10;
/// Steps of a run whose length is not known yet: the rate still rises.
const UNKNOWN_STEPS: u64 = 1 << 20;

/// Trains, keeps a state to go on from, saves the model, judges it on held-out text.
pub fn train(args: &TrainArgs) -> anyhow::Result<()> {
    let state = args.out.join("state");
    if args.cpu_seconds.is_some() && args.device != "cpu" {
        let found = &args.device;
        return Err(usage(format!(
            "--cpu-seconds: expected --device cpu, found {found}; give --steps"
        )));
    }
    if args.device.ends_with(DeviceName::GRAPHS) {
        return Err(usage("--device: training records no passes; leave out +graphs"));
    }
    let (name, device) = load::device(&args.device)?;
    let on_card = name != DeviceName::Cpu;
    let clock = SystemClock::new(&device);
    let bar = Bar::new(args.quiet);
    let mut trainer = trainer(args, &state)?;
    if on_card {
        trainer.move_to(&device)?;
    }
    let mut judge = Judge::new(&trainer);
    if trainer.config().steps == UNKNOWN_STEPS {
        judge.training_cpu_seconds += stretch(&mut trainer, args, &clock)?;
    }
    let steps = trainer.config().steps;
    while trainer.steps_done() < steps {
        let start = clock.cpu().0;
        let report = trainer.step()?;
        judge.training_cpu_seconds += clock.cpu().0 - start;
        bar.show(report.step as f64 / steps as f64, progress(&report, steps));
        let is_last = report.step == steps;
        if report.step.is_multiple_of(args.checkpoint_every) || is_last {
            trainer.settle()?;
            trainer.checkpoint(&state)?;
        }
        if args.keep.contains(&report.step) {
            trainer.settle()?;
            keep(&trainer, &args.out.join(format!("step-{}", report.step)))?;
        }
        if args.validate_every > 0 && report.step.is_multiple_of(args.validate_every) && !is_last {
            trainer.settle()?;
            let found = judge.validate(&trainer)?;
            bar.above(&format!("step {} of {steps}: {found}", report.step));
        }
    }
    trainer.settle()?;
    bar.show(1.0, "judging on held-out text".into());
    keep(&trainer, &args.out)?;
    let summary: Summary = judge.conclude(&trainer, &clock)?;
    bar.clear();
    terminal::json(&summary)
}

fn progress(report: &StepReport, steps: u64) -> String {
    let mut words = format!("step {} of {steps}", report.step);
    if report.text_loss > 0.0 {
        words += &format!("  text loss {:.3}", report.text_loss);
    }
    if let [first, .., last] = report.draft_loss[..] {
        words += &format!("  first and last draft {first:.2} {last:.2} nats");
    }
    words
}

/// The model as it is now, with prompts, so that it can be measured.
fn keep(trainer: &Trainer, folder: &Path) -> anyhow::Result<()> {
    trainer.save(folder)?;
    Ok(trainer.save_prompts(folder, SHIPPED_PROMPTS)?)
}

/// Makes the first steps and gives the run the length that `--cpu-seconds` allows; returns the
/// processor time taken.
fn stretch(trainer: &mut Trainer, args: &TrainArgs, clock: &SystemClock) -> anyhow::Result<f64> {
    let wanted = args.cpu_seconds.unwrap_or_default();
    let start = clock.cpu().0;
    // The first step fills buffers and is not typical.
    trainer.step()?;
    let first = clock.cpu().0 - start;
    (1..TIMED_STEPS).try_for_each(|_| trainer.step().map(drop))?;
    let used = clock.cpu().0 - start;
    let steps = judge::steps_within(wanted, used - first, TIMED_STEPS - 1);
    trainer.stretch(steps.max(TIMED_STEPS));
    Ok(used)
}

/// A run to begin or to go on with.
fn trainer(args: &TrainArgs, state: &Path) -> anyhow::Result<Trainer> {
    let threads = resolve::threads(args.threads)?;
    if args.checkpoint_every == 0 {
        return Err(usage("--checkpoint-every: expected at least 1, found 0"));
    }
    if args.steps == Some(0) {
        return Err(usage("--steps: expected at least 1, found 0"));
    }
    if let Some(seconds) = args.cpu_seconds.filter(|s| !s.is_finite() || *s <= 0.0) {
        return Err(usage(format!("--cpu-seconds: expected a time above 0, found {seconds}")));
    }
    match (&args.model, args.preset.as_deref().unwrap_or("story")) {
        (Some(model), "story") => own(args, model, state, threads),
        (Some(_), other) => Err(usage(format!("--preset: expected story, found '{other}'"))),
        (None, "story") => preset(args, TrainConfig::story(args.seed), state, threads),
        (None, "story-large") => preset(args, TrainConfig::story_large(args.seed), state, threads),
        (None, other) => {
            Err(usage(format!("--preset: expected story or story-large, found '{other}'")))
        }
    }
}

/// Steps that were asked for; [`UNKNOWN_STEPS`] with `--cpu-seconds`.
fn steps(args: &TrainArgs, default: u64) -> u64 {
    let unknown = args.cpu_seconds.map(|_| UNKNOWN_STEPS);
    args.steps.or(unknown).unwrap_or(default)
}

fn has_state(state: &Path) -> bool {
    state.join("training.safetensors").is_file()
}

fn preset(
    args: &TrainArgs,
    mut config: TrainConfig,
    state: &Path,
    threads: usize,
) -> anyhow::Result<Trainer> {
    config.steps = steps(args, config.steps);
    if args.objective == Objective::Text {
        config = config.text_only();
    }
    if !has_state(state) {
        return Ok(Trainer::new(config, threads)?);
    }
    let trainer = Trainer::resume(state, threads)?;
    anyhow::ensure!(
        trainer.config().model.hidden_size == config.model.hidden_size,
        "{}: holds a training of another preset; give another --out, or remove the folder to start over",
        state.display()
    );
    let known = |config: &TrainConfig| {
        let steps = if args.cpu_seconds.is_some() { 0 } else { config.steps };
        (config.seed, steps, config.model.masks(), config.began_with.is_some())
    };
    let found = trainer.config();
    anyhow::ensure!(
        known(found) == known(&config),
        "{}: holds a training with seed {}, {} steps and {} masks, but seed {}, {} steps and {} masks were \
         asked for; give another --out, or remove the folder to start over",
        state.display(),
        found.seed,
        found.steps,
        found.model.masks(),
        config.seed,
        config.steps,
        config.model.masks()
    );
    Ok(trainer)
}

/// What drafts of a checkpoint learn: what was asked for, else what suits the method.
fn draft_targets(args: &TrainArgs) -> anyhow::Result<DraftTargets> {
    match (args.targets, args.method) {
        (Some(Targets::Choices), Method::Joint) => Err(usage(
            "--targets: expected text with --method joint, which changes what the model chooses; found choices",
        )),
        (Some(Targets::Text), _) | (None, Method::Joint) => Ok(DraftTargets::Text),
        (_, Method::Adapters) => Ok(DraftTargets::Choices),
    }
}

fn own(args: &TrainArgs, model: &str, state: &Path, threads: usize) -> anyhow::Result<Trainer> {
    let (folder, _) = locate::model(model, false)?;
    if folder.canonicalize().ok().is_some_and(|from| args.out.canonicalize().ok() == Some(from)) {
        return Err(usage(format!(
            "--out {}: expected another folder than --model, which is not changed",
            args.out.display()
        )));
    }
    for (flag, value, most) in [
        ("--rank", args.rank, 1024),
        ("--batch", args.batch, 1024),
        ("--gamma-max", args.gamma_max, 64),
        ("--context", args.context.unwrap_or(1), 1 << 20),
    ] {
        let least = if flag == "--gamma-max" { 2 } else { 1 };
        if !(least..=most).contains(&value) {
            return Err(usage(format!("{flag}: expected {least} to {most}, found {value}")));
        }
    }
    if let Some(rate) = args.learning_rate.filter(|r| !r.is_finite() || *r <= 0.0) {
        return Err(usage(format!("--learning-rate: expected a number above 0, found {rate}")));
    }
    let adapters = AdapterConfig::of_rank(args.rank);
    let texts = match (&args.corpus[..], &args.preset) {
        ([], None) => {
            return Err(usage(format!(
                "--model {model}: expected --corpus FILES with texts to train on (or --preset story for \
                 generated ones)"
            )));
        }
        ([], Some(_)) => None,
        (files, _) => Some(read_texts(files)?),
    };
    let own = Own {
        folder: &folder,
        corpus: texts.as_ref().map_or(Corpus::Generated, Corpus::Texts),
        warm: None,
        groups: None,
        practice: Practice::default(),
        adapters: (args.method == Method::Adapters).then_some(adapters),
        draft_targets: draft_targets(args)?,
        masks: args.gamma_max - 1,
        context: args.context,
        batch: args.batch,
        steps: steps(args, OWN_STEPS),
        learning_rate: args.learning_rate,
        seed: args.seed,
    };
    let mut trainer = own.begin(threads)?;
    if has_state(state) {
        trainer.go_on(state, args.cpu_seconds.is_some())?;
    }
    Ok(trainer)
}
