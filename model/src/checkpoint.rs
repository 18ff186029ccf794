//! A checkpoint on disk, whatever its form: a Hugging Face folder or a GGUF file.

use crate::chat::ChatTemplate;
use crate::weights::{Checkpoint, GgufFile, WeightSource, is_gguf};
use crate::{Error, ModelConfig, Result, Tokenizer, TokenizerFrom};
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

/// The tokenizer of a checkpoint, if it has one.
///
/// # Errors
/// When the checkpoint cannot be opened, or its tokenizer not be read.
pub fn read_tokenizer(path: &Path) -> Result<Option<Tokenizer>> {
    Ok(Opened::new(path, &TokenizerFrom::Checkpoint)?.tokenizer)
}

/// Whether `path` can be a checkpoint: a folder, or a GGUF file.
pub fn is_checkpoint(path: &Path) -> bool {
    path.is_dir() || path.is_file() && is_gguf(path)
}

impl Opened {
    /// Opens a checkpoint.
    pub fn new(path: &Path, tokenizer: &TokenizerFrom) -> Result<Self> {
        let full = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let name = full.file_name().map_or("model".into(), |name| name.to_string_lossy()).into();
        if path.is_dir() {
            let config = ModelConfig::load(path)?;
            let tokenizer = match tokenizer {
                TokenizerFrom::Checkpoint => folder_tokenizer(path, &config)?,
                other => given_tokenizer(other, &config, || ChatTemplate::load(path))?,
            };
            return Ok(Self { config, tokenizer, source: Box::new(Checkpoint::open(path)?), name });
        }
        let file = GgufFile::open(path)?;
        let config = file.config().clone();
        let tokenizer = match (tokenizer, file.vocabulary()) {
            (TokenizerFrom::Checkpoint, Some(vocabulary)) => {
                Some(fitting(Tokenizer::from_vocabulary(&vocabulary, path)?, path, &config)?)
            }
            (other, vocabulary) => given_tokenizer(other, &config, || {
                let vocabulary = vocabulary.as_ref();
                Ok(vocabulary.and_then(|words| ChatTemplate::of_vocabulary(words, path)))
            })?,
        };
        Ok(Self { config, tokenizer, source: Box::new(file), name })
    }
}

/// The tokenizer of a file that was named. The chat template stays the checkpoint's; where that has none, it is the one
/// beside the file.
fn given_tokenizer(
    from: &TokenizerFrom,
    config: &ModelConfig,
    template: impl FnOnce() -> Result<Option<ChatTemplate>>,
) -> Result<Option<Tokenizer>> {
    let TokenizerFrom::File(file) = from else { return Ok(None) };
    let mut tokenizer = fitting(Tokenizer::load(file)?, file, config)?;
    let beside = || file.parent().map_or(Ok(None), ChatTemplate::load);
    tokenizer.chat = template()?.map_or_else(beside, |own| Ok(Some(own)))?;
    Ok(Some(tokenizer))
}

/// `tokenizer.json` of a folder with its chat template, if it has one.
fn folder_tokenizer(folder: &Path, config: &ModelConfig) -> Result<Option<Tokenizer>> {
    let path = folder.join("tokenizer.json");
    if !path.exists() {
        return Ok(None);
    }
    let mut tokenizer = fitting(Tokenizer::load(&path)?, &path, config)?;
    tokenizer.chat = ChatTemplate::load(folder)?;
    Ok(Some(tokenizer))
}

/// Tokens beyond the embedding that somebody may have added (`[PAD]`); a prompt that uses one is refused.
const BEYOND_MAX: usize = 256;

/// Such tokens, at most, beside an embedding of `vocab` rows.
fn beyond(vocab: usize) -> usize {
    BEYOND_MAX.min(vocab / 8)
}

/// The tokenizer, if its tokens have embeddings but for a few.
fn fitting(tokenizer: Tokenizer, path: &Path, config: &ModelConfig) -> Result<Tokenizer> {
    let tokens = tokenizer.vocab_size();
    if tokens > config.vocab_size.saturating_add(beyond(config.vocab_size)) {
        let message = format!(
            "the tokenizer has {tokens} tokens, the model's embedding {} (vocab_size); they belong to different checkpoints",
            config.vocab_size
        );
        return Err(Error::malformed(path, message));
    }
    Ok(tokenizer)
}
