//! `s3d train`: a preset from nothing, or mask predictors for a checkpoint that has none; begun, or
//! gone on with where it stopped.

mod begin;
mod cues;
mod place;

use crate::args::TrainArgs;
use crate::shared::heartbeat::Heartbeat;
use crate::shared::held_out_text::{HeldOutText, Summary};
use crate::shared::step_budget::stretch;
use crate::shared::usage::usage;
use crate::shared::{load, terminal};
use place::Place;
use s3d_measure::SystemClock;
use s3d_model::device::DeviceName;
use s3d_train::{StepReport, Trainer};
use std::path::Path;

/// Held-out prompts written beside the model.
const SHIPPED_PROMPTS: usize = 240;

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
    if let Ok(name @ DeviceName::Gpu { .. }) = args.device.parse() {
        return Err(usage(format!("--device: training runs on cpu or cuda, found {name}")));
    }
    let (name, device) = load::device(&args.device)?;
    let clock = SystemClock::new(&device);
    begin::check(args)?;
    let place = Place::take(args)?;
    let talk = Heartbeat::new(args.quiet);
    talk.show(0.0, "reading".into());
    let mut trainer = begin::trainer(args, &place, &talk)?;
    if name != DeviceName::Cpu {
        trainer.move_to(device.tensors())?;
    }
    let mut held_out = HeldOutText::new(&trainer, args.validate_positions);
    // A run that goes on has its length in its state.
    if let Some(seconds) = args.cpu_seconds
        && trainer.steps_done() == 0
    {
        held_out.training(&clock, || stretch(&mut trainer, seconds, &clock))?;
    }
    steps(args, &place, &mut trainer, &mut held_out, (&clock, &talk))?;
    trainer.download()?;
    place.keep("", |folder| save(&trainer, folder))?;
    let summary: Summary = held_out.conclude(&trainer, &clock, &talk)?;
    talk.clear();
    terminal::json(&summary)
}

/// The steps that are left, with what is kept on the way.
fn steps(
    args: &TrainArgs,
    place: &Place,
    trainer: &mut Trainer,
    held_out: &mut HeldOutText,
    (clock, talk): (&SystemClock, &Heartbeat),
) -> anyhow::Result<()> {
    let steps = trainer.config().steps;
    while trainer.steps_done() < steps {
        let report = held_out.training(clock, || Ok(trainer.step()?))?;
        talk.part(report.step, steps, progress(&report, steps));
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
            let found = held_out.validate(trainer, talk)?;
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
