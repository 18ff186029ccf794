//! A run directory as one machine saw it: what the commands that conclude start from.

use crate::args::MachineArgs;
use crate::shared::usage::or_usage;
use crate::shared::{show, terminal};
use s3d_data::{Run, RunDir};
use s3d_simulator::choose::machines::on_machine;

/// Reads a run; see [`one_of`].
///
/// # Errors
/// A run that does not load, or does not have the machine.
pub fn one_machine(dir: &RunDir, args: MachineArgs) -> anyhow::Result<Run> {
    one_of(load(dir)?, args)
}

/// Reads a run. Of one that was interrupted it says so, and how it goes on; what it holds so far is
/// used.
///
/// # Errors
/// A run that does not load.
pub fn load(dir: &RunDir) -> anyhow::Result<Run> {
    let mut run = dir.load()?;
    if run.header.ended.is_none() {
        let note = format!(
            "{}: interrupted, and concluded from what it holds so far; go on with: {}",
            dir.root().display(),
            show::command(&run.header.command)
        );
        terminal::note(&note);
        if !run.header.warnings.contains(&note) {
            run.header.warnings.push(note);
        }
    }
    Ok(run)
}

/// The run with the times of one of its machines; says which where there are several.
///
/// # Errors
/// A machine that it does not have.
pub fn one_of(run: Run, args: MachineArgs) -> anyhow::Result<Run> {
    let machines = run.header.machines.len();
    let seen = on_machine(run, args.machine);
    let run = match args.machine {
        Some(_) => or_usage("--machine", seen)?,
        None => seen?,
    };
    if machines > 1
        && let Some(which) = run.header.warnings.first()
    {
        terminal::note(which);
    }
    Ok(run)
}
