//! The machines of a merged run: whose times an answer is made of.
//!
//! Times of different machines are never mixed into one number: an answer is that of one machine.
//! Acceptance is taken from all: a text and its drafts are the same wherever they are computed.

use crate::error::{Error, Result};
use s3d_data::{Run, RunHeader};
use std::collections::BTreeSet;

/// `run` as one of its machines saw it: the one asked for, else the first whose passes were timed
/// one by one, else the first that timed anything. Where there are several, a warning in the header
/// says which it is. A run of one machine stays as it is.
///
/// # Errors
/// A machine that timed nothing although others did, or that the run does not have.
pub fn on_machine(mut run: Run, asked: Option<usize>) -> Result<Run> {
    let machine = machine_of(&run, asked)?;
    let all = run.header.machines.len();
    if all < 2 {
        return Ok(run);
    }
    let seen = &mut run.observations;
    for latency in [&mut seen.latency, &mut seen.together.latency] {
        latency.retain(|sample| sample.machine == machine);
        latency.iter_mut().for_each(|sample| sample.machine = 0);
    }
    for throughput in [&mut seen.throughput, &mut seen.together.throughput] {
        throughput.retain(|sample| sample.machine == machine);
        throughput.iter_mut().for_each(|sample| sample.machine = 0);
    }
    run.header.machines = run.header.machines.split_off(machine);
    run.header.machines.truncate(1);
    let name = run.header.machines.first().map_or("", |machine| machine.model.as_str());
    run.header.warnings.insert(
        0,
        format!("all times are those of machine {machine} of {all}, counted from 0: {name}"),
    );
    Ok(run)
}

fn machine_of(run: &Run, asked: Option<usize>) -> Result<usize> {
    let seen = &run.observations;
    let passes: BTreeSet<usize> = seen.latency.iter().map(|sample| sample.machine).collect();
    let generations = seen.throughput.iter().map(|sample| sample.machine);
    let timed: BTreeSet<usize> = passes.iter().copied().chain(generations).collect();
    let there = 0..run.header.machines.len().max(1);
    if let Some(&wrong) = timed.iter().find(|machine| !there.contains(machine)) {
        let expected = format!("an index into the {} machines of run.json", there.len());
        return Err(Error::domain("the machine of a sample", expected, wrong));
    }
    let known = if timed.is_empty() { there.collect() } else { timed };
    match asked {
        None => Ok(passes.first().or(known.first()).copied().unwrap_or(0)),
        Some(asked) if known.contains(&asked) => Ok(asked),
        Some(asked) => Err(Error::domain("machine", one_of(&run.header, &known), asked)),
    }
}

fn one_of(header: &RunHeader, known: &BTreeSet<usize>) -> String {
    let named = |&index: &usize| match header.machines.get(index) {
        Some(machine) => format!("{index} ({})", machine.model),
        None => index.to_string(),
    };
    let named: Vec<String> = known.iter().map(named).collect();
    format!("one that timed something: {}", named.join(", "))
}
