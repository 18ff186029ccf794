//! A whole run: stage after stage into a run directory, from wherever it was interrupted.

use crate::bench::Bench;
use crate::clock::{Clock, resolution};
use crate::diagnose;
use crate::error::{Error, Result};
use crate::machine::card;
use crate::machine::{self, Ticks};
use crate::record::recorder::{Recorder, new_header};
use crate::record::resume::Start;
use crate::request::{Request, Subject};
use crate::stages::run_stages;
use crate::starts::spread;
use crate::stopping::{Judge, Progress};
use crate::warning::Warning;
use s3d_data::{Holds, Output, Run, RunDir, Seconds, Stop};

/// So many times the budget is told as more than was given.
const LATE: f64 = 1.15;

/// What a run left behind.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Header and observations, as written.
    pub run: Run,
    /// Advice; its texts are in the header.
    pub warnings: Vec<Warning>,
    /// Why the end-to-end blocks stopped, if they were measured now.
    pub stop: Option<Stop>,
}

/// Measures what `request` asks for into `out` and returns it.
///
/// Every finished observation is in the journal at once; a run that was killed goes on where it
/// stood when it is asked for again, and what is there is not measured a second time. Stages share
/// the time budget: each gets a share of what is left. The tables are written at the end, also when
/// `progress` asks to stop.
///
/// # Errors
/// A request that does not fit the model ([`Error::Invalid`]); a directory of another run
/// ([`Error::OtherRun`]); a text that differs from plain decoding ([`Error::Mismatch`]); a disk, an
/// engine or a judge that fails. What was measured before stays in the journal.
pub fn measure(
    subject: Subject<'_>,
    request: &Request,
    out: &RunDir,
    clock: &dyn Clock,
    judge: &mut dyn Judge,
    progress: &mut dyn Progress,
) -> Result<Outcome> {
    let output = Output::open(out.root(), Holds::Run)?;
    measure_into(subject, request, (&output, Start::Resume), clock, judge, progress)
}

/// As [`measure`], into a folder that is taken already; [`Start::Over`] replaces the run that is
/// there.
///
/// # Errors
/// As [`measure`].
pub fn measure_into(
    subject: Subject<'_>,
    request: &Request,
    (output, start): (&Output, Start),
    clock: &dyn Clock,
    judge: &mut dyn Judge,
    progress: &mut dyn Progress,
) -> Result<Outcome> {
    request.validate(subject.model)?;
    let watch = request.provenance.device.parse().ok().and_then(card::watch);
    let mut machine = machine::describe_device(subject.model.device());
    machine.card = watch.as_ref().and_then(|watch| watch.look());
    let header = new_header(request, subject.model.identity(), machine);
    let recorder = Recorder::open(output, header, start, clock)?;
    let mut bench = Bench::new(subject, request, clock, recorder, judge, progress, watch);
    let before = (Ticks::now(), clock.now(), clock.cpu());
    let stages = run_stages(&mut bench);
    match stages {
        Ok(stop) => {
            look_back(&mut bench, before);
            close(bench, stop)
        }
        Err(Error::Interrupted) => {
            bench.recorder.save(false)?;
            Err(Error::Interrupted)
        }
        Err(error) => Err(error),
    }
}

/// Everything that can only be said when the run is over.
fn look_back(bench: &mut Bench<'_>, (ticks, wall, cpu): (Option<Ticks>, Seconds, Seconds)) {
    let header = &bench.recorder.run.header;
    let machine = header.machines.first();
    let mut found = Vec::new();
    let mut others = None;
    if let (Some(before), Some(after), Some(machine)) = (ticks, Ticks::now(), machine) {
        let wall = bench.clock.now() - wall;
        let own = bench.clock.cpu() - cpu + bench.recorder.children_cpu;
        let (share, warnings) = diagnose::others(before, after, own, wall, machine.cores);
        others = share;
        found.extend(warnings);
    }
    let governor = machine.and_then(|machine| machine.governor.as_deref());
    if bench.subject.model.device().is_cpu() {
        found.extend(diagnose::changing_clock(&bench.rates, governor));
    }
    found.extend(card::held_down(&bench.looks));
    let (spent, budget) = (bench.recorder.spent(), bench.request.time_budget);
    if spent > budget * LATE && bench.request.shard.is_none() {
        found.push(Warning::OverBudget { budget, spent });
    }
    found.extend(about_observations(bench));
    bench.warnings.extend(found);
    // Of a run that only looked whether there was something to measure, the earlier share stands.
    let header = &mut bench.recorder.run.header;
    header.other_programs = others.or(header.other_programs);
}

fn about_observations(bench: &Bench<'_>) -> Vec<Warning> {
    let seen = &bench.recorder.run.observations;
    let mut found = diagnose::throughput(&seen.throughput);
    found.extend(diagnose::latency(&seen.latency, resolution(bench.clock)));
    if bench.subject.model.device().is_cpu() {
        found.extend(diagnose::waiting(&seen.latency, bench.request.threads));
    }
    found.extend(diagnose::near_ties(&seen.near_ties));
    found.extend(diagnose::memory(&seen.memory));
    if let (Some(machine), Some(rate)) = (
        bench.recorder.run.header.machines.first(),
        diagnose::plain_tokens_per_second(&seen.throughput),
    ) {
        let streamed = bench.subject.model.streamed_bytes();
        let rate = s3d_data::BytesPerSecond(rate * streamed as f64);
        found.extend(diagnose::bandwidth_share(machine, streamed, rate));
    }
    found
}

fn close(mut bench: Bench<'_>, stop: Option<Stop>) -> Result<Outcome> {
    let samples = &bench.recorder.run.observations.throughput;
    let mut starts = spread::of(samples);
    if let Some(starts) = &mut starts {
        starts.fewer_because = bench.turns.fewer_because(starts.count);
    }
    bench.recorder.run.header.starts = starts;
    let header = &mut bench.recorder.run.header;
    for warning in bench.warnings.iter().map(ToString::to_string) {
        if !header.warnings.contains(&warning) {
            header.warnings.push(warning);
        }
    }
    bench.recorder.save(true)?;
    Ok(Outcome { run: bench.recorder.run, warnings: bench.warnings, stop })
}
