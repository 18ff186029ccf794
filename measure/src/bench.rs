//! What every stage works with: the model, the clock, the record so far, and its share of the time.

use crate::clock::Clock;
use crate::diagnose;
use crate::drawing;
use crate::error::{Error, Result};
use crate::machine;
use crate::machine::card::CardWatch;
use crate::pass_watch::{Generated, generate};
use crate::record::recorder::Recorder;
use crate::request::{Plans, Prompt, Request, Stage, Subject};
use crate::stages::afford;
use crate::starts::spread;
use crate::starts::turns::Turns;
use crate::starts::wire::Order;
use crate::stopping::{Judge, Progress, Standing, Update};
use crate::warning::Warning;
use s3d_data::{BlockPurpose, CardState, Hertz, Observation, Plan, Run, Seconds};
use s3d_model::Peek;
use std::borrow::Cow;

/// Everything that a stage needs.
pub(crate) struct Bench<'a> {
    pub subject: Subject<'a>,
    pub request: &'a Request,
    pub clock: &'a dyn Clock,
    pub recorder: Recorder<'a>,
    /// The starts of a process that decode end-to-end blocks.
    pub turns: Turns,
    pub judge: &'a mut dyn Judge,
    pub progress: &'a mut dyn Progress,
    pub standing: Option<Standing>,
    pub warnings: Vec<Warning>,
    pub stage: Stage,
    pub deadline: Seconds,
    /// Since when work is done whose amount is known, and which share of it; none where only the
    /// time is known.
    pub done: Option<(Seconds, f64)>,
    /// Clock of the first core, at each [`Bench::tell`].
    pub rates: Vec<Hertz>,
    /// Looks at the card, where one computes.
    pub watch: Option<Box<dyn CardWatch>>,
    /// What they showed.
    pub looks: Vec<CardState>,
}

impl<'a> Bench<'a> {
    /// Nothing measured yet.
    pub(crate) fn new(
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
        let mut adapters = recorder.run.header.machines.iter().filter_map(|m| m.adapter.as_ref());
        if let Some(adapter) = adapters.find(|adapter| adapter.software) {
            warnings.push(Warning::SoftwareAdapter { name: adapter.name.clone() });
        }
        let first = spread::next(&recorder.run.observations.throughput, 0);
        let turns = Turns::new(request, subject.model, first);
        Self {
            subject,
            request,
            clock,
            recorder,
            turns,
            judge,
            progress,
            standing: None,
            warnings,
            stage: Stage::Probe,
            deadline: Seconds::ZERO,
            done: None,
            rates: Vec::new(),
            watch,
            looks: Vec::new(),
        }
    }

    /// Whether the time is spent and a choice can do without `stage`. What was asked for by name,
    /// or alone, is measured however long it takes.
    pub(crate) fn has_no_time_for(&self, stage: Stage) -> bool {
        let asked = matches!(self.request.plans, Plans::Exactly(_)) || self.request.shard.is_some();
        // Several texts are asked for by a flag of their own.
        let needed = matches!(
            stage,
            Stage::Probe
                | Stage::Acceptance
                | Stage::Latency
                | Stage::Batch
                | Stage::BatchConfirmation
        );
        let first = Stage::ALL.into_iter().find(|stage| self.request.wants(*stage));
        let left = self.request.time_budget - self.recorder.spent();
        let too_little = match stage {
            // A child loads the model.
            Stage::Memory => self.request.further_starts.as_ref().is_some_and(|s| s.load > left),
            Stage::Throughput | Stage::RunOff | Stage::Confirmation => {
                self.affordable().is_some_and(|plans| plans < afford::LEAST_PLANS)
            }
            _ => false,
        };
        let spent = left <= Seconds::ZERO || too_little;
        spent && !asked && !needed && first != Some(stage)
    }

    /// Generations of a block that fit the time that is left; none where no pass was timed.
    pub(crate) fn affordable(&self) -> Option<usize> {
        let (budget, spent) = (self.request.time_budget, self.recorder.spent());
        afford::plans(&self.recorder.run, budget, spent)
    }

    /// Gives `stage` its share of the time that is left.
    pub(crate) fn begin(&mut self, stage: Stage) {
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
    pub(crate) fn tell(&mut self, what: &str) -> Result<()> {
        let (spent, budget) = (self.recorder.spent(), self.request.time_budget);
        let by_time = ((spent / budget).min(1.0), (budget - spent).max(Seconds::ZERO));
        let by_work = |(since, share): (Seconds, f64)| {
            let each = (self.clock.now() - since) / share.max(f64::MIN_POSITIVE);
            (share, if share > 0.0 { each * (1.0 - share) } else { by_time.1 })
        };
        let (fraction, left) = self.done.map_or(by_time, by_work);
        self.rates.extend(machine::clock_rate());
        self.looks.extend(self.watch.as_ref().and_then(|watch| watch.look()));
        let update =
            Update { stage: self.stage, what, fraction, left, standing: self.standing.as_ref() };
        match self.progress.update(update).is_break() {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    }

    /// Decodes `prompt` by `plan` in one of the starts that take turns; says in which it was, by
    /// its number in the run. `reference` is the plain text, which imposed acceptance peeks at; the
    /// tokens are drawn with numbers of `block` where the run is made at a temperature.
    pub(crate) fn decode(
        &mut self,
        turn: usize,
        plan: &Plan,
        prompt: &Prompt,
        tokens: usize,
        reference: &[u32],
        block: usize,
    ) -> Result<(Generated, usize)> {
        let imposed = self.request.impose.as_ref();
        if turn > 0 && turn < self.turns.count() {
            let reference = imposed.map(|_| reference.to_vec()).unwrap_or_default();
            let (id, plan) = (prompt.id.clone(), plan.clone());
            let sampling =
                self.request.sampling.zip(drawing::of_block(self.request, block, prompt)?);
            let sampling = sampling.map(|(drawn, sampling)| (drawn, sampling.seed()));
            let prompt = prompt.tokens.clone();
            let order = Order { plan, id, prompt, tokens, reference, sampling };
            let decoded = self.turns.decode(turn, &order);
            self.recorder.children_cpu = self.turns.cpu();
            if let Some(generated) = decoded {
                return Ok((generated, self.turns.number(turn)));
            }
        }
        let peek = imposed.map(|imposed| Peek { imposed, text: &prompt.id, reference });
        let sampling = drawing::of_block(self.request, block, prompt)?;
        let own = generate(self.subject.model, plan, prompt, tokens, self.clock, peek, sampling)?;
        Ok((own, self.turns.number(0)))
    }

    /// Where the choice stands, by all but the blocks that confirm it.
    pub(crate) fn ask_standing(&mut self) -> Result<Standing> {
        let run = run_before(&self.recorder.run, BlockPurpose::Confirm.blocks().start);
        self.judge.standing(&run).map_err(Error::Judge)
    }

    /// Keeps one finished observation.
    pub(crate) fn keep(&mut self, observation: Observation) -> Result<()> {
        self.recorder.append(vec![observation])
    }
}

/// The run without the blocks from `first` on: a stage that goes on must get the same answers
/// again.
pub(crate) fn run_before(run: &Run, first: usize) -> Cow<'_, Run> {
    if run.observations.throughput.iter().all(|sample| sample.block < first) {
        return Cow::Borrowed(run);
    }
    let mut run = run.clone();
    run.observations.throughput.retain(|sample| sample.block < first);
    Cow::Owned(run)
}
