//! Training that begins with a checkpoint which cannot draft several tokens at once yet: it gets masks and,
//! where its own weights must not change, adapters.

use super::data::Pieces;
use super::texts::Texts;
use super::{DraftTargets, Stage, TrainConfig, Trainer};
use crate::checkpoint::Opened;
use crate::config::{AdapterConfig, EndTokens, S3dConfig};
use crate::weights::WeightSource;
use crate::{Error, Result, Tokenizer, TokenizerFrom};
use std::path::Path;

/// Text tokens of a sample, where nothing else is asked for.
const CONTEXT: usize = 384;
/// Text tokens that one draft group comes with: groups are what is learned from.
const TOKENS_PER_GROUP: usize = 8;
/// One part in so many of each file is held out.
const HELD_OUT: usize = 10;

/// How a checkpoint is trained.
#[derive(Debug, Clone, Copy)]
pub struct Own<'a> {
    /// Its Hugging Face folder.
    pub folder: &'a Path,
    /// What it is trained on; where nothing is given, the corpus of this crate, of the same seed.
    pub texts: Option<&'a Texts>,
    /// Adapters of draft rows, which alone are trained beside the masks; without, all weights are.
    pub adapters: Option<AdapterConfig>,
    /// What draft rows learn to predict; without adapters, the text.
    pub draft_targets: DraftTargets,
    /// Masks: one fewer than the tokens drafted at once.
    pub masks: usize,
    /// Text tokens of a sample; up to 384 where nothing is said.
    pub context: Option<usize>,
    /// Samples of a step.
    pub batch: usize,
    /// Steps of the whole run.
    pub steps: u64,
    /// Highest learning rate; where nothing is said, 2e-3 with adapters and 3e-4 without.
    pub learning_rate: Option<f32>,
    /// Seed of new weights and of sampling.
    pub seed: u64,
}

impl Own<'_> {
    /// A fresh run on `threads` threads.
    ///
    /// # Errors
    /// A checkpoint that does not load, has masks already, or is of a kind that training does not
    /// know; texts that are too short.
    pub fn begin(&self, threads: usize) -> Result<Trainer> {
        let bad = |message: String| Err(Error::malformed(self.folder, message));
        if !self.folder.is_dir() {
            return bad("training begins with a Hugging Face folder, not with a single file".into());
        }
        let opened = Opened::new(self.folder, &TokenizerFrom::Checkpoint)?;
        let Some(tokenizer) = opened.tokenizer else {
            return bad("no tokenizer.json, which the texts need".into());
        };
        if opened.config.masks() > 0 {
            let masks = opened.config.masks();
            return bad(format!(
                "has {masks} mask predictors already; begin with a checkpoint that has none"
            ));
        }
        let end = match &opened.config.eos_token_id {
            Some(EndTokens::One(end)) => Some(*end),
            Some(EndTokens::Many(ends)) => ends.first().copied(),
            None => None,
        };
        let config = self.config(opened.config, opened.source.content_hash()?);
        let pieces = match (self.texts, end) {
            (Some(texts), end) => pieces(texts, &tokenizer, end, config.context)?,
            (None, Some(_)) => Pieces::Generated,
            (None, None) => return bad("no eos_token_id, which generated texts need".into()),
        };
        let end = end.unwrap_or(u32::MAX);
        let mut trainer = Trainer::with_data(config, tokenizer, end, pieces, threads)?;
        trainer.load_own(&*opened.source)?;
        trainer.folder = Some(self.folder.to_path_buf());
        Ok(trainer)
    }

    fn config(&self, mut model: crate::ModelConfig, hash: String) -> TrainConfig {
        let context = self.context.unwrap_or(CONTEXT).min(model.positions());
        let (masks, adapters) = (self.masks, self.adapters);
        model.s3d = Some(S3dConfig { masks, adapters, ..model.s3d.unwrap_or_default() });
        let rate = if adapters.is_some() { 2e-3 } else { 3e-4 };
        let anchors = (context / TOKENS_PER_GROUP).max(1);
        TrainConfig {
            model,
            seed: self.seed,
            steps: self.steps,
            batch: self.batch,
            context,
            stages: vec![Stage { until: 1.0, anchors, draft_weight: 1.0 }],
            learning_rate: self.learning_rate.unwrap_or(rate),
            warmup: (self.steps / 20).clamp(1, 60),
            final_rate: 0.05,
            weight_decay: if adapters.is_some() { 0.0 } else { 0.05 },
            clip: 1.0,
            shared_window: false,
            draft_targets: self.draft_targets,
            began_with: Some([hash, self.texts.map_or("generated".into(), Texts::hash)]),
        }
    }
}

/// The tokens of all texts, the last tenth of each file held out.
fn pieces(
    texts: &Texts,
    tokenizer: &Tokenizer,
    end: Option<u32>,
    context: usize,
) -> Result<Pieces> {
    let (mut training, mut held_out) = (Vec::new(), Vec::new());
    for file in &texts.files {
        let mut tokens = Vec::new();
        for text in file {
            tokens.extend(tokenizer.encode(text)?);
            tokens.extend(end);
        }
        let rest = tokens.split_off(tokens.len() - tokens.len() / HELD_OUT);
        training.extend(tokens);
        held_out.extend(rest);
    }
    let (all, needed) = (training.len() + held_out.len(), HELD_OUT * (context + 1));
    if held_out.len() <= context || training.len() <= context {
        return Err(Error::invalid(format!(
            "the corpus has {all} tokens; a context of {context} needs about {needed}, a tenth of \
                 them held out: give more text or a shorter context"
        )));
    }
    Ok(Pieces::Own { training, held_out })
}

impl Trainer {
    /// Takes the model's own weights from `source`; masks begin at the size of its embeddings.
    fn load_own(&mut self, source: &dyn WeightSource) -> Result<()> {
        let layout = &self.network.layout;
        for variable in layout.variables.iter().filter(|v| v.is_models_own()) {
            let values = source.tensor(&variable.name, &variable.shape)?;
            self.weights[variable.range.clone()].copy_from_slice(&values);
        }
        let size = |values: &[f32]| {
            let squares: f64 = values.iter().map(|v| f64::from(*v).powi(2)).sum();
            (squares / values.len() as f64).sqrt()
        };
        let wanted = size(&self.weights[layout.embedding.clone()]);
        let masks = &mut self.weights[layout.masks.clone()];
        let factor = (wanted / size(masks)) as f32;
        masks.iter_mut().for_each(|weight| *weight *= factor);
        Ok(())
    }
}
