//! A draft vocabulary for a model that is trained already, or is not to be: added to its adapters,
//! or in a folder of its own.

use crate::checkpoint::{list_view, serialize, write_whole};
use crate::data::self_written::Written;
use crate::data::texts::Texts;
use crate::data::token_counts::{DraftTokens, TokenCounts};
use s3d_data::{Limit, file};
use s3d_model::checkpoint::Opened;
use s3d_model::config::S3dConfig;
use s3d_model::weights::{
    ADDED_FILE, Added, AddedConfig, BaseIdentity, DRAFT_VOCABULARY, DraftVocabulary,
};
use s3d_model::{Error, Result, TokenizerFrom};
use safetensors::tensor::SafeTensors;
use std::path::Path;

/// The texts whose tokens are counted.
#[derive(Debug, Clone, Copy)]
pub enum Counted<'a> {
    /// Texts of the model's own.
    Written(&'a [Written]),
    /// Texts of one's own.
    Texts(&'a Texts),
}

/// A model whose tokens were counted, with the adapters that the list is added to.
#[derive(Debug)]
pub struct DraftListing {
    /// What the adapters' folder says that it holds.
    config: AddedConfig,
    /// The file of the adapters, as it is; nothing without adapters.
    adapters: Option<Vec<u8>>,
    counts: TokenCounts,
    ends: Vec<u32>,
}

impl DraftListing {
    /// Counts the tokens of texts of the model `model`.
    ///
    /// # Errors
    /// Files that are missing or damaged; adapters of another model; a model that brings masks
    /// itself, over which nothing is laid; texts of another model, or with nothing to count.
    pub fn new(model: &Path, adapters: Option<&Path>, texts: Counted<'_>) -> Result<Self> {
        let tokenizer = match texts {
            Counted::Written(_) => TokenizerFrom::Nowhere,
            Counted::Texts(_) => TokenizerFrom::Checkpoint,
        };
        let Opened { config, tokenizer, source, name, .. } = Opened::new(model, &tokenizer)?;
        let base = BaseIdentity::of(&name, &config, &*source)?;
        let (vocab, ends) = (config.vocab_size, config.end_tokens().to_vec());
        let (config, adapters) = match adapters {
            Some(folder) => {
                let added = Added::open(folder, &config, &base)?;
                (added.config, Some(file::read(&folder.join(ADDED_FILE), Limit::CORPUS)?))
            }
            None if config.masks() > 0 => {
                let message = "brings masks itself; a list is laid over a model without, or added \
                               to adapters";
                return Err(Error::malformed(model, message));
            }
            None => (AddedConfig::new(S3dConfig::default(), base), None),
        };
        let counts = match (texts, tokenizer) {
            (Counted::Written(texts), _) => TokenCounts::of_written(texts, vocab)?,
            (Counted::Texts(texts), Some(tokenizer)) => {
                TokenCounts::of_texts(texts, &tokenizer, ends.first().copied(), vocab)?
            }
            (Counted::Texts(_), None) => {
                return Err(Error::malformed(model, "no tokenizer.json, which texts need"));
            }
        };
        Ok(Self { config, adapters, counts, ends })
    }

    /// The `size` tokens that the texts hold most often, end-of-text tokens first.
    ///
    /// # Errors
    /// A size that no list can have.
    pub fn most_frequent(&self, size: usize) -> Result<DraftTokens> {
        self.counts.most_frequent(&self.ends, size)
    }

    /// Tokens of the model.
    pub fn vocab(&self) -> usize {
        self.counts.vocab()
    }

    /// Writes `list`, beside the adapters, into `dir`, which is created.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save(&self, list: &DraftVocabulary, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, e))?;
        let path = dir.join(ADDED_FILE);
        let tensors = self.adapters.as_deref().map(SafeTensors::deserialize).transpose();
        let tensors = tensors.map_err(|e| Error::malformed(&path, e.to_string()))?;
        let bytes = list.to_bytes();
        let kept = tensors.iter().flat_map(SafeTensors::iter);
        let mut views: Vec<_> = kept.filter(|(name, _)| *name != DRAFT_VOCABULARY).collect();
        views.push(list_view(&bytes)?);
        write_whole(&path, &serialize(views, &path)?)?;
        let mut config = self.config.clone();
        config.s3d.draft_vocabulary = Some(list.ids().len());
        config.save(dir)
    }
}
