//! A checkpoint on disk, whatever its form: a Hugging Face folder or a GGUF file.

use crate::chat::ChatTemplate;
use crate::weights::{Checkpoint, GgufFile, WeightSource, is_gguf};
use crate::{Error, ModelConfig, Result, Tokenizer};
use std::path::Path;

/// An opened checkpoint; its weights are still on disk.
pub(crate) struct Opened {
    pub config: ModelConfig,
    pub tokenizer: Option<Tokenizer>,
    pub source: Box<dyn WeightSource>,
    /// The last part of its path.
    pub name: String,
}

/// The configuration of a checkpoint.
///
/// # Errors
/// When it is not there, damaged, or of a model that this engine cannot run.
pub fn read_config(path: &Path) -> Result<ModelConfig> {
    if path.is_dir() { ModelConfig::load(path) } else { Ok(GgufFile::open(path)?.config().clone()) }
}

/// Whether `path` can be a checkpoint: a folder, or a GGUF file.
pub fn is_checkpoint(path: &Path) -> bool {
    path.is_dir() || path.is_file() && is_gguf(path)
}

impl Opened {
    /// Opens a checkpoint; `tokenizer` is a file to take in place of its own tokenizer.
    pub fn new(path: &Path, tokenizer: Option<&Path>) -> Result<Self> {
        let full = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let name = full.file_name().map_or("model".into(), |name| name.to_string_lossy()).into();
        let given = tokenizer.map(|file| Ok((Tokenizer::load(file)?, file.to_path_buf())));
        let (config, own, source): (_, _, Box<dyn WeightSource>) = if path.is_dir() {
            let own =
                || folder_tokenizer(path).map(|t| t.map(|t| (t, path.join("tokenizer.json"))));
            (
                ModelConfig::load(path)?,
                given.map_or_else(own, |t| t.map(Some)),
                Box::new(Checkpoint::open(path)?),
            )
        } else {
            let file = GgufFile::open(path)?;
            let own = || match file.vocabulary() {
                None => Ok(None),
                Some(vocabulary) => Tokenizer::from_vocabulary(&vocabulary, path)
                    .map(|tokenizer| Some((tokenizer, path.to_path_buf()))),
            };
            let own = given.map_or_else(own, |t| t.map(Some));
            (file.config().clone(), own, Box::new(file))
        };
        let tokenizer = match own? {
            None => None,
            Some((tokenizer, file)) => Some(fitting(tokenizer, &file, &config)?),
        };
        Ok(Self { config, tokenizer, source, name })
    }
}

/// `tokenizer.json` of a folder with its chat template, if it has one.
fn folder_tokenizer(folder: &Path) -> Result<Option<Tokenizer>> {
    let path = folder.join("tokenizer.json");
    if !path.exists() {
        return Ok(None);
    }
    let mut tokenizer = Tokenizer::load(&path)?;
    tokenizer.chat = ChatTemplate::load(folder)?;
    Ok(Some(tokenizer))
}

/// The tokenizer, if all its tokens have embeddings.
fn fitting(tokenizer: Tokenizer, path: &Path, config: &ModelConfig) -> Result<Tokenizer> {
    let tokens = tokenizer.vocab_size();
    if tokens > config.vocab_size {
        let message = format!(
            "the tokenizer has {tokens} tokens, the model's embedding {} (vocab_size); they belong to different checkpoints",
            config.vocab_size
        );
        return Err(Error::malformed(path, message));
    }
    Ok(tokenizer)
}
