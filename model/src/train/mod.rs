//! Training: a Llama-style model that learns its text and, at the same time, to draft with layers skipped.
//!
//! The S3D objective as the engine will use it. Every sample is a stretch of text that goes through all
//! layers with the ordinary next-token loss, plus draft groups at random places: the last real token and
//! the mask embeddings after it, which go round a random window of layers, attend to the full-depth keys
//! of the text before them, and predict the tokens to come. Because windows vary, one checkpoint serves
//! every skip ratio.
//!
//! What is trained follows from the model: without masks the text alone, with adapters they and the masks
//! ([`crate::adapter`]), else all weights. A run begins from nothing, on the corpus of this crate, or
//! from a checkpoint, on texts of one's own ([`Own`]).
//!
//! Forward and backward are written out over plain slices ([`network`](self)), one thread per sample;
//! gradients of a fixed number of lanes are summed in a fixed order, so the result does not depend on the
//! number of threads.

mod adam;
mod attention;
mod bpe;
mod checkpoint;
mod data;
mod decode;
mod evaluate;
mod low_rank;
mod matmul;
mod network;
mod ops;
mod own;
mod params;
mod texts;

pub use bpe::{END_OF_TEXT, learn_tokenizer};
pub use evaluate::{GreedyText, GreedyTrace, HeldOut, walk};
pub use own::Own;
pub use texts::{Texts, read_texts};

use crate::config::EndTokens;
use crate::{Error, ModelConfig, Result, Tokenizer};
use adam::{Adam, Rule};
use data::{Data, Pieces};
use network::{Losses, Network, RowWeights, Tape};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Partial gradients that are kept apart and then summed in order: the most threads that help.
const LANES: usize = 4;

/// A stretch of the run with a recipe of its own. Each stage lowers the learning rate along a cosine that
/// began with the run and ends with the stage; the next one starts further up on its longer cosine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Share of the run's steps done when the stage ends, 1 for the last.
    pub until: f64,
    /// Draft groups of a sample.
    pub anchors: usize,
    /// Weight of the mean draft loss beside the mean next-token loss.
    pub draft_weight: f32,
}

/// Everything that decides how a run goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainConfig {
    /// Shape of the model.
    pub model: ModelConfig,
    /// Seed of corpus, initial weights and sampling.
    pub seed: u64,
    /// Steps of the whole run; the learning rate follows them.
    pub steps: u64,
    /// Samples of a step.
    pub batch: usize,
    /// Text tokens of a sample.
    pub context: usize,
    /// The stages of the run, in order; the last one ends with it.
    pub stages: Vec<Stage>,
    /// Highest learning rate.
    pub learning_rate: f32,
    /// Steps in which the rate rises to it.
    pub warmup: u64,
    /// Share of it that is left at the end.
    pub final_rate: f32,
    /// Weight decay of matrices.
    pub weight_decay: f32,
    /// Largest norm of a step's gradient.
    pub clip: f32,
    /// Hashes of the checkpoint and the texts that the run began with; nothing for a preset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_with: Option<[String; 2]>,
}

impl TrainConfig {
    /// The recipe of the shipped model: 1400 steps with even weight on text and drafts, then 800 with
    /// more drafts.
    pub fn story(seed: u64) -> Self {
        let mut model = ModelConfig::story();
        model.vocab_size = 1024;
        Self {
            model,
            seed,
            steps: 2200,
            batch: 4,
            context: 384,
            stages: vec![
                Stage { until: 7.0 / 11.0, anchors: 20, draft_weight: 1.0 },
                Stage { until: 1.0, anchors: 32, draft_weight: 1.5 },
            ],
            learning_rate: 2.5e-3,
            warmup: 60,
            final_rate: 0.05,
            weight_decay: 0.05,
            clip: 1.0,
            began_with: None,
        }
    }

    /// The same with the text as the only objective: a model without masks, in one stage.
    pub fn text_only(mut self) -> Self {
        self.model.s3d = None;
        self.stages = vec![Stage { until: 1.0, anchors: 0, draft_weight: 0.0 }];
        self
    }

    /// Rows of a draft group: the last token and every mask.
    fn group(&self) -> usize {
        self.model.masks() + 1
    }

    /// The stage of a step, counted from 1, and the stage's last step.
    fn stage(&self, step: u64) -> (Stage, u64) {
        let end = |stage: &Stage| (self.steps as f64 * stage.until).round() as u64;
        let mut stages = self.stages.iter().map(|stage| (*stage, end(stage)));
        let idle = Stage { until: 1.0, anchors: 1, draft_weight: 1.0 };
        let last = self.stages.last().map_or((idle, self.steps), |stage| (*stage, end(stage)));
        stages.find(|(_, end)| step <= *end).unwrap_or(last)
    }

    /// Learning rate of a step, counted from 1: linear rise, then half a cosine to the stage's end.
    fn rate(&self, step: u64) -> f32 {
        if step < self.warmup {
            return self.learning_rate * step as f32 / self.warmup as f32;
        }
        let span = self.stage(step).1.saturating_sub(self.warmup).max(1);
        let progress = ((step - self.warmup) as f32 / span as f32).min(1.0);
        let fall = 0.5 * (1.0 + (std::f32::consts::PI * progress).cos());
        self.learning_rate * (self.final_rate + (1.0 - self.final_rate) * fall)
    }

    fn check(&self) -> Result<()> {
        self.model.validate().map_err(Error::Invalid)?;
        let least = self.group() + 1;
        if self.context <= least || self.batch == 0 {
            let (batch, context) = (self.batch, self.context);
            return Err(Error::invalid(format!(
                "training needs a sample per step and a context above {least}; found batch {batch} and \
                 context {context}"
            )));
        }
        let drafts = self.model.masks() > 0;
        if self.stages.is_empty() || self.stages.iter().any(|s| (s.anchors > 0) != drafts) {
            return Err(Error::invalid(
                "training needs a stage; one that has draft groups where the model has masks, and only there",
            ));
        }
        Ok(())
    }
}

/// What one step did.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// Number of the step, from 1.
    pub step: u64,
    /// Text tokens of the step.
    pub tokens: usize,
    /// Mean next-token loss at full depth, in nats; 0 where the text is not looked at, because adapters
    /// do not change it.
    pub text_loss: f64,
    /// Mean loss of each draft row, in nats: row 0 is the last real token, row i mask i. Nothing where the
    /// text is the only objective.
    pub draft_loss: Vec<f64>,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f32,
    /// Learning rate used.
    pub learning_rate: f32,
}

/// One lane: a gradient and the room to compute it.
struct Lane {
    gradient: Vec<f32>,
    tape: Tape,
    losses: Vec<Losses>,
}

/// A run in progress.
pub struct Trainer {
    config: TrainConfig,
    network: Network,
    data: Data,
    /// All of them, frozen ones included.
    weights: Vec<f32>,
    adam: Adam,
    lanes: Vec<Lane>,
    step: u64,
    pool: rayon::ThreadPool,
    /// The checkpoint that the run began with.
    folder: Option<PathBuf>,
}

/// Documents from which the tokenizer is learned.
const TOKENIZER_DOCUMENTS: u64 = 3000;

impl Trainer {
    /// A fresh run on `threads` threads: learns the tokenizer, draws the weights.
    ///
    /// # Errors
    /// When the configuration cannot be trained.
    pub fn new(mut config: TrainConfig, threads: usize) -> Result<Self> {
        let tokenizer = learn_tokenizer(config.seed, config.model.vocab_size, TOKENIZER_DOCUMENTS)?;
        config.model.vocab_size = tokenizer.vocab_size();
        let end = tokenizer.token_to_id(END_OF_TEXT);
        config.model.eos_token_id = end.map(EndTokens::One);
        Self::with_tokenizer(config, tokenizer, threads)
    }

    fn with_tokenizer(config: TrainConfig, tokenizer: Tokenizer, threads: usize) -> Result<Self> {
        let end = tokenizer.token_to_id(END_OF_TEXT);
        let end =
            end.ok_or_else(|| Error::invalid("the tokenizer has no end-of-text token </s>"))?;
        Self::with_data(config, tokenizer, end, Pieces::Generated, threads)
    }

    fn with_data(
        config: TrainConfig,
        tokenizer: Tokenizer,
        end: u32,
        pieces: Pieces,
        threads: usize,
    ) -> Result<Self> {
        config.check()?;
        let network = Network::new(&config.model, config.context, config.group())?;
        let data = Data {
            tokenizer,
            end,
            seed: config.seed,
            context: config.context,
            group: config.group(),
            layers: config.model.num_hidden_layers,
            pieces,
        };
        let size = network.layout.trained.len();
        let lane = || Lane { gradient: vec![0.0; size], tape: Tape::default(), losses: Vec::new() };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        Ok(Self {
            weights: network.layout.init(config.seed),
            adam: Adam::new(&network.layout),
            lanes: (0..LANES.min(config.batch)).map(|_| lane()).collect(),
            step: 0,
            pool: pool
                .map_err(|e| Error::invalid(format!("cannot start {threads} threads: {e}")))?,
            config,
            network,
            data,
            folder: None,
        })
    }

    /// The configuration, as completed.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// Steps done.
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// Changes the length of the run: the recipe's stages and its learning rate stretch over the steps.
    /// What was done so far is as it would have been only while the rate still rises ([`TrainConfig::warmup`]).
    pub fn stretch(&mut self, steps: u64) {
        self.config.steps = steps;
    }

    /// Number of parameters, and how many of them are trained.
    pub fn parameters(&self) -> [usize; 2] {
        [self.weights.len(), self.network.layout.trained.len()]
    }

    /// Whether training leaves the text of the model as it is.
    pub fn keeps_text(&self) -> bool {
        self.config.model.adapters().is_some()
    }

    /// One step: every sample's gradient, then the update.
    ///
    /// # Errors
    /// When the text cannot be tokenized.
    pub fn step(&mut self) -> Result<StepReport> {
        self.pool.install(|| {
            self.lanes.par_iter_mut().enumerate().try_for_each(|(lane, room)| {
                run_lane(
                    &self.config,
                    &self.network,
                    &self.data,
                    &self.weights,
                    self.step,
                    lane,
                    room,
                )
            })
        })?;
        self.step += 1;
        let rule = Rule {
            learning_rate: self.config.rate(self.step),
            decay: self.config.weight_decay,
            clip: self.config.clip,
        };
        let mut gradients: Vec<&mut [f32]> =
            self.lanes.iter_mut().map(|lane| &mut lane.gradient[..]).collect();
        let weights = &mut self.weights[self.network.layout.trained.clone()];
        let (adam, step) = (&mut self.adam, self.step);
        let norm = self.pool.install(|| adam.update(weights, &mut gradients, step, rule));
        Ok(self.report(norm, rule.learning_rate))
    }

    fn report(&self, gradient_norm: f32, learning_rate: f32) -> StepReport {
        let tokens = self.config.batch * self.config.context;
        let anchors = self.config.stage(self.step).0.anchors;
        let drafts = (self.config.batch * anchors) as f64;
        let losses = || self.lanes.iter().flat_map(|lane| &lane.losses);
        let place = |place: usize| losses().map(|loss| loss.draft[place]).sum::<f64>() / drafts;
        StepReport {
            step: self.step,
            tokens,
            text_loss: losses().map(|loss| loss.text).sum::<f64>() / tokens as f64,
            draft_loss: (0..self.config.group()).filter(|_| anchors > 0).map(place).collect(),
            gradient_norm,
            learning_rate,
        }
    }
}

/// The samples of one lane, one after the other, into the lane's gradient.
fn run_lane(
    config: &TrainConfig,
    network: &Network,
    data: &Data,
    weights: &[f32],
    step: u64,
    lane: usize,
    room: &mut Lane,
) -> Result<()> {
    room.gradient.fill(0.0);
    room.losses.clear();
    let stage = config.stage(step + 1).0;
    let drafts = stage.anchors * config.group();
    let weight = RowWeights {
        text: 1.0 / (config.batch * config.context) as f32,
        draft: stage.draft_weight / (config.batch * drafts.max(1)) as f32,
    };
    for place in (lane..config.batch).step_by(LANES) {
        let sample = data.sample(step * config.batch as u64 + place as u64, stage.anchors)?;
        network.forward_from(network.first_trained(&sample), weights, &sample, &mut room.tape);
        room.losses.push(network.losses(&sample, &mut room.tape, weight));
        network.backward(weights, &sample, &mut room.tape, &mut room.gradient);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
