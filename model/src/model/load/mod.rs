//! Loads a model: from a checkpoint, or of random weights.

mod adapters;
mod builder;
mod reader;

use super::Model;
use super::options::LoadOptions;
use super::positions::rotary;
use crate::backend::Backend;
use crate::config::ModelConfig;
use crate::device::recorder_of;
use crate::device::repeating::Repeating;
use crate::error::{Error, Result};
use crate::weights::checkpoint::Opened;
use crate::weights::source::{Seeded, WeightSource};
use builder::Builder;
use s3d_data::ModelIdentity;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::{Arc, OnceLock};

impl Model {
    /// Reads a Hugging Face folder (`config.json`, `model.safetensors` or shards with an index, and
    /// `tokenizer.json` where there is one) or a GGUF file.
    ///
    /// # Errors
    /// When a file is missing, damaged, or does not fit the others.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Self> {
        let mut opened = Opened::new(path, &options.tokenizer)?;
        let mut distance = None;
        if let Some(folder) = &options.adapters {
            let (laid, found) = opened.lay(folder)?;
            (opened, distance) = (laid, Some(found));
        }
        let Opened { config, tokenizer, source, name, notes } = opened;
        let mut model = Self::build(&*source, &config, options, backend_for(options), &name)?;
        (model.tokenizer, model.notes) = (tokenizer, notes);
        model.base_distance = distance;
        Ok(model)
    }

    /// A model of random weights: for tests and timing. It has no tokenizer.
    ///
    /// # Errors
    /// When the configuration cannot be run.
    pub fn random(config: &ModelConfig, seed: u64, options: &LoadOptions) -> Result<Self> {
        Self::geometry("random", config, seed, options)
    }

    /// [`Self::random`] under a name: a model that is timed for its shape.
    ///
    /// # Errors
    /// As there.
    pub fn geometry(
        name: &str,
        config: &ModelConfig,
        seed: u64,
        options: &LoadOptions,
    ) -> Result<Self> {
        let source = Seeded::new(seed);
        let mut model = Self::build(&source, config, options, backend_for(options), name)?;
        model.identity.random_weights = true;
        Ok(model)
    }

    /// A model from any source of weights, on a given backend.
    pub(crate) fn build(
        source: &dyn WeightSource,
        config: &ModelConfig,
        options: &LoadOptions,
        backend: Backend,
        name: &str,
    ) -> Result<Self> {
        let listed = config.draft_vocabulary();
        let config = &config.drafting_over(options.draft_over)?;
        let builder = Builder::new(source, config, options, &backend)?;
        let wide = builder.wide_config();
        let content_hash = content_hash(config, source)?;
        let (rotary, positions) = rotary(config, 0)?;
        // The largest matrices come first: what packing them needs beside them is free again before
        // the layers fill the memory.
        let (head, embedding) = (builder.head()?, builder.embedding()?);
        let draft_head = builder.draft_head(&head, listed)?;
        let layers = (0..config.num_hidden_layers).map(|n| builder.layer(n));
        let layers = layers.collect::<Result<_>>()?;
        let norm = builder.final_norm()?;
        builder.check_all_used()?;
        let repeats = options.repeated && backend.launches();
        Ok(Self {
            embedding,
            layers,
            norm,
            head,
            draft_head,
            rotary: Arc::new(rotary),
            positions,
            notes: Vec::new(),
            backend: Arc::new(backend),
            tokenizer: None,
            base_distance: None,
            identity: ModelIdentity {
                name: name.into(),
                shape: wide.shape(),
                content_hash,
                random_weights: false,
                training_steps: config.s3d.as_ref().and_then(|s3d| s3d.training_steps),
                positions: Some(config.positions()),
            },
            config: wide,
            stock: OnceLock::new(),
            repeating: repeats.then(|| Repeating::new(recorder_of(&options.device))),
        })
    }
}

fn backend_for(options: &LoadOptions) -> Backend {
    Backend::suited_to(&options.device, options.dtype, options.threads, options.composed)
}

/// SHA-256 over the configuration and the weights, before widening.
fn content_hash(config: &ModelConfig, source: &dyn WeightSource) -> Result<String> {
    let config = serde_json::to_string(config).map_err(|e| Error::invalid(e.to_string()))?;
    let digest = Sha256::digest(config + &source.content_hash()?);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}
