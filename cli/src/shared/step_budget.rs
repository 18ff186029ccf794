//! How many training steps fit into the processor time that was asked for.

use s3d_measure::{Clock, SystemClock};
use s3d_train::Trainer;

/// Steps whose time says how many of them fit into `--cpu-seconds`.
const TIMED_STEPS: u64 = 10;

/// Makes the first steps and gives the run the length that `--cpu-seconds` allows.
///
/// # Errors
/// Those of a step.
pub fn stretch(trainer: &mut Trainer, wanted: f64, clock: &SystemClock) -> anyhow::Result<()> {
    let start = clock.cpu().0;
    // The first step fills buffers and is not typical.
    trainer.step()?;
    let first = clock.cpu().0 - start;
    (1..TIMED_STEPS).try_for_each(|_| trainer.step().map(drop))?;
    let used = clock.cpu().0 - start;
    let steps = steps_within(wanted, used - first, TIMED_STEPS - 1);
    trainer.stretch(steps.max(TIMED_STEPS));
    Ok(())
}

/// Steps that fit into `seconds` when `steps` of them took `used`.
fn steps_within(seconds: f64, used: f64, steps: u64) -> u64 {
    (seconds * steps as f64 / used.max(f64::MIN_POSITIVE)).round() as u64
}
