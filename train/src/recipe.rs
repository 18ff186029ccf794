//! How a training run goes: shape, lengths, stages and rates, and the recipes of the presets.

use crate::targets::{DraftLoss, DraftTargets, RowWeights};
use rand::Rng;
use s3d_model::{Error, ModelConfig, Result};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A stretch of the run with a recipe of its own. Each stage lowers the learning rate along a
/// cosine that began with the run and ends with the stage; the next one starts further up on its
/// longer cosine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Share of the run's steps done when the stage ends, 1 for the last.
    pub until: f64,
    /// Draft groups of a sample.
    pub anchors: usize,
    /// Weight of the mean draft loss beside the mean next-token loss.
    pub draft_weight: f32,
}

/// The windows that drafting is practised with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Windows {
    /// Symmetric ones: the fewest and the most layers that they leave out.
    Symmetric([usize; 2]),
    /// These, each as often: the first layer that is left out, and the first behind it that is not.
    These(Vec<[usize; 2]>),
}

impl Windows {
    /// The layers that one window leaves out, of a model of `layers`.
    pub(crate) fn draw(&self, random: &mut impl Rng, layers: usize) -> Range<usize> {
        match self {
            Self::Symmetric([least, most]) => {
                let length = random.random_range(*least..=*most);
                let start = (layers - length) / 2;
                start..start + length
            }
            Self::These(windows) => {
                let [start, end] = windows[random.random_range(0..windows.len())];
                start..end
            }
        }
    }

    /// Whether at least two layers stay.
    fn check(&self, layers: usize) -> Result<()> {
        let most = layers.saturating_sub(2);
        match self {
            Self::Symmetric([a, b]) if a > b || *b > most => Err(Error::invalid(format!(
                "windows to train for leave out A..B of {layers} layers, A at most B and B at most {most}; found \
                 {a}..{b}"
            ))),
            Self::These(windows) if windows.is_empty() => {
                Err(Error::invalid("expected a window or more to train for, found none"))
            }
            Self::These(windows) => {
                let wrong = windows.iter().find(|[a, b]| a > b || *b > layers || b - a > most);
                wrong.map_or(Ok(()), |[a, b]| {
                    Err(Error::invalid(format!(
                        "a window to train for begins at a layer and ends behind it, at {layers} at most, and leaves \
                         out {most} layers at most; found {a}..{b}"
                    )))
                })
            }
            Self::Symmetric(_) => Ok(()),
        }
    }
}

/// How drafting is practised; by default as the shipped preset does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Practice {
    /// The windows; none: of all lengths, most of them symmetric.
    pub windows: Option<Windows>,
    /// What the loss of a draft row is made of.
    pub loss: DraftLoss,
    /// Every further draft of a group counts so much of the one before it.
    pub fall: f32,
    /// Whether frozen matrices are multiplied in `bf16`.
    pub halves: bool,
    /// Learn to choose from the tokens that the texts hold and from the first so many of the
    /// vocabulary alone; none: from all.
    pub vocabulary: Option<usize>,
}

impl Default for Practice {
    fn default() -> Self {
        let loss = DraftLoss::default();
        Self { windows: None, loss, fall: 1.0, halves: false, vocabulary: None }
    }
}

impl Practice {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// What a card does not know: everything but the windows.
    pub(crate) fn is_for_the_cpu(&self) -> bool {
        !Self { windows: None, ..self.clone() }.is_usual()
    }

    fn check(&self, layers: usize) -> Result<()> {
        let Self { windows, loss, fall, .. } = self;
        windows.as_ref().map_or(Ok(()), |windows| windows.check(layers))?;
        for (name, share) in [("soft", loss.soft), ("variation", loss.variation), ("fall", *fall)] {
            if !(0.0..=1.0).contains(&share) {
                return Err(Error::invalid(format!("{name}: expected 0 to 1, found {share}")));
            }
        }
        if self.halves && !crate::cpu::halves::available() {
            return Err(Error::invalid(
                "products in bf16 need a processor with AVX-512 BF16, which this one has not; \
                 take f32",
            ));
        }
        Ok(())
    }
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
    /// Whether the samples of a step skip the same layers: they then go through a card together.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared_window: bool,
    /// What draft rows learn to predict.
    #[serde(default)]
    pub draft_targets: DraftTargets,
    /// How drafting is practised.
    #[serde(default, skip_serializing_if = "Practice::is_usual")]
    pub practice: Practice,
    /// Hashes of the checkpoint and the texts that the run began with; nothing for a preset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_with: Option<[String; 2]>,
}

impl TrainConfig {
    /// The recipe of the shipped model: 1400 steps with even weight on text and drafts, then 800
    /// with more drafts.
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
            shared_window: false,
            draft_targets: DraftTargets::Text,
            practice: Practice::default(),
            began_with: None,
        }
    }

    /// A larger model for a card: 111 M parameters in 16 layers, kept as bf16.
    pub fn story_large(seed: u64) -> Self {
        let story = Self::story(seed);
        let model = ModelConfig {
            hidden_size: 768,
            intermediate_size: 2304,
            num_hidden_layers: 16,
            num_attention_heads: 12,
            num_key_value_heads: Some(4),
            head_dim: Some(64),
            dtype: Some("bfloat16".into()),
            ..story.model
        };
        Self {
            model,
            steps: 4000,
            batch: 16,
            learning_rate: 8e-4,
            warmup: 200,
            shared_window: true,
            ..story
        }
    }

    /// The same with the text as the only objective: a model without masks, in one stage.
    pub fn text_only(mut self) -> Self {
        self.model.s3d = None;
        self.stages = vec![Stage { until: 1.0, anchors: 0, draft_weight: 0.0 }];
        self
    }

    /// Rows of a draft group: the last token and every mask.
    pub(crate) fn group(&self) -> usize {
        self.model.masks() + 1
    }

    /// The stage of a step, counted from 1, and the stage's last step.
    pub(crate) fn stage(&self, step: u64) -> (Stage, u64) {
        let end = |stage: &Stage| (self.steps as f64 * stage.until).round() as u64;
        let mut stages = self.stages.iter().map(|stage| (*stage, end(stage)));
        let idle = Stage { until: 1.0, anchors: 1, draft_weight: 1.0 };
        let last = self.stages.last().map_or((idle, self.steps), |stage| (*stage, end(stage)));
        stages.find(|(_, end)| step <= *end).unwrap_or(last)
    }

    /// What the rows of a step count.
    pub(crate) fn row_weights(&self, stage: Stage) -> RowWeights {
        let drafts = stage.anchors * self.group();
        RowWeights {
            text: 1.0 / (self.batch * self.context) as f32,
            draft: stage.draft_weight / (self.batch * drafts.max(1)) as f32,
            fall: self.practice.fall,
            loss: self.practice.loss,
        }
    }

    /// Learning rate of a step, counted from 1: linear rise, then half a cosine to the stage's end.
    pub(crate) fn rate(&self, step: u64) -> f32 {
        if step < self.warmup {
            return self.learning_rate * step as f32 / self.warmup as f32;
        }
        let span = self.stage(step).1.saturating_sub(self.warmup).max(1);
        let progress = ((step - self.warmup) as f32 / span as f32).min(1.0);
        let fall = 0.5 * (1.0 + (std::f32::consts::PI * progress).cos());
        self.learning_rate * (self.final_rate + (1.0 - self.final_rate) * fall)
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.model.validate().map_err(Error::Invalid)?;
        let least = self.group() + 1;
        if self.context <= least || self.batch == 0 {
            let (batch, context) = (self.batch, self.context);
            return Err(Error::invalid(format!(
                "training needs a sample per step and a context above {least}; found batch \
                 {batch} and \
                 context {context}"
            )));
        }
        if self.draft_targets == DraftTargets::Choices && self.model.adapters().is_none() {
            return Err(Error::invalid(
                "drafts learn a model's own choices only while these stay what they are: with \
                 adapters",
            ));
        }
        self.practice.check(self.model.num_hidden_layers)?;
        if (self.practice.halves || self.practice.vocabulary.is_some())
            && self.model.adapters().is_none()
        {
            return Err(Error::invalid(
                "products in bf16 and a part of the vocabulary are for frozen weights: with \
                 adapters",
            ));
        }
        let drafts = self.model.masks() > 0;
        if self.stages.is_empty() || self.stages.iter().any(|s| (s.anchors > 0) != drafts) {
            return Err(Error::invalid(
                "training needs a stage; one that has draft groups where the model has masks, \
                 and only there",
            ));
        }
        Ok(())
    }
}
