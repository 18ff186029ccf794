//! A checkpoint on disk, whatever its form: a Hugging Face folder or a GGUF file.

use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use crate::tokenizer::TokenizerFrom;
use crate::tokenizer::chat::ChatTemplate;
use crate::tokenizer::flags;
use crate::weights::encoded::BAND;
use crate::weights::encoded::Matrix;
use crate::weights::gguf::{GgufFile, is_gguf};
use crate::weights::safetensors::{Checkpoint, what_is_there};
use crate::weights::source::{EMBEDDING, HEAD, WeightSource};
use s3d_data::Dtype;
use std::path::Path;

/// An opened checkpoint; its weights are still on disk.
pub struct Opened {
    /// Its configuration.
    pub config: ModelConfig,
    /// Its tokenizer, where it has one or one was given.
    pub tokenizer: Option<Tokenizer>,
    /// Its weights.
    pub source: Box<dyn WeightSource>,
    /// The last part of its path.
    pub name: String,
    /// What was read in it and is not followed, a line each.
    pub notes: Vec<String>,
}

/// What a checkpoint is, without its weights.
#[derive(Debug)]
pub struct Description {
    /// Its configuration.
    pub config: ModelConfig,
    /// What was read in it and is not followed, a line each.
    pub notes: Vec<String>,
}

/// Opens a checkpoint to say what it is. A tokenizer that cannot be read is noted.
///
/// # Errors
/// As [`crate::model::Model::load`]; weights are looked at where two of them must be compared.
pub fn describe(path: &Path) -> Result<Description> {
    let (opened, failure) = match Opened::new(path, &TokenizerFrom::Checkpoint) {
        Ok(opened) => (opened, None),
        Err(failure) => (Opened::new(path, &TokenizerFrom::Nowhere)?, Some(failure)),
    };
    let Opened { config, mut notes, .. } = opened;
    notes.extend(failure.map(|failure| format!("the tokenizer cannot be read: {failure}")));
    Ok(Description { config, notes })
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

/// The number type of a GGUF file, and the one that the engine runs for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnDtype {
    /// What most weights of its matrices are stored as.
    pub held: &'static str,
    /// The same where the engine runs it, else the next that loses nothing to speak of: q8_0.
    pub runs: Dtype,
}

/// The number type that a checkpoint brings with it; a folder is read in f32 and brings none.
///
/// # Errors
/// When a GGUF file cannot be read.
pub fn own_dtype(path: &Path) -> Result<Option<OwnDtype>> {
    if path.is_dir() {
        return Ok(None);
    }
    let held = GgufFile::open(path)?.main_type().map(|kind| kind.name());
    Ok(held.map(|held| OwnDtype { held, runs: Dtype::of_engine(held).unwrap_or(Dtype::Q8_0) }))
}

/// Whether `path` can be a checkpoint: a folder, or a GGUF file.
pub fn is_checkpoint(path: &Path) -> bool {
    path.is_dir() || path.is_file() && is_gguf(path)
}

impl Opened {
    /// Opens a checkpoint.
    ///
    /// # Errors
    /// As [`crate::model::Model::load`].
    pub fn new(path: &Path, tokenizer: &TokenizerFrom) -> Result<Self> {
        let full = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let name = full.file_name().map_or("model".into(), |name| name.to_string_lossy()).into();
        if path.is_dir() && !path.join("config.json").exists() {
            let found = what_is_there(path);
            let message =
                format!("no config.json; expected a folder of transformers, found {found}");
            return Err(Error::malformed(path, message));
        }
        let (config, tokenizer, source): (_, _, Box<dyn WeightSource>) = if path.is_dir() {
            let config = ModelConfig::load(path)?;
            let tokenizer = match tokenizer {
                TokenizerFrom::Checkpoint => folder_tokenizer(path, &config)?,
                other => given_tokenizer(other, &config, || ChatTemplate::load(path))?,
            };
            (config, tokenizer, Box::new(Checkpoint::open(path)?))
        } else {
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
            (config, tokenizer, Box::new(file))
        };
        let mut opened = Self { config, tokenizer, source, name, notes: Vec::new() };
        opened.untie_unequal()?;
        opened.notes.extend(opened.config.notes.clone());
        opened.notes.extend(opened.source.notes());
        opened.note_tokenizer(path)?;
        Ok(opened)
    }

    /// Notes what of a tokenizer is not followed, or of no use.
    fn note_tokenizer(&mut self, path: &Path) -> Result<()> {
        let Some(tokenizer) = &self.tokenizer else { return Ok(()) };
        let (tokens, vocab) = (tokenizer.vocab_size(), self.config.vocab_size);
        if tokens > vocab {
            self.notes.push(format!(
                "the tokenizer has {tokens} tokens, the embedding {vocab}: a prompt that uses \
                 one of the last is refused"
            ));
        }
        if path.is_dir() {
            self.notes.extend(flags::notes(path, tokenizer)?);
        }
        Ok(())
    }

    /// A head of its own beside an embedding that is to serve as head: where they differ, the head
    /// was trained, and it is kept, as in transformers 5.
    fn untie_unequal(&mut self) -> Result<()> {
        let has_head = || self.source.names().iter().any(|name| name == HEAD);
        if !self.config.tie_word_embeddings || !has_head() {
            return Ok(());
        }
        let shape = [self.config.vocab_size, self.config.hidden_size];
        for start in (0..shape[0]).step_by(BAND) {
            let rows = start..shape[0].min(start + BAND);
            let read = |name: &str| -> Result<Vec<f32>> {
                let band = self.source.rows(name, shape, rows.clone(), Dtype::F32)?;
                Ok(band.map(Matrix::into_f32).unwrap_or_default())
            };
            if read(EMBEDDING)? != read(HEAD)? {
                self.config.tie_word_embeddings = false;
                self.notes.push(format!(
                    "tie_word_embeddings = true is not followed: {HEAD} differs from {EMBEDDING} \
                     and is kept as the head"
                ));
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The tokenizer of a file that was named. The chat template stays the checkpoint's; where that has
/// none, it is the one beside the file.
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

/// Tokens beyond the embedding that somebody may have added (`[PAD]`); a prompt that uses one is
/// refused.
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
            "the tokenizer has {tokens} tokens, the model's embedding {} (vocab_size); they \
             belong to different checkpoints",
            config.vocab_size
        );
        return Err(Error::malformed(path, message));
    }
    Ok(tokenizer)
}
