//! `s3d train`: a preset from nothing, or mask predictors for a checkpoint that has none; begun, or gone
//! on with where it stopped.

mod begin;
mod cues;
mod held_out;
mod place;

use crate::args::TrainArgs;
use crate::shared::heartbeat::Heartbeat;
use crate::shared::usage::usage;
use crate::shared::{load, terminal};
use held_out::{Judge, Summary};
use place::Place;
use s3d_measure::{Clock, SystemClock};
use s3d_model::device::DeviceName;
use s3d_train::{StepReport, Trainer};
use std::path::Path;

/// Held-out prompts written beside the model.
const SHIPPED_PROMPTS: usize = 240;
/// Steps whose time says how many of them fit into `--cpu-seconds`.
const TIMED_STEPS: u64 = 10;

/// Trains, keeps a state to go on from, saves the model, judges it on held-out text.
pub fn train(args: &TrainArgs) -> anyhow::Result<()> {
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
    let clock = SystemClock::new(&device);
    begin::check(args)?;
    let place = Place::take(args)?;
    let talk = Heartbeat::new(args.quiet);
    talk.show(0.0, "reading".into());
    let mut trainer = begin::trainer(args, &place, &talk)?;
    if name != DeviceName::Cpu {
        trainer.move_to(&device)?;
    }
    let mut judge = Judge::new(&trainer, args.validate_positions);
    // A run that goes on has its length in its state.
    if args.cpu_seconds.is_some() && trainer.steps_done() == 0 {
        judge.training_cpu_seconds += stretch(&mut trainer, args, &clock)?;
    }
    steps(args, &place, &mut trainer, &mut judge, (&clock, &talk))?;
    trainer.download()?;
    place.keep("", |folder| save(&trainer, folder))?;
    let summary: Summary = judge.conclude(&trainer, &clock, &talk)?;
    talk.clear();
    terminal::json(&summary)
}

/// The steps that are left, with what is kept on the way.
fn steps(
    args: &TrainArgs,
    place: &Place,
    trainer: &mut Trainer,
    judge: &mut Judge,
    (clock, talk): (&SystemClock, &Heartbeat),
) -> anyhow::Result<()> {
    let steps = trainer.config().steps;
    while trainer.steps_done() < steps {
        let start = clock.cpu().0;
        let report = trainer.step()?;
        judge.training_cpu_seconds += clock.cpu().0 - start;
        talk.show(report.step as f64 / steps as f64, progress(&report, steps));
        let is_last = report.step == steps;
        if report.step.is_multiple_of(args.checkpoint_every) || is_last {
            trainer.download()?;
            place.keep_state(|folder| trainer.checkpoint(folder))?;
        }
        if args.keep.contains(&report.step) {
            trainer.download()?;
            place.keep(&format!("step-{}", report.step), |folder| save(trainer, folder))?;
        }
        if args.validate_every > 0 && report.step.is_multiple_of(args.validate_every) && !is_last {
            trainer.download()?;
            let found = judge.validate(trainer, talk)?;
            talk.above(&format!("step {} of {steps}: {found}", report.step));
        }
    }
    Ok(())
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
fn save(trainer: &Trainer, folder: &Path) -> s3d_model::Result<()> {
    trainer.save(folder)?;
    trainer.save_prompts(folder, SHIPPED_PROMPTS)
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
    let steps = held_out::steps_within(wanted, used - first, TIMED_STEPS - 1);
    trainer.stretch(steps.max(TIMED_STEPS));
    Ok(used)
}
