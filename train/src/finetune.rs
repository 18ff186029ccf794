//! Training that begins with a checkpoint which cannot draft several tokens at once yet: it gets
//! masks and, where its own weights must not change, adapters.

use crate::cpu::products::Vocabulary;
use crate::data::samples::Pieces;
use crate::data::self_written::Written;
use crate::data::texts::Texts;
use crate::data::token_counts::{HELD_OUT, tokens_of};
use crate::recipe::{Practice, Stage, TrainConfig};
use crate::targets::DraftTargets;
use crate::trainer::Trainer;
use s3d_model::checkpoint::Opened;
use s3d_model::config::{AdapterConfig, S3dConfig};
use s3d_model::weights::WeightSource;
use s3d_model::weights::{Added, BaseIdentity, DraftVocabulary};
use s3d_model::{Error, Result, Tokenizer, TokenizerFrom};
use std::path::Path;

/// Text tokens of a sample, where nothing else is asked for.
const CONTEXT: usize = 384;
/// Text tokens that one draft group comes with: groups are what is learned from.
const TOKENS_PER_GROUP: usize = 8;
/// How far masks that begin at the mean embedding are from it, beside the size of embeddings.
const NOISE: f32 = 0.3;

/// What a checkpoint is trained on.
#[derive(Debug, Clone, Copy)]
pub enum Corpus<'a> {
    /// The corpus of this crate, of the training's seed.
    Generated,
    /// Texts of one's own.
    Texts(&'a Texts),
    /// Texts of the model's own, and a hash of them.
    Written(&'a [Written], &'a str),
}

impl Corpus<'_> {
    fn hash(&self) -> String {
        match self {
            Self::Generated => "generated".into(),
            Self::Texts(texts) => texts.hash(),
            Self::Written(_, hash) => (*hash).to_string(),
        }
    }
}

/// How a checkpoint is trained.
#[derive(Debug, Clone)]
pub struct Finetune<'a> {
    /// Its Hugging Face folder, or its GGUF file.
    pub folder: &'a Path,
    /// What it is trained on.
    pub corpus: Corpus<'a>,
    /// Adapters and masks to begin with, those of an earlier training; else they begin at nothing.
    pub warm: Option<&'a Path>,
    /// Adapters of draft rows, which alone are trained beside the masks; without, all weights are.
    pub adapters: Option<AdapterConfig>,
    /// What draft rows learn to predict; without adapters, the text.
    pub draft_targets: DraftTargets,
    /// Masks: one fewer than the tokens drafted at once.
    pub masks: usize,
    /// Text tokens of a sample; up to 384 where nothing is said.
    pub context: Option<usize>,
    /// Draft groups of a sample; one of eight text tokens where nothing is said.
    pub groups: Option<usize>,
    /// How drafting is practised.
    pub practice: Practice,
    /// Samples of a step.
    pub batch: usize,
    /// Steps of the whole run.
    pub steps: u64,
    /// Highest learning rate; where nothing is said, 2e-3 with adapters and 3e-4 without.
    pub learning_rate: Option<f32>,
    /// Seed of new weights and of sampling.
    pub seed: u64,
}

impl Finetune<'_> {
    /// A fresh run on `threads` threads.
    ///
    /// # Errors
    /// A checkpoint that does not load, has masks already, or is of a kind that training does not
    /// know; texts that are too short.
    pub fn begin(&self, threads: usize) -> Result<Trainer> {
        let bad = |message: String| Err(Error::malformed(self.folder, message));
        if !self.folder.is_dir() && self.adapters.is_none() {
            return bad(
                "all weights are trained of a Hugging Face folder alone, not of a single file; \
                 take adapters"
                    .into(),
            );
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
        let end = opened.config.end_tokens().first().copied();
        let base = BaseIdentity::of(&opened.name, &opened.config, &*opened.source)?;
        let warm = self.warm.map(|folder| Added::open(folder, &opened.config, &base));
        let warm = warm.transpose()?;
        let listed = opened.config.draft_vocabulary().map(|count| (&*opened.source, count));
        let known = known_list(listed, warm.as_ref(), opened.config.vocab_size)?;
        let config = self.config(opened.config, &base, warm.as_ref())?;
        let pieces = match (self.corpus, end) {
            (Corpus::Texts(texts), end) => pieces(texts, &tokenizer, end, config.context)?,
            (Corpus::Written(texts, _), _) => written(texts, config.context, config.group())?,
            (Corpus::Generated, Some(_)) => Pieces::Generated,
            (Corpus::Generated, None) => {
                return bad("no eos_token_id, which generated texts need".into());
            }
        };
        let end = end.unwrap_or(u32::MAX);
        let mut trainer = Trainer::with_data(config, tokenizer, end, pieces, threads)?;
        trainer.load_own(&*opened.source)?;
        if let Some(warm) = &warm {
            trainer.load_added(warm)?;
        }
        trainer.pack();
        trainer.folder = Some(self.folder.to_path_buf());
        trainer.base = Some(base);
        trainer.draft_vocabulary = known;
        Ok(trainer)
    }

    fn config(
        &self,
        mut model: s3d_model::ModelConfig,
        base: &BaseIdentity,
        warm: Option<&Added>,
    ) -> Result<TrainConfig> {
        let positions = model.positions();
        let context = self.context.unwrap_or(CONTEXT.min(positions));
        if context > positions {
            return Err(Error::invalid(format!(
                "--context: the model decodes texts of up to {positions} tokens, found {context}"
            )));
        }
        let (masks, adapters) = (self.masks, self.adapters);
        let mut hash = base.hash.clone();
        if let Some(warm) = warm {
            warm.check_kind(masks, adapters)?;
            hash += &format!("+{}", warm.content_hash()?);
        }
        model.s3d = Some(S3dConfig { masks, adapters, ..model.s3d.unwrap_or_default() });
        let rate = if adapters.is_some() { 2e-3 } else { 3e-4 };
        let anchors = self.groups.unwrap_or((context / TOKENS_PER_GROUP).max(1));
        Ok(TrainConfig {
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
            practice: self.practice.clone(),
            began_with: Some([hash, self.corpus.hash()]),
        })
    }
}

/// The draft vocabulary that a run begins with: that of the adapters, or of the checkpoint.
fn known_list(
    listed: Option<(&dyn WeightSource, usize)>,
    warm: Option<&Added>,
    vocab: usize,
) -> Result<Option<DraftVocabulary>> {
    let warm = warm.and_then(|warm| {
        let source: &dyn WeightSource = &warm.source;
        warm.config.s3d.draft_vocabulary.map(|count| (source, count))
    });
    let list = warm.or(listed).map(|(source, count)| source.draft_vocabulary(count, vocab));
    list.transpose()
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
        let [tokens, rest] = tokens_of(file, tokenizer, end)?;
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

/// Texts of the model's own, cut to `context`, without those that are too short to practise on.
fn written(texts: &[Written], context: usize, group: usize) -> Result<Pieces> {
    let cut = |text: &Written| {
        let tokens = text.tokens[..text.tokens.len().min(context + 1)].to_vec();
        Written { tokens, ..text.clone() }
    };
    let enough = |text: &Written| text.prompt > 0 && text.tokens.len() > text.prompt + group;
    let texts: Vec<Written> = texts.iter().map(cut).filter(enough).collect();
    let (held_out, training): (Vec<_>, Vec<_>) = texts.into_iter().partition(|t| t.held_out);
    if training.is_empty() || held_out.is_empty() {
        return Err(Error::invalid(format!(
            "of the model's own texts {} to train on and {} to judge by are longer than their \
             prompts and a draft \
             within a context of {context}; each needs one: give more prompts or a longer context",
            training.len(),
            held_out.len()
        )));
    }
    Ok(Pieces::Written { training, held_out })
}

impl Trainer {
    /// Packs what the recipe multiplies otherwise than in `f32` over the whole vocabulary.
    fn pack(&mut self) {
        let (practice, layout) = (&self.config.practice, &self.network.layout);
        if practice.halves {
            let (model, weights) = (&self.config.model, &self.weights);
            let products = &mut self.network.products;
            self.pool.install(|| products.pack_layers(layout, model, weights));
        }
        let Some(first) = practice.vocabulary else { return };
        let vocabulary = self.config.model.vocab_size;
        let mut wanted = vec![false; vocabulary];
        wanted[..first.clamp(1, vocabulary)].fill(true);
        let mut want = |tokens: &[u32]| {
            tokens.iter().filter(|t| (**t as usize) < vocabulary).for_each(|token| {
                wanted[*token as usize] = true;
            });
        };
        match &self.data.pieces {
            Pieces::Generated => {}
            Pieces::Own { training, .. } => want(training),
            Pieces::Written { training, .. } => {
                training.iter().for_each(|text| want(&text.tokens[text.prompt..]));
            }
        }
        let tokens = (0..vocabulary as u32).filter(|token| wanted[*token as usize]).collect();
        let head = &self.weights[layout.head.clone()];
        let part = Vocabulary::new(tokens, head, self.config.model.hidden_size, practice.halves);
        self.network.products.vocabulary = Some(part);
    }

    /// Takes masks and adapters of an earlier training.
    fn load_added(&mut self, added: &Added) -> Result<()> {
        let variables = self.network.layout.variables.iter();
        for variable in variables.filter(|v| !v.is_models_own()) {
            let values = added.source.tensor(&variable.name, &variable.shape)?;
            self.weights[variable.range.clone()].copy_from_slice(&values);
        }
        Ok(())
    }

    /// The mean embedding of the tokens that the model writes; nothing on other texts.
    fn mean_embedding(&self) -> Option<Vec<f32>> {
        let Pieces::Written { training, .. } = &self.data.pieces else { return None };
        let hidden = self.config.model.hidden_size;
        let table = &self.weights[self.network.layout.embedding.clone()];
        let (mut sum, mut count) = (vec![0.0f64; hidden], 0.0);
        for token in training.iter().flat_map(|text| &text.tokens[text.prompt..]) {
            let row = &table[*token as usize * hidden..][..hidden];
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
            count += 1.0;
        }
        Some(sum.into_iter().map(|sum| (sum / count) as f32).collect())
    }

    /// Takes the model's own weights from `source`. Masks begin at the size of its embeddings; on
    /// texts of its own they begin near the mean embedding of what it writes.
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
        let mean = self.mean_embedding();
        let range = self.network.layout.masks.clone();
        let masks = &mut self.weights[range];
        let factor = (wanted / size(masks)) as f32;
        masks.iter_mut().for_each(|weight| *weight *= factor);
        if let Some(mean) = mean {
            for mask in masks.chunks_exact_mut(mean.len()) {
                mask.iter_mut().zip(&mean).for_each(|(mask, mean)| *mask = *mask * NOISE + mean);
            }
        }
        Ok(())
    }
}
