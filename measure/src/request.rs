//! What to measure, on which model, and for how long.

use crate::error::{Error, Result};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use s3d_data::{Bytes, Drafting, Drawn, Plan, Predictors, Seconds, Shard, Skip, SkipWindow};
use s3d_model::chat::Rendering;
use s3d_model::{Imposed, Model, Tokenizer};
use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;

/// A kind of observation; the stages of a run, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Bandwidth and multiply-add rate of the machine.
    Probe,
    /// Traces of accepted drafts.
    Acceptance,
    /// Times of components and passes.
    Latency,
    /// More traces of the windows that may hold the best plan, where all were only looked at first.
    Refinement,
    /// Computed and measured memory.
    Memory,
    /// End-to-end generations.
    Throughput,
    /// The leading plans against each other, to choose among them.
    RunOff,
    /// The choice against plain decoding, once more.
    Confirmation,
    /// Times of passes that several texts share.
    Batch,
    /// The plans for several texts against plain decoding of as many, in lockstep.
    BatchConfirmation,
}

impl Stage {
    /// All stages: the whole job.
    pub const ALL: [Self; 10] = [
        Self::Probe,
        Self::Acceptance,
        Self::Latency,
        Self::Refinement,
        Self::Memory,
        Self::Throughput,
        Self::RunOff,
        Self::Confirmation,
        Self::Batch,
        Self::BatchConfirmation,
    ];

    /// Its word in commands and journals.
    pub fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Acceptance => "acceptance",
            Self::Latency => "latency",
            Self::Refinement => "refinement",
            Self::Memory => "memory",
            Self::Throughput => "throughput",
            Self::RunOff => "run-off",
            Self::Confirmation => "confirmation",
            Self::Batch => "batch",
            Self::BatchConfirmation => "batch-confirmation",
        }
    }

    /// Its part of the time budget; only the proportions count.
    pub(crate) fn weight(self) -> f64 {
        match self {
            Self::Probe => 5.0,
            Self::Acceptance => 14.0,
            Self::Latency => 16.0,
            Self::Refinement => 28.0,
            Self::Memory => 3.0,
            Self::Throughput => 18.0,
            Self::RunOff => 16.0,
            Self::Confirmation => 17.0,
            Self::Batch => 30.0,
            Self::BatchConfirmation => 40.0,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Stage {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let names = Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|stage| stage.name() == text);
        found.ok_or_else(|| Error::invalid(format!("expected one of {names}; found '{text}'")))
    }
}

/// A prompt in tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Its name.
    pub id: String,
    /// The workload it belongs to.
    pub task: Option<String>,
    /// Its tokens, at least one.
    pub tokens: Vec<u32>,
}

impl Prompt {
    /// Encodes prompts as files hold them.
    ///
    /// # Errors
    /// When there is none, one has no tokens, or the tokenizer fails.
    pub fn encode_all(
        texts: &[s3d_data::Prompt],
        tokenizer: &Tokenizer,
        rendering: Rendering,
    ) -> Result<Vec<Self>> {
        if texts.is_empty() {
            return Err(Error::invalid("no prompts: expected at least one line with \"text\""));
        }
        texts.iter().map(|text| Self::encode(text, tokenizer, rendering)).collect()
    }

    /// `count` prompts of `length` random tokens below `vocab`: for models without a tokenizer.
    pub fn random(count: usize, length: usize, vocab: usize, seed: u64) -> Vec<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut token = || rng.random_range(0..vocab.max(1)) as u32;
        let mut prompt = |number: usize| Self {
            id: format!("random-{number}"),
            task: None,
            tokens: (0..length).map(|_| token()).collect(),
        };
        (0..count).map(&mut prompt).collect()
    }

    fn encode(
        prompt: &s3d_data::Prompt,
        tokenizer: &Tokenizer,
        rendering: Rendering,
    ) -> Result<Self> {
        let named = |e| Error::invalid(format!("prompt '{}': {e}", prompt.id));
        let tokens = tokenizer.encode_prompt(prompt, rendering).map_err(named)?;
        if tokens.is_empty() {
            let id = &prompt.id;
            return Err(Error::invalid(format!("prompt '{id}' has no tokens; expected some text")));
        }
        Ok(Self { id: prompt.id.clone(), task: prompt.task.clone(), tokens })
    }
}

/// The model that is measured, twice: as it runs, and before widening.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The model as it runs: times, memory and throughput are its own.
    pub model: &'a Model,
    /// The same model before widening: the same text in a fraction of the time, for traces. The
    /// same reference as `model` where nothing was widened.
    pub before_widening: &'a Model,
}

/// Which plans to measure end to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plans {
    /// Plain decoding, stock (now and then), and up to this many plans that the judge asks for, as
    /// long as the time lasts; texts are shortened where that gives more blocks.
    Judged(usize),
    /// Exactly these, plain decoding added where it is missing, on every prompt once and at full
    /// length, whatever the time budget.
    Exactly(Vec<Plan>),
}

/// What to measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The stages wanted, in any order.
    pub stages: Vec<Stage>,
    /// The plans to measure end to end.
    pub plans: Plans,
    /// What draft passes leave out: every one is traced, some are timed.
    pub skips: Vec<Skip>,
    /// The draftings to trace.
    pub draftings: Vec<Drafting>,
    /// Prompts, in the order in which they are used; tasks should take turns.
    pub prompts: Vec<Prompt>,
    /// Output tokens per prompt, at most.
    pub tokens: usize,
    /// Positions to trace for every window and drafting.
    pub positions: usize,
    /// Positions of a first look at every window and drafting, after which only those are traced
    /// further that may hold the best plan; none: all are traced alike.
    pub first_look: Option<usize>,
    /// Largest number of predictors looked at.
    pub gamma_max: Predictors,
    /// The context that choices are made for, in tokens.
    pub context: usize,
    /// Numbers of texts above 1 that share passes in the stages of several texts, ascending; empty:
    /// these are left out.
    pub batches: Vec<usize>,
    /// All contexts that passes are timed at because choices are made for them, rising, that one
    /// among them; empty where it is the only one.
    pub contexts: Vec<usize>,
    /// Acceptance that is imposed instead of measured.
    pub impose: Option<Imposed>,
    /// How the tokens of texts are drawn; none: the most likely ones.
    pub sampling: Option<Drawn>,
    /// Whether traces keep the draft's confidence.
    pub confidence: bool,
    /// Whether traces of simultaneous drafts keep the ranks of the right tokens.
    pub ranks: bool,
    /// Threads used.
    pub threads: usize,
    /// Seed of every random choice.
    pub seed: u64,
    /// Time for everything.
    pub time_budget: Seconds,
    /// The relative half-width of the headline's interval at which measuring may end; none: the
    /// time budget is used up.
    pub precision: Option<f64>,
    /// Measure only this part of the work, to be merged with the others (`s3d merge`).
    /// Traces and generations of the part are made whatever the time budget.
    pub shard: Option<Shard>,
    /// Program and arguments of a child process that prints
    /// `memory::peak_of_this_process` of the same model as JSON; none: memory is
    /// only computed.
    pub memory_child: Option<Vec<OsString>>,
    /// Further starts of a process that take turns in decoding end-to-end blocks; none: this
    /// process decodes all.
    pub further_starts: Option<FurtherStarts>,
    /// What `run.json` says about how the run was made.
    pub provenance: Provenance,
}

/// How a process is started that loads the same model and decodes.
#[derive(Debug, Clone, PartialEq)]
pub struct FurtherStarts {
    /// Program and arguments of a child process that answers every line of its standard input by
    /// [`crate::starts::wire::answer`].
    pub command: Vec<OsString>,
    /// What loading the model takes.
    pub load: Seconds,
}

/// How a run came about, for its header.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Provenance {
    /// The command line.
    pub command: Vec<String>,
    /// Program version.
    pub program_version: String,
    /// Program commit, where it is known.
    pub program_commit: Option<String>,
    /// `cpu`, `cuda:0`.
    pub device: String,
    /// Driver version, on a GPU.
    pub driver: Option<String>,
    /// Precision of the weights as they run.
    pub dtype: String,
    /// Widening of the model: 1 = none.
    pub widen: usize,
    /// The memory that choices must fit.
    pub memory_budget_bytes: Option<Bytes>,
}

impl Request {
    /// Positions of a window and drafting that say enough, where nothing else is asked for.
    pub(crate) const ENOUGH_POSITIONS: usize = 1_500;
    /// The most predictors looked at, where nothing else is asked for.
    pub const PREDICTORS: Predictors = Predictors::of::<8>();
    /// Number of positions that stands for every prompt, however many positions it has.
    pub const EVERY_PROMPT: usize = usize::MAX;

    /// The whole job (`s3d run`) with its defaults: every symmetric window, both draftings, 1,500
    /// positions, 8 predictors, a context of 256, 120 seconds, the judge's nine plans.
    pub fn whole_job(layers: usize, prompts: Vec<Prompt>, provenance: Provenance) -> Self {
        Self {
            stages: Stage::ALL.to_vec(),
            plans: Plans::Judged(9),
            skips: SkipWindow::all_symmetric(layers).into_iter().map(Skip::Window).collect(),
            draftings: Drafting::ALL.to_vec(),
            prompts,
            tokens: 128,
            positions: Self::ENOUGH_POSITIONS,
            first_look: None,
            gamma_max: Self::PREDICTORS,
            context: 256,
            batches: Vec::new(),
            contexts: Vec::new(),
            impose: None,
            sampling: None,
            confidence: false,
            ranks: false,
            threads: crate::machine::cores(),
            seed: 0,
            time_budget: Seconds(120.0),
            precision: None,
            shard: None,
            memory_child: None,
            further_starts: None,
            provenance,
        }
    }

    /// Whether `stage` is wanted.
    pub fn wants(&self, stage: Stage) -> bool {
        // Without a first look there is nothing left to refine.
        let pointless = match stage {
            Stage::Refinement => self.first_look.is_none(),
            Stage::Batch => self.batches.is_empty(),
            // Acceptance is imposed on one text at a time.
            Stage::BatchConfirmation => {
                let drawn = self.impose.is_some() || self.sampling.is_some();
                self.batches.is_empty() || drawn
            }
            _ => false,
        };
        self.stages.contains(&stage) && !pointless
    }

    /// The name under which `stage` is noted as complete. End-to-end blocks of other plans are
    /// another stage.
    pub(crate) fn stage_name(&self, stage: Stage) -> String {
        match (&self.plans, stage) {
            (Plans::Exactly(plans), Stage::Throughput) => {
                let plans: Vec<String> = plans.iter().map(ToString::to_string).collect();
                format!("{stage} {}", plans.join(","))
            }
            _ => stage.name().to_string(),
        }
    }

    /// The most predictors that are traced: a model with few masks is traced as far as it can
    /// draft.
    pub(crate) fn most_predictors(&self, model: &Model, drafting: Drafting) -> Predictors {
        match drafting {
            Drafting::Simultaneous => self.gamma_max.at_most(model.shape().masks + 1),
            Drafting::Sequential => self.gamma_max,
        }
    }

    /// Whether nothing of the work depends on what is observed on the way.
    pub(crate) fn is_known_beforehand(&self) -> bool {
        let judged = self.wants(Stage::Throughput) && matches!(self.plans, Plans::Judged(_));
        let concluded = self.wants(Stage::RunOff) || self.wants(Stage::Confirmation);
        !judged && !concluded && self.first_look.is_none()
    }

    /// Which of `items` things are to be measured here: all, or the shard's part.
    pub fn part(&self, items: usize) -> std::ops::Range<usize> {
        self.shard.map_or(0..items, |shard| shard.part(items))
    }

    fn validate_prompts(&self, model: &Model) -> Result<()> {
        if self.prompts.is_empty() {
            return Err(Error::invalid("no prompts; give some with --prompts"));
        }
        let most = model.positions().saturating_sub(1);
        let unfit = |prompt: &&Prompt| !(1..=most).contains(&prompt.tokens.len());
        match self.prompts.iter().find(unfit) {
            None => Ok(()),
            Some(prompt) => Err(Error::invalid(format!(
                "--prompts: prompt '{}' has {} tokens; a prompt has 1 to {most} for this model",
                prompt.id,
                prompt.tokens.len()
            ))),
        }
    }

    /// Checks the request against `model`.
    ///
    /// # Errors
    /// An empty list, a zero, or a text longer than the model's positions; each names the flag.
    pub fn validate(&self, model: &Model) -> Result<()> {
        let fail = |message: String| Err(Error::invalid(message));
        let layers = model.shape().layers;
        self.validate_prompts(model)?;
        if self.tokens < 2 || self.context < 2 {
            return fail(format!(
                "expected --tokens >= 2 and --context >= 2; found {} and {}",
                self.tokens, self.context
            ));
        }
        if let Some(wrong) = self.contexts.iter().find(|&&context| context < 2) {
            return fail(format!("expected --context >= 2, found {wrong}"));
        }
        if let Some(window) =
            self.skips.iter().filter_map(Skip::window).find(|window| window.end() > layers)
        {
            return fail(format!("window {window} does not fit a model of {layers} layers"));
        }
        if self.impose.is_some() && self.sampling.is_some() {
            return fail(
                "--temperature: expected no --impose beside it, since acceptance is imposed on \
                 greedy texts alone"
                    .into(),
            );
        }
        if let Some(drawn) = &self.sampling {
            drawn.check().map_err(|e| Error::invalid(format!("--temperature: {e}")))?;
        }
        if self.shard.is_some() && !self.is_known_beforehand() {
            return fail(
                "--shard: expected work that is known before it is measured; give --plans with \
                 throughput, and no first look"
                    .into(),
            );
        }
        if !self.batches.is_empty() && !model.decodes_together() {
            return fail(
                "--batch: texts are decoded in lockstep on the CPU and on Vulkan devices, where a \
                 row has the same bits whatever shares its pass; use --device cpu, or --batch 1"
                    .into(),
            );
        }
        if self.shard.is_some() && !self.batches.is_empty() {
            return fail(
                "--batch: passes of several texts are not divided; leave --shard out".into(),
            );
        }
        if !(self.time_budget.0.is_finite() && self.time_budget > Seconds::ZERO) {
            return fail(format!("expected a --time-budget above 0 s, found {}", self.time_budget));
        }
        Ok(())
    }
}
