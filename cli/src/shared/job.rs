//! A measuring job: flags into a request, with the prompts and the provenance of its header.

use crate::args::{Batches, BudgetArgs, ModelArgs, Windows};
use crate::shared::load::{Loaded, Source};
use crate::shared::progress::Bar;
use crate::shared::stop_rule::SimulatorJudge;
use crate::shared::usage::{or_usage, usage};
use crate::shared::{children, load, prompts, resolve, terminal, version};
use anyhow::Context;
use s3d_data::{
    Bytes, Drafting, Holds, Output, Predictors, Run, RunDir, Seconds, Skip, SkipWindow,
};
use s3d_measure::{Clock, Provenance, Request, Start, Subject, SystemClock};
use s3d_model::{Imposed, Model};
use s3d_reports::words::verdict::quoted;

/// The first look at all windows takes one in so many of the positions wanted in the end.
const FIRST_LOOK: usize = 4;

/// So many times the positions of the first look are wanted where the choice is undecided.
const FURTHER: usize = 4;

/// Said of a checkpoint that was never trained to draft several tokens at once.
const NO_MASKS: &str = "this model has no mask embeddings: only sequential drafting (seq:4..8:3) \
    is looked at; \
     drafting several tokens at once must be trained: s3d train --model DIR --corpus FILES --out \
     OTHER adds \
     mask predictors and leaves the model's own text as it is";

/// All that measuring needs, loaded and checked.
pub struct Job {
    /// The model as it runs.
    pub loaded: Loaded,
    /// The model before widening, where traces are to be taken on it.
    pub narrow: Option<Model>,
    /// What to measure.
    pub request: Request,
    /// Where to: the folder, which no other s3d writes into meanwhile.
    pub output: Output,
    /// The run directory in it.
    pub out: RunDir,
    /// Whether a run that is there goes on.
    pub start: Start,
    /// The clock.
    pub clock: SystemClock,
}

impl Job {
    /// Resolves the flags into the whole job's request; commands narrow it down.
    ///
    /// # Errors
    /// Wrong flags, a model or prompts that do not load, an output folder that cannot be made.
    pub fn new(
        model: &ModelArgs,
        budget: &BudgetArgs,
        memory_budget: Option<Bytes>,
        force: bool,
    ) -> anyhow::Result<Self> {
        resolve::budget(budget)?;
        let output = prepare(model, budget)?;
        let loaded = timed(|| load::model(model, budget.context.longest()))?;
        Self::of(model, budget, memory_budget, force, output, loaded)
    }

    /// Also measures the numbers of texts at once that are above 1.
    pub fn several_texts(&mut self, batches: Option<&Batches>) {
        let several = batches.iter().flat_map(|batches| &batches.0).filter(|batch| **batch > 1);
        self.request.batches = several.copied().collect();
    }

    /// As [`Self::new`], for what needs no text: a tokenizer that cannot be read is noted and left
    /// out.
    ///
    /// # Errors
    /// As there.
    pub fn of_times(model: &ModelArgs, budget: &BudgetArgs, force: bool) -> anyhow::Result<Self> {
        resolve::budget(budget)?;
        let output = prepare(model, budget)?;
        let loaded = timed(|| load::model_for_times(model, budget.context.longest()))?;
        Self::of(model, budget, None, force, output, loaded)
    }

    /// The job of a loaded model.
    fn of(
        model: &ModelArgs,
        budget: &BudgetArgs,
        memory_budget: Option<Bytes>,
        force: bool,
        output: Output,
        (mut loaded, load): (Loaded, Seconds),
    ) -> anyhow::Result<Self> {
        let context = context(&loaded, budget)?;
        let out = RunDir::new(&budget.out);
        let started = out.load_header().ok().filter(|_| !force).map(|header| header.started);
        let prompts = prompts::of_run(&loaded, budget, started.as_deref())?;
        let longest = prompts.encoded.iter().map(|prompt| prompt.tokens.len()).max().unwrap_or(0);
        let asked = context.max(budget.context.several().last().copied().unwrap_or(0));
        let longest = asked.max(longest.saturating_add(budget.tokens));
        loaded.expect(longest)?;
        let mut provenance = provenance(model, &loaded, memory_budget);
        if prompts.chat && !budget.chat {
            provenance.command.push("--chat".into());
        }
        let layers = loaded.model.shape().layers;
        let mut request = Request::whole_job(layers, prompts.encoded, provenance);
        if loaded.model.shape().masks == 0 {
            terminal::note(NO_MASKS);
            request.draftings = vec![Drafting::Sequential];
        }
        // Windows that drafting was trained for are looked at beside the symmetric ones.
        for window in loaded.model.config().trained_windows().into_iter().map(Skip::Window) {
            if !request.skips.contains(&window) {
                request.skips.push(window);
            }
        }
        request.gamma_max = or_usage("--gamma-max", Predictors::new(budget.gamma_max))?;
        request.context = context;
        request.contexts = budget.context.several();
        request.tokens = budget.tokens;
        request.threads = loaded.options.threads;
        request.seed = budget.seed;
        if !budget.impose.is_empty() {
            let imposed = Imposed::new(budget.impose.clone(), budget.seed);
            request.impose = Some(or_usage("--impose", imposed)?);
        }
        request.sampling = resolve::drawn(budget.temperature, budget.top_p)?;
        request.time_budget = budget.time_budget;
        if budget.windows == Windows::All {
            request.skips = SkipWindow::all(layers).into_iter().map(Skip::Window).collect();
            request.first_look = Some(request.positions.div_ceil(FIRST_LOOK));
        }
        request.memory_child = Some(children::memory(model, &loaded, &request)?);
        request.further_starts =
            Some(children::decoding(model, &loaded, &request, (longest, load))?);
        let clock = SystemClock::new(&loaded.options.device);
        let start = if force { Start::Over } else { Start::Resume };
        Ok(Self { loaded, narrow: None, request, output, out, start, clock })
    }

    /// Takes traces on the model before widening: the same text in a fraction of the time.
    ///
    /// # Errors
    /// When the files have changed since the model was loaded.
    pub fn trace_before_widening(&mut self) -> anyhow::Result<()> {
        self.narrow = load::before_widening(&self.loaded)?;
        Ok(())
    }

    /// Where all windows alike were to be traced: after that traces those that may hold the best
    /// plan on more texts, since texts differ in which number of drafts is best for them.
    pub fn look_further(&mut self) {
        let request = &mut self.request;
        if request.first_look.is_none() && request.impose.is_none() {
            request.first_look = Some(request.positions);
            request.positions *= FURTHER;
        }
    }

    /// Measures what is not in the run directory yet, with progress unless `quiet`.
    ///
    /// # Errors
    /// What measuring refuses; finished observations are kept.
    pub fn measure(&self, quiet: bool) -> anyhow::Result<Run> {
        let model = &self.loaded.model;
        let subject = Subject { model, before_widening: self.narrow.as_ref().unwrap_or(model) };
        let finished = self.journal_of_a_finished_run();
        self.say_how_to_go_on()?;
        let mut bar = Bar::new(quiet);
        let outcome = s3d_measure::measure_into(
            subject,
            &self.request,
            (&self.output, self.start),
            &self.clock,
            &mut SimulatorJudge,
            &mut bar,
        );
        bar.clear();
        let run = outcome?.run;
        if finished.is_some() && finished == self.journal_of_a_finished_run() {
            terminal::note(&format!(
                "finished, nothing measured: {} holds all that was asked for. To measure more: a \
                 longer --time-budget, another kind or other plans (s3d measure KIND --plans \
                 PLANS), or anew with --force",
                self.out.root().display()
            ));
        }
        Ok(run)
    }

    /// The length of the journal, if the folder holds a run that came to its end.
    fn journal_of_a_finished_run(&self) -> Option<u64> {
        self.out.load_header().ok()?.ended?;
        Some(std::fs::metadata(self.out.journal()).ok()?.len())
    }

    /// What Ctrl-C prints from now on: all that was finished is in the journal.
    fn say_how_to_go_on(&self) -> anyhow::Result<()> {
        let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
        let words: Vec<String> =
            words.filter(|word| word != "--force").map(|word| quoted(&word)).collect();
        terminal::on_interrupt(format!(
            "\ninterrupted; what was measured is kept in {}. Go on with: {}",
            self.out.root().display(),
            words.join(" ")
        ))
    }
}

/// Refuses to report acceptance of random weights as if it were a model's.
///
/// # Errors
/// A geometry without imposed acceptance.
pub fn refuse_random_acceptance(model: &ModelArgs, budget: &BudgetArgs) -> anyhow::Result<()> {
    match load::source(model)? {
        Source::Geometry(name, _) if budget.impose.is_empty() => Err(usage(format!(
            "--model {}: {name} has random weights, whose acceptance says nothing; impose one with \
             --impose 0.9,0.8,0.7, give a trained checkpoint, or measure latency and memory alone",
            model.name()
        ))),
        _ => Ok(()),
    }
}

/// What `load` loads, and the time it takes.
fn timed(load: impl FnOnce() -> anyhow::Result<Loaded>) -> anyhow::Result<(Loaded, Seconds)> {
    let clock = SystemClock::default();
    let begin = clock.now();
    let loaded = load()?;
    Ok((loaded, clock.now() - begin))
}

/// Takes the output folder. Nothing in it changes before everything that can be checked is checked.
fn prepare(model: &ModelArgs, budget: &BudgetArgs) -> anyhow::Result<Output> {
    let inputs = [&budget.prompts, &model.tokenizer, &model.config];
    let output = Output::open(&budget.out, Holds::Run).context("--out")?;
    Ok(output.sparing(inputs.into_iter().flatten()))
}

/// The context that the one choice is made for: that of `--context`, or what the model can where
/// that is less than the flag's default.
fn context(loaded: &Loaded, budget: &BudgetArgs) -> anyhow::Result<usize> {
    let positions = loaded.model.config().positions();
    if budget.context.is_default() && positions < budget.context.own() {
        return Ok(positions);
    }
    loaded.check_context(budget.context.longest())?;
    Ok(budget.context.own())
}

fn provenance(model: &ModelArgs, loaded: &Loaded, memory_budget: Option<Bytes>) -> Provenance {
    Provenance {
        command: resolve::command_line(),
        program_version: version::number(),
        program_commit: version::commit(),
        device: device_name(&model.device),
        driver: driver_of(loaded),
        dtype: loaded.options.dtype.to_string(),
        widen: loaded.options.widen,
        memory_budget_bytes: memory_budget,
    }
}

/// The device's full name: `cuda` is `cuda:0`.
fn device_name(flag: &str) -> String {
    let name = flag.parse().map(|name: s3d_model::device::DeviceName| name.to_string());
    name.unwrap_or_else(|_| flag.to_string())
}

/// The driver of the card that computes, where one does.
fn driver_of(loaded: &Loaded) -> Option<String> {
    s3d_model::device::driver_of(&loaded.options.device)
}
