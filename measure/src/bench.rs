//! What every stage works with: the model, the clock, the record so far, and its share of the time.

use crate::clock::Clock;
use crate::diagnose;
use crate::error::{Error, Result};
use crate::machine;
use crate::machine::card::CardWatch;
use crate::record::recorder::Recorder;
use crate::request::{Plans, Request, Stage, Subject};
use crate::stopping::{Judge, Progress, Standing, Update};
use crate::warning::Warning;
use s3d_data::{CardState, Hertz, Observation, Seconds};

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
    /// Clock of the first core, at each [`Bench::tell`].
    pub rates: Vec<Hertz>,
    /// Looks at the card, where one computes.
    pub watch: Option<Box<dyn CardWatch>>,
    /// What they showed.
    pub looks: Vec<CardState>,
}

impl<'a> Bench<'a> {
    /// Nothing measured yet.
    pub fn new(
        subject: Subject<'a>,
        request: &'a Request,
        clock: &'a dyn Clock,
        recorder: Recorder<'a>,
        judge: &'a mut dyn Judge,
        progress: &'a mut dyn Progress,
        watch: Option<Box<dyn CardWatch>>,
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
            deadline: Seconds::ZERO,
            rates: Vec::new(),
            watch,
            looks: Vec::new(),
        }
    }

    /// Whether the time is spent and a choice can do without `stage`. What was asked for by name,
    /// or alone, is measured however long it takes.
    pub fn has_no_time_for(&self, stage: Stage) -> bool {
        let asked = matches!(self.request.plans, Plans::Exactly(_)) || self.request.shard.is_some();
        let needed = matches!(stage, Stage::Probe | Stage::Acceptance | Stage::Latency);
        let first = Stage::ALL.into_iter().find(|stage| self.request.wants(*stage));
        let spent = self.recorder.spent() >= self.request.time_budget;
        spent && !asked && !needed && first != Some(stage)
    }

    /// Gives `stage` its share of the time that is left.
    pub fn begin(&mut self, stage: Stage) {
        let left = (self.request.time_budget - self.recorder.spent()).max(Seconds::ZERO);
        let ahead = Stage::ALL.into_iter().filter(|&other| {
            let name = self.request.stage_name(other);
            other >= stage && self.request.wants(other) && !self.recorder.is_finished(&name)
        });
        let share = stage.weight() / ahead.map(Stage::weight).sum::<f64>();
        self.stage = stage;
        self.deadline = self.clock.now() + left * share;
    }

    /// Says what is being measured now; an error when the watcher wants to stop.
    pub fn tell(&mut self, what: &str) -> Result<()> {
        let (spent, budget) = (self.recorder.spent(), self.request.time_budget);
        self.rates.extend(machine::clock_rate());
        self.looks.extend(self.watch.as_ref().and_then(|watch| watch.look()));
        let update = Update {
            stage: self.stage,
            what,
            fraction: (spent / budget).min(1.0),
            left: (budget - spent).max(Seconds::ZERO),
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
}
