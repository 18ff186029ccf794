//! What held-out text says of a model that is being trained, and of the trained one.

use crate::shared::heartbeat::Heartbeat;
use s3d_data::SkipWindow;
use s3d_measure::{Clock, SystemClock};
use s3d_train::{GreedyText, GreedyTrace, Trainer, Windows, walk};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// Held-out documents of the loss.
const DOCUMENTS: u64 = 60;
/// Held-out prompts of the acceptance table.
const PROMPTS: usize = 60;
/// Tokens continued after each prompt.
const TOKENS: usize = 128;
/// Predictors of the acceptance table's tokens per iteration.
const PREDICTORS: usize = 4;

/// From so many parameters on, the last look is a quick one too.
const LARGE: usize = 50_000_000;
/// Windows that such a model is judged with at most.
const LARGE_WINDOWS: usize = 6;
/// Tokens continued after a prompt, at least, where not all prompts can be looked at.
const SHORTEST: usize = 32;
/// The same while training goes on, where it must not take long.
const QUICK_DOCUMENTS: u64 = 12;
const QUICK_PROMPTS: usize = 9;
const QUICK_TOKENS: usize = 64;

/// What one look at held-out text found.
#[derive(Serialize)]
pub struct Validation {
    step: u64,
    held_out_nats_per_token: f64,
    /// Of each draft, from the first.
    held_out_draft_nats: Vec<f64>,
    acceptance: Acceptance,
}

/// Acceptance with one window skipped, simultaneous drafting.
#[derive(Serialize)]
pub struct Acceptance {
    skip: String,
    tokens_per_iteration_at_4: f64,
    /// Null where no draft was reached.
    alpha: Vec<Option<f64>>,
    /// Tokens per iteration at 4 drafts by the workload of the prompts.
    by_task: BTreeMap<String, f64>,
}

/// What held-out text says of a trained model.
#[derive(Serialize)]
pub struct Summary {
    steps: u64,
    parameters: usize,
    trained_parameters: usize,
    held_out_nats_per_token: f64,
    characters_per_token: f64,
    acceptance: Vec<Acceptance>,
    /// Of this process, judging not counted.
    training_cpu_seconds: f64,
    judging_seconds: f64,
    validation: Vec<Validation>,
}

/// Looks at held-out text now and then.
pub struct HeldOutText {
    middle: SkipWindow,
    /// Places of held-out texts that are looked at, at most.
    positions: Option<usize>,
    /// Greedy texts of a model whose text does not change.
    texts: Option<Vec<GreedyText>>,
    /// Processor time of the steps so far.
    training_cpu_seconds: f64,
    found: Vec<Validation>,
}

impl HeldOutText {
    /// Skips the middle one of the windows while training goes on.
    pub fn new(trainer: &Trainer, positions: Option<usize>) -> Self {
        let windows = windows(trainer);
        let middle = windows[windows.len() / 2];
        Self { middle, positions, texts: None, training_cpu_seconds: 0.0, found: Vec::new() }
    }

    /// Counts the processor time of `work` as training.
    ///
    /// # Errors
    /// Those of the work.
    pub fn training<T>(
        &mut self,
        clock: &SystemClock,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let start = clock.cpu().0;
        let done = work()?;
        self.training_cpu_seconds += clock.cpu().0 - start;
        Ok(done)
    }

    /// Looks at little held-out text.
    pub fn validate(&mut self, trainer: &Trainer, talk: &Heartbeat) -> anyhow::Result<&Validation> {
        talk.show(1.0, "judging on held-out text".into());
        let texts = match self.texts.take() {
            Some(texts) => texts,
            None => {
                let (prompts, tokens) = within(self.positions, QUICK_PROMPTS, QUICK_TOKENS);
                trainer.greedy_texts(prompts, tokens)?
            }
        };
        let traces = trainer.acceptance(&texts, &[self.middle])?;
        self.texts = trainer.keeps_text().then_some(texts);
        self.found.push(Validation {
            step: trainer.steps_done(),
            held_out_nats_per_token: trainer.held_out(QUICK_DOCUMENTS)?.nats_per_token(),
            held_out_draft_nats: trainer.held_out_drafts(QUICK_DOCUMENTS, self.middle)?,
            acceptance: acceptance(trainer, self.middle, &traces[0]),
        });
        self.found.last().ok_or_else(|| anyhow::anyhow!("nothing was validated"))
    }

    /// Looks at much of it, with every symmetric window.
    pub fn conclude(
        self,
        trainer: &Trainer,
        clock: &SystemClock,
        talk: &Heartbeat,
    ) -> anyhow::Result<Summary> {
        let start = clock.now().0;
        talk.show(1.0, "judging on held-out text: its loss".into());
        let (documents, prompts, tokens) = match trainer.parameters()[0] < LARGE {
            true => (DOCUMENTS, PROMPTS, TOKENS),
            false => match self.positions {
                Some(_) => (QUICK_DOCUMENTS, PROMPTS, TOKENS),
                None => (QUICK_DOCUMENTS, QUICK_PROMPTS, QUICK_TOKENS),
            },
        };
        let (prompts, tokens) = within(self.positions, prompts, tokens);
        let loss = trainer.held_out(documents)?;
        let windows = windows(trainer);
        let texts = trainer.greedy_texts(prompts, tokens)?;
        let mut traces = Vec::new();
        for (number, window) in windows.iter().enumerate() {
            let words = format!("judging on held-out text: drafts with {window} skipped");
            talk.part(number as u64, windows.len() as u64, words);
            traces.extend(trainer.acceptance(&texts, &[*window])?);
        }
        let rows = windows.iter().zip(&traces);
        let [parameters, trained_parameters] = trainer.parameters();
        Ok(Summary {
            steps: trainer.steps_done(),
            parameters,
            trained_parameters,
            held_out_nats_per_token: loss.nats_per_token(),
            characters_per_token: loss.characters_per_token(),
            acceptance: rows.map(|(w, traces)| acceptance(trainer, *w, traces)).collect(),
            training_cpu_seconds: self.training_cpu_seconds,
            judging_seconds: clock.now().0 - start,
            validation: self.found,
        })
    }
}

/// The windows that were trained for, or every symmetric one; of many, the shortest, the longest
/// and some between.
fn windows(trainer: &Trainer) -> Vec<SkipWindow> {
    let mut windows = SkipWindow::all_symmetric(trainer.config().model.num_hidden_layers);
    match &trainer.config().practice.windows {
        Some(Windows::Symmetric([least, most])) => {
            windows.retain(|window| (*least..=*most).contains(&(window.end() - window.start())));
        }
        Some(Windows::These(these)) => {
            windows = these.iter().filter_map(|[a, b]| SkipWindow::new(*a, *b).ok()).collect();
        }
        None => {}
    }
    if trainer.parameters()[0] >= LARGE && windows.len() > LARGE_WINDOWS {
        let last = windows.len() - 1;
        windows = (0..LARGE_WINDOWS).map(|i| windows[i * last / (LARGE_WINDOWS - 1)]).collect();
    }
    windows
}

/// `prompts` prompts and `tokens` tokens after each, or fewer of both: `positions` in all.
fn within(positions: Option<usize>, prompts: usize, tokens: usize) -> (usize, usize) {
    let positions = positions.unwrap_or(usize::MAX).min(prompts * tokens);
    let prompts = prompts.min((positions / SHORTEST).max(1));
    (prompts, (positions / prompts).max(1))
}

fn acceptance(trainer: &Trainer, window: SkipWindow, traces: &[GreedyTrace]) -> Acceptance {
    let all: Vec<&GreedyTrace> = traces.iter().collect();
    let mut tasks: BTreeMap<String, Vec<&GreedyTrace>> = BTreeMap::new();
    for trace in traces.iter().filter(|trace| !trace.accepted.is_empty()) {
        tasks.entry(trace.task.clone()).or_default().push(trace);
    }
    Acceptance {
        skip: window.to_string(),
        tokens_per_iteration_at_4: walk(&all, PREDICTORS).0,
        alpha: walk(&all, trainer.config().model.masks() + 1).1.into_iter().map(known).collect(),
        by_task: tasks
            .into_iter()
            .map(|(task, traces)| (task, walk(&traces, PREDICTORS).0))
            .collect(),
    }
}

/// The rate, where anything was counted.
fn known(rate: f64) -> Option<f64> {
    rate.is_finite().then_some(rate)
}

impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A draft that was never reached has no rate.
        let word = |value: &f64| match value.is_nan() {
            true => " -".to_string(),
            false => format!(" {value:.2}"),
        };
        let numbers = |values: &[f64]| values.iter().map(word).collect::<String>();
        write!(f, "held-out text {:.3} nats", self.held_out_nats_per_token)?;
        if !self.held_out_draft_nats.is_empty() {
            write!(f, ", drafts{} nats", numbers(&self.held_out_draft_nats))?;
        }
        let Acceptance { skip, alpha, tokens_per_iteration_at_4, .. } = &self.acceptance;
        write!(
            f,
            "; skipping {skip}, accepted{}, {tokens_per_iteration_at_4:.2} tokens per iteration \
             at 4",
            numbers(&alpha.iter().map(|rate| rate.unwrap_or(f64::NAN)).collect::<Vec<_>>())
        )
    }
}
