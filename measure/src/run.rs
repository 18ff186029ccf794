//! A whole run: stage after stage into a run directory, from wherever it was interrupted.

use crate::clock::{Clock, resolution};
use crate::machine::card::{self, CardWatch};
use crate::machine::{self, Ticks};
use crate::record::recorder::{Recorder, Start, new_header};
use crate::record::resume::stage_name;
use crate::request::{Request, Stage, Subject};
use crate::schedule::Stop;
use crate::stages::probe::device::{Sizes, rates};
use crate::stopping::{Judge, Progress, Standing, Update};
use crate::warning::Warning;
use crate::{Error, Plans, Result, diagnose};
use s3d_data::{CardState, Holds, Observation, Output, Run, RunDir, Seconds};

/// So many times the budget is told as more than was given.
const LATE: f64 = 1.15;

/// Time for the second look at the bandwidth.
const AGAIN: Seconds = Seconds(0.7);

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

/// Everything that a stage needs.
pub(crate) struct Bench<'a> {
    pub subject: Subject<'a>,
    pub request: &'a Request,
    pub clock: &'a dyn Clock,
    pub recorder: Recorder<'a>,
    pub judge: &'a mut dyn Judge,
    pub progress: &'a mut dyn Progress,
    pub standing: Option<Standing>,
    pub warnings: Vec<Warning>,
    pub stage: Stage,
    pub deadline: Seconds,
    hertz: Vec<f64>,
    /// Looks at the card, where one computes.
    watch: Option<Box<dyn CardWatch>>,
    looks: Vec<CardState>,
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

/// As [`measure`], into a folder that is taken already; [`Start::Over`] replaces the run that is there.
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
    let mut bench = Bench::new(subject, request, clock, recorder, judge, progress);
    bench.watch = watch;
    let before = (Ticks::now(), clock.now(), clock.cpu());
    let stages = bench.run_stages();
    match stages {
        Ok(stop) => {
            bench.look_back(before);
            bench.close(stop)
        }
        Err(Error::Interrupted) => {
            bench.recorder.save(false)?;
            Err(Error::Interrupted)
        }
        Err(error) => Err(error),
    }
}

impl<'a> Bench<'a> {
    fn new(
        subject: Subject<'a>,
        request: &'a Request,
        clock: &'a dyn Clock,
        recorder: Recorder<'a>,
        judge: &'a mut dyn Judge,
        progress: &'a mut dyn Progress,
    ) -> Self {
        let mut warnings = Vec::new();
        warnings
            .extend(recorder.run.header.machines.first().into_iter().flat_map(diagnose::machine));
        if recorder.run.header.model.random_weights {
            warnings.push(Warning::RandomWeights);
        }
        Self {
            subject,
            request,
            clock,
            recorder,
            judge,
            progress,
            standing: None,
            warnings,
            stage: Stage::Probe,
            deadline: Seconds(0.0),
            hertz: Vec::new(),
            watch: None,
            looks: Vec::new(),
        }
    }

    fn run_stages(&mut self) -> Result<Option<Stop>> {
        let mut stop = None;
        let mut left_out = Vec::new();
        for stage in Stage::ALL {
            let name = stage_name(stage, self.request);
            if !self.request.wants(stage) || self.recorder.is_finished(&name) {
                continue;
            }
            if self.has_no_time_for(stage) {
                left_out.push(stage.name());
                continue;
            }
            self.begin(stage);
            match stage {
                Stage::Probe => self.probe()?,
                Stage::Acceptance => crate::stages::acceptance::trace_prompts(self)?,
                Stage::Latency => crate::stages::latency::time_passes(self)?,
                Stage::Refinement => crate::stages::acceptance::refine(self)?,
                Stage::Memory => crate::stages::memory::record(self)?,
                Stage::Throughput => {
                    let why = crate::stages::throughput::generate_blocks(self)?;
                    self.recorder.run.header.stopped = Some(why.name().to_string());
                    stop = Some(why);
                }
                Stage::RunOff => crate::stages::throughput::run_off(self)?,
                Stage::Confirmation => {
                    crate::stages::throughput::confirm(self)?;
                    self.probe_again()?;
                }
            }
            self.recorder.finish(&name)?;
            if matches!(stage, Stage::Latency | Stage::Refinement) {
                let standing = self.judge.standing(&self.recorder.run).map_err(Error::Judge)?;
                self.standing = Some(standing);
            }
        }
        if !left_out.is_empty() {
            self.warnings.push(Warning::LeftOut { stages: left_out });
        }
        Ok(stop)
    }

    /// Whether the time is spent and a choice can do without `stage`. What was asked for by name, or alone, is
    /// measured however long it takes.
    fn has_no_time_for(&self, stage: Stage) -> bool {
        let asked = matches!(self.request.plans, Plans::Exactly(_)) || self.request.shard.is_some();
        let needed = matches!(stage, Stage::Probe | Stage::Acceptance | Stage::Latency);
        let first = Stage::ALL.into_iter().find(|stage| self.request.wants(*stage));
        let spent = self.recorder.spent() >= self.request.time_budget.0;
        spent && !asked && !needed && first != Some(stage)
    }

    /// Gives `stage` its share of the time that is left.
    fn begin(&mut self, stage: Stage) {
        let left = (self.request.time_budget.0 - self.recorder.spent()).max(0.0);
        let ahead = Stage::ALL.into_iter().filter(|&other| {
            let name = stage_name(other, self.request);
            other >= stage && self.request.wants(other) && !self.recorder.is_finished(&name)
        });
        let share = stage.weight() / ahead.map(Stage::weight).sum::<f64>();
        self.stage = stage;
        self.deadline = Seconds(self.clock.now().0 + left * share);
    }

    /// Says what is being measured now; an error when the watcher wants to stop.
    pub fn tell(&mut self, what: &str) -> Result<()> {
        let (spent, budget) = (self.recorder.spent(), self.request.time_budget.0);
        self.hertz.extend(machine::clock_hertz());
        self.looks.extend(self.watch.as_ref().and_then(|watch| watch.look()));
        let update = Update {
            stage: self.stage,
            what,
            fraction: (spent / budget).min(1.0),
            left: Seconds((budget - spent).max(0.0)),
            standing: self.standing.as_ref(),
        };
        match self.progress.update(update).is_break() {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    }

    /// Keeps one finished observation.
    pub fn keep(&mut self, observation: Observation) -> Result<()> {
        self.recorder.append(vec![observation])
    }

    fn probe(&mut self) -> Result<()> {
        self.tell("memory bandwidth and multiply-add rate")?;
        let budget = Seconds((self.deadline.0 - self.clock.now().0).max(0.2));
        let threads = self.request.threads;
        let device = self.subject.model.device();
        let on_card = match device.is_cpu() {
            true => None,
            false => Some(rates(device, Sizes::CARD, self.clock, budget)?),
        };
        let machine = self.recorder.run.header.machines.first_mut();
        if let (Some(machine), Some((read, rate))) = (machine, on_card) {
            machine.read_bytes_per_s = Some(read.0);
            machine.flops_per_s = Some(rate.0);
        } else if let Some(machine) = self.recorder.run.header.machines.first_mut() {
            crate::stages::probe::measure_rates(machine, threads, self.clock, budget);
        }
        self.recorder.save_header()
    }

    /// Bandwidth once more at the end: a limit is the best that was ever seen, and the machine may
    /// have been busier at the beginning.
    fn probe_again(&mut self) -> Result<()> {
        let Some(known) = self.recorder.run.header.machines.first().cloned() else {
            return Ok(());
        };
        let Some(before) = known.read_bytes_per_s else { return Ok(()) };
        self.tell("memory bandwidth once more")?;
        let device = self.subject.model.device();
        let now = if device.is_cpu() {
            let effort = crate::stages::probe::Effort::for_machine(&known, AGAIN);
            crate::stages::probe::read_bandwidth(self.request.threads, self.clock, effort).0
        } else {
            rates(device, Sizes::CARD, self.clock, AGAIN)?.0.0
        };
        if let Some(machine) = self.recorder.run.header.machines.first_mut() {
            machine.read_bytes_per_s = Some(before.max(now));
        }
        self.recorder.save_header()
    }

    /// Everything that can only be said when the run is over.
    fn look_back(&mut self, (ticks, wall, cpu): (Option<Ticks>, Seconds, Seconds)) {
        let header = &self.recorder.run.header;
        let machine = header.machines.first();
        let mut found = Vec::new();
        if let (Some(before), Some(after), Some(machine)) = (ticks, Ticks::now(), machine) {
            let wall = Seconds(self.clock.now().0 - wall.0);
            let own = Seconds(self.clock.cpu().0 - cpu.0);
            found.extend(diagnose::others(before, after, own, wall, machine.cores));
        }
        let governor = machine.and_then(|machine| machine.governor.as_deref());
        if self.subject.model.device().is_cpu() {
            found.extend(diagnose::changing_clock(&self.hertz, governor));
        }
        found.extend(card::held_down(&self.looks));
        let (spent, budget) = (Seconds(self.recorder.spent()), self.request.time_budget);
        if spent.0 > LATE * budget.0 && self.request.shard.is_none() {
            found.push(Warning::OverBudget { budget, spent });
        }
        found.extend(self.about_observations());
        self.warnings.extend(found);
    }

    fn about_observations(&self) -> Vec<Warning> {
        let seen = &self.recorder.run.observations;
        let mut found = diagnose::throughput(&seen.throughput);
        found.extend(diagnose::latency(&seen.latency, resolution(self.clock)));
        if self.subject.model.device().is_cpu() {
            found.extend(diagnose::waiting(&seen.latency, self.request.threads));
        }
        found.extend(diagnose::near_ties(&seen.near_ties));
        found.extend(diagnose::memory(&seen.memory));
        if let (Some(machine), Some(rate)) = (
            self.recorder.run.header.machines.first(),
            diagnose::plain_tokens_per_second(&seen.throughput),
        ) {
            let streamed = self.subject.model.streamed_bytes();
            let rate = s3d_data::BytesPerSecond(rate * streamed as f64);
            found.extend(diagnose::bandwidth_share(machine, streamed, rate));
        }
        found
    }

    fn close(mut self, stop: Option<Stop>) -> Result<Outcome> {
        let header = &mut self.recorder.run.header;
        for warning in self.warnings.iter().map(ToString::to_string) {
            if !header.warnings.contains(&warning) {
                header.warnings.push(warning);
            }
        }
        self.recorder.save(true)?;
        Ok(Outcome { run: self.recorder.run, warnings: self.warnings, stop })
    }
}
