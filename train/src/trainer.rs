//! A run in progress: the variables, the optimizer, and one step after the other.

use crate::candle::backend::OnDevice;
use crate::cpu::adam::{Adam, Rule};
use crate::cpu::network::Network;
use crate::cpu::tape::Tape;
use crate::data::learn_tokenizer::{END_OF_TEXT, learn_tokenizer};
use crate::data::samples::{Data, Pieces};
use crate::data::token_counts::TokenCounts;
use crate::recipe::TrainConfig;
use crate::targets::{Losses, Sample};
use candle_core::{DType, Device};
use rayon::prelude::*;
use s3d_model::config::EndTokens;
use s3d_model::weights::{BaseIdentity, DraftVocabulary};
use s3d_model::{Error, Result, Tokenizer};
use std::path::PathBuf;

/// Partial gradients that are kept apart and then summed in order: the most threads that help.
const LANES: usize = 4;

/// What one step did.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// Number of the step, from 1.
    pub step: u64,
    /// Text tokens of the step.
    pub tokens: usize,
    /// Mean next-token loss at full depth, in nats; 0 where the text is not looked at, because
    /// adapters do not change it.
    pub text_loss: f64,
    /// Mean loss of each draft row, in nats: row 0 is the last real token, row i mask i. Nothing
    /// where the text is the only objective.
    pub draft_loss: Vec<f64>,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f32,
    /// Learning rate used.
    pub learning_rate: f32,
}

/// One lane: a gradient and the buffers to compute it in.
pub(crate) struct Lane {
    gradient: Vec<f32>,
    tape: Tape,
    losses: Vec<Losses>,
}

/// The run's variables on a device.
pub(crate) struct Card {
    pub(crate) place: OnDevice,
    /// Whether they have made steps that the host has not seen.
    pub(crate) ahead: bool,
}

/// A run in progress.
pub struct Trainer {
    pub(crate) config: TrainConfig,
    pub(crate) network: Network,
    pub(crate) data: Data,
    /// All of them, frozen ones included.
    pub(crate) weights: Vec<f32>,
    pub(crate) adam: Adam,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) card: Option<Card>,
    pub(crate) step: u64,
    pub(crate) pool: rayon::ThreadPool,
    /// The checkpoint that the run began with, and what tells it from others.
    pub(crate) folder: Option<PathBuf>,
    pub(crate) base: Option<BaseIdentity>,
    /// The tokens that drafts are to be chosen from; none: all. Nothing of training depends on it.
    pub(crate) draft_vocabulary: Option<DraftVocabulary>,
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

    pub(crate) fn with_tokenizer(
        config: TrainConfig,
        tokenizer: Tokenizer,
        threads: usize,
    ) -> Result<Self> {
        let end = tokenizer.token_to_id(END_OF_TEXT);
        let end =
            end.ok_or_else(|| Error::invalid("the tokenizer has no end-of-text token </s>"))?;
        Self::with_data(config, tokenizer, end, Pieces::Generated, threads)
    }

    pub(crate) fn with_data(
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
            windows: config.practice.windows.clone(),
            sharing: if config.shared_window { config.batch } else { 1 },
            pieces,
        };
        let size = network.layout.trained.len();
        let lane = || Lane { gradient: vec![0.0; size], tape: Tape::default(), losses: Vec::new() };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        Ok(Self {
            weights: network.layout.init(config.seed),
            adam: Adam::new(&network.layout),
            lanes: (0..LANES.min(config.batch)).map(|_| lane()).collect(),
            card: None,
            step: 0,
            pool: pool
                .map_err(|e| Error::invalid(format!("cannot start {threads} threads: {e}")))?,
            config,
            network,
            data,
            folder: None,
            base: None,
            draft_vocabulary: None,
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

    /// Changes the length of the run: the recipe's stages and its learning rate stretch over the
    /// steps. What was done so far is as it would have been only while the rate still rises
    /// ([`TrainConfig::warmup`]).
    pub fn stretch(&mut self, steps: u64) {
        self.config.steps = steps;
    }

    /// Number of parameters, and how many of them are trained.
    pub fn parameters(&self) -> [usize; 2] {
        [self.weights.len(), self.network.layout.trained.len()]
    }

    /// Lists the `size` most frequent tokens of the texts, end-of-text tokens first, as those that
    /// the model's drafts are chosen from; returns the share of held-out texts that they hold.
    ///
    /// # Errors
    /// Generated texts, which have no end; a size that no list can have.
    pub fn list_draft_vocabulary(&mut self, size: usize) -> Result<Option<f64>> {
        let model = &self.config.model;
        let counts = TokenCounts::of_pieces(&self.data.pieces, model.vocab_size)?;
        let list = counts.most_frequent(model.end_tokens(), size)?;
        self.draft_vocabulary = Some(list.tokens);
        Ok(list.coverage)
    }

    /// Whether training leaves the text of the model as it is.
    pub fn keeps_text(&self) -> bool {
        self.config.model.adapters().is_some()
    }

    /// Makes the following steps on `device`; on a card matrices and attention compute in `bf16`.
    /// What the host is to see of them (saving, judging) [`Self::download`] brings back.
    ///
    /// # Errors
    /// Too little memory on the device.
    pub fn move_to(&mut self, device: &Device) -> Result<()> {
        self.move_as(device, if device.is_cpu() { DType::F32 } else { DType::BF16 })
    }

    pub(crate) fn move_as(&mut self, device: &Device, number: DType) -> Result<()> {
        if self.config.practice.is_for_the_cpu() {
            return Err(Error::invalid(
                "soft losses, losses that fall, a part of the vocabulary and halves of the host \
                 are for the CPU: \
                 leave them out on a device",
            ));
        }
        self.download()?;
        let state = (&self.weights[..], &self.adam);
        let place = OnDevice::new(&self.network, state, device, number)?;
        // The lanes of the CPU have nothing to do.
        self.lanes = Vec::new();
        self.card = Some(Card { place, ahead: false });
        Ok(())
    }

    /// Brings back what a device has trained.
    ///
    /// # Errors
    /// When the device fails.
    pub fn download(&mut self) -> Result<()> {
        if let Some(card) = self.card.as_mut().filter(|card| card.ahead) {
            card.place.download(&mut self.weights, &mut self.adam)?;
            card.ahead = false;
        }
        Ok(())
    }

    /// The weights, where the host has the latest.
    pub(crate) fn host_weights(&self) -> Result<&[f32]> {
        match &self.card {
            Some(card) if card.ahead => Err(Error::invalid(
                "the latest weights are on the device: Trainer::download brings them back",
            )),
            _ => Ok(&self.weights),
        }
    }

    /// One step: every sample's gradient, then the update.
    ///
    /// # Errors
    /// When the text cannot be tokenized, a device fails, or the loss is not finite: then the
    /// weights are those before the step, on a device undefined.
    pub fn step(&mut self) -> Result<StepReport> {
        let rule = Rule {
            learning_rate: self.config.rate(self.step + 1),
            decay: self.config.weight_decay,
            clip: self.config.clip,
        };
        let (losses, norm) = match self.card.is_some() {
            true => self.step_on_device(rule)?,
            false => self.step_on_lanes(rule)?,
        };
        let all = losses.iter().flat_map(|l| l.draft.iter().chain([&l.text]));
        if !norm.is_finite() || !all.copied().all(f64::is_finite) {
            return Err(not_finite(self.step + 1));
        }
        self.step += 1;
        Ok(self.report(&losses, norm, rule.learning_rate))
    }

    /// The losses of all samples and the norm of the gradient.
    fn step_on_device(&mut self, rule: Rule) -> Result<(Vec<Losses>, f32)> {
        let stage = self.config.stage(self.step + 1).0;
        let first = self.step * self.config.batch as u64;
        let places = (first..first + self.config.batch as u64).into_par_iter();
        let sample = |place| self.data.sample(place, stage.anchors);
        let samples: Vec<Sample> =
            self.pool.install(|| places.map(sample).collect::<Result<_>>())?;
        let (weight, targets) = (self.config.row_weights(stage), self.config.draft_targets);
        let Some(card) = &mut self.card else { return Ok((Vec::new(), 0.0)) };
        let (gradients, losses) = card.place.gradients(&self.network, &samples, weight, targets)?;
        let norm = card.place.update(&gradients, self.step + 1, rule)?;
        card.ahead = true;
        Ok((losses, norm))
    }

    fn step_on_lanes(&mut self, rule: Rule) -> Result<(Vec<Losses>, f32)> {
        self.pool.install(|| {
            self.lanes.par_iter_mut().enumerate().try_for_each(|(number, lane)| {
                run_lane(
                    &self.config,
                    &self.network,
                    &self.data,
                    &self.weights,
                    self.step,
                    number,
                    lane,
                )
            })
        })?;
        let mut gradients: Vec<&mut [f32]> =
            self.lanes.iter_mut().map(|lane| &mut lane.gradient[..]).collect();
        let weights = &mut self.weights[self.network.layout.trained.clone()];
        let (adam, step) = (&mut self.adam, self.step + 1);
        let norm = self.pool.install(|| adam.update(weights, &mut gradients, step, rule));
        Ok((self.lanes.iter().flat_map(|lane| lane.losses.clone()).collect(), norm))
    }

    fn report(&self, losses: &[Losses], gradient_norm: f32, learning_rate: f32) -> StepReport {
        let tokens = self.config.batch * self.config.context;
        let anchors = self.config.stage(self.step).0.anchors;
        let drafts = losses.iter().map(|loss| loss.groups).sum::<usize>().max(1) as f64;
        let place = |place: usize| losses.iter().map(|l| l.draft[place]).sum::<f64>() / drafts;
        StepReport {
            step: self.step,
            tokens,
            text_loss: losses.iter().map(|loss| loss.text).sum::<f64>() / tokens as f64,
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
    number: usize,
    lane: &mut Lane,
) -> Result<()> {
    lane.gradient.fill(0.0);
    lane.losses.clear();
    let stage = config.stage(step + 1).0;
    let weight = config.row_weights(stage);
    for place in (number..config.batch).step_by(LANES) {
        let mut sample = data.sample(step * config.batch as u64 + place as u64, stage.anchors)?;
        let (first, targets) = (network.first_trained(&sample), config.draft_targets);
        network.forward_to_learn(first, targets, weights, &mut sample, &mut lane.tape);
        lane.losses.push(network.losses(&sample, &mut lane.tape, weight));
        network.backward(weights, &sample, &mut lane.tape, &mut lane.gradient);
    }
    Ok(())
}

/// A training whose numbers have left the range of `f32`.
pub(crate) fn not_finite(step: u64) -> Error {
    Error::invalid(format!(
        "the loss of step {step} is not a finite number any more; the last checkpoint before it \
         is kept. Train anew \
         with a lower --learning-rate"
    ))
}
