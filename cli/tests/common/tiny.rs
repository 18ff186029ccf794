//! A checkpoint that is trained in a moment, and texts for it.

use s3d_model::ModelConfig;
use s3d_train::{TrainConfig, Trainer};
use std::path::{Path, PathBuf};

/// A tiny checkpoint without masks, and a file of texts.
pub fn checkpoint(dir: &Path) -> (PathBuf, PathBuf) {
    let model = ModelConfig {
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 3,
        num_attention_heads: 2,
        num_key_value_heads: Some(1),
        head_dim: Some(8),
        vocab_size: 300,
        ..ModelConfig::story()
    };
    let config = TrainConfig { model, context: 32, ..TrainConfig::story(2).text_only() };
    let config = TrainConfig { model: ModelConfig { s3d: None, ..config.model }, ..config };
    let mut trainer = Trainer::new(config, 2).unwrap();
    trainer.step().unwrap();
    let base = dir.join("base");
    trainer.save(&base).unwrap();
    (base, corpus(dir))
}

/// The file of texts.
pub fn corpus(dir: &Path) -> PathBuf {
    let corpus = dir.join("corpus.jsonl");
    let line =
        |i: usize| format!("{{\"text\": \"The miller counts {i} sacks, then {i} more.\"}}\n");
    std::fs::write(&corpus, (0..60).map(line).collect::<String>()).unwrap();
    corpus
}
