//! Tiny models for tests, and the naive decoder they are compared with.
#![allow(dead_code)]

pub mod chi_square;
pub mod gguf;
pub mod naive;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use s3d_data::{DraftPlan, Drafting, LayerSet, Plan, Predictors, Skip, SkipWindow};
use s3d_model::config::{AdapterConfig, S3dConfig};
use s3d_model::{LoadOptions, Logits, Model, ModelConfig};

/// Two layers of one head, `vocab` tokens, one mask, and drafts from so many of the tokens: small
/// enough that all that can be drawn is counted.
pub fn tiny(vocab: usize, draft_vocabulary: Option<usize>) -> Model {
    let config = ModelConfig {
        hidden_size: 8,
        intermediate_size: 8,
        num_hidden_layers: 2,
        num_attention_heads: 1,
        num_key_value_heads: None,
        head_dim: None,
        vocab_size: vocab,
        max_position_embeddings: 16,
        eos_token_id: None,
        s3d: Some(S3dConfig { masks: 1, draft_vocabulary, ..S3dConfig::default() }),
        ..grouped()
    };
    Model::random(&config, 3, &options(1, 1)).unwrap()
}

/// A plan of one to eight drafts, by either drafting, over `layers` layers; one in `sets` skips a
/// free set of sub-layers, the others a window.
pub fn random_plan(layers: usize, sets: u32, source: &mut ChaCha8Rng) -> Plan {
    let subset = |source: &mut ChaCha8Rng| (0..layers).filter(|_| source.random()).collect();
    let skip: Skip = if source.random_range(0..sets) == 0 {
        let (attention, mlp) = (subset(source), subset(source));
        Skip::Set { layers: LayerSet { attention, mlp }.into() }
    } else {
        let (a, b) = (source.random_range(0..=layers), source.random_range(0..=layers));
        SkipWindow::new(a.min(b), a.max(b)).unwrap().into()
    };
    let drafting = Drafting::ALL[source.random_range(0..2usize)];
    let predictors = Predictors::new(source.random_range(1..9)).unwrap();
    Plan::Speculate(DraftPlan { drafting, skip, predictors })
}

/// Five layers, two query heads per key-value head, sizes that fill no panel; vocabulary of 11.
pub fn grouped() -> ModelConfig {
    ModelConfig {
        hidden_size: 28,
        intermediate_size: 37,
        num_hidden_layers: 5,
        num_attention_heads: 4,
        num_key_value_heads: Some(2),
        head_dim: Some(10),
        vocab_size: 11,
        tie_word_embeddings: false,
        max_position_embeddings: 200,
        s3d: Some(S3dConfig { masks: 7, ..S3dConfig::default() }),
        ..ModelConfig::story()
    }
}

/// As many key-value heads as query heads, a tied head, sizes that fill panels.
pub fn tied() -> ModelConfig {
    ModelConfig {
        hidden_size: 32,
        intermediate_size: 48,
        num_attention_heads: 2,
        num_key_value_heads: None,
        head_dim: None,
        tie_word_embeddings: true,
        ..grouped()
    }
}

/// The same with adapters of draft rows.
pub fn adapted(config: ModelConfig) -> ModelConfig {
    let adapters = Some(AdapterConfig { rank: 5, alpha: 3.0 });
    let s3d = Some(S3dConfig { masks: config.masks(), adapters, ..S3dConfig::default() });
    ModelConfig { s3d, ..config }
}

pub fn options(widen: usize, threads: usize) -> LoadOptions {
    LoadOptions { widen, threads, ..LoadOptions::default() }
}

pub fn random(config: &ModelConfig, seed: u64) -> Model {
    Model::random(config, seed, &options(1, 2)).unwrap()
}

pub fn window(start: usize, end: usize) -> Skip {
    SkipWindow::new(start, end).unwrap().into()
}

/// Attention of layers 1 and 3, MLP of layers 0 and 3.
pub fn sub_layers() -> Skip {
    let layers = LayerSet { attention: vec![1, 3], mlp: vec![0, 3] };
    Skip::Set { layers: layers.into() }
}

/// The rows of logits.
pub fn rows(logits: &Logits) -> Vec<Vec<f32>> {
    logits.to_rows().unwrap()
}
