//! Adapters and masks in a folder of their own, laid over the base that they were trained for.

use super::base_identity::{BaseIdentity, NEAR};
use crate::config::ModelConfig;
use crate::config::{AdapterConfig, S3dConfig};
use crate::error::{Error, Result};
use crate::tokenizer::TokenizerFrom;
use crate::weights::checkpoint::Opened;
use crate::weights::draft_vocabulary::DraftVocabulary;
use crate::weights::encoded::Matrix;
use crate::weights::safetensors::Checkpoint;
use crate::weights::source::WeightSource;
use s3d_data::{Dtype, store};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The file that says what the tensors beside it are.
pub(crate) const ADDED_CONFIG: &str = "s3d.json";
const SCHEMA: u64 = 1;

/// What `s3d.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AddedConfig {
    /// Of this form: 1.
    schema_version: u64,
    /// What the key `"s3d"` of a `config.json` would say.
    pub s3d: S3dConfig,
    /// The base.
    pub base: BaseIdentity,
}

impl AddedConfig {
    /// Masks and adapters `s3d` of `base`.
    pub fn new(s3d: S3dConfig, base: BaseIdentity) -> Self {
        Self { schema_version: SCHEMA, s3d, base }
    }

    /// Reads it from `folder`.
    ///
    /// # Errors
    /// A file that is missing, damaged, or of another form.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(ADDED_CONFIG);
        if path.is_file() {
            return Ok(store::load_versioned(&path, SCHEMA, |_| Ok(()))?);
        }
        let message =
            format!("no {ADDED_CONFIG}; expected the folder of adapters that s3d train wrote");
        Err(Error::malformed(folder, message))
    }

    /// Writes it into `folder`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save(&self, folder: &Path) -> Result<()> {
        Ok(store::save_json(&folder.join(ADDED_CONFIG), self)?)
    }
}

/// Adapters and masks that fit a base.
pub struct Added {
    folder: PathBuf,
    /// What the folder says it holds.
    pub config: AddedConfig,
    /// Its tensors.
    pub source: Checkpoint,
    /// How far the base is from the one they were trained for (see [`BaseIdentity::distance`]).
    pub distance: f64,
}

impl Added {
    /// Opens `folder` for a model of this configuration and identity.
    ///
    /// # Errors
    /// Files that are missing or damaged; another base; a base that has masks itself.
    pub fn open(folder: &Path, model: &ModelConfig, base: &BaseIdentity) -> Result<Self> {
        let bad = |message: String| Err(Error::malformed(folder, message));
        let config = AddedConfig::read(folder)?;
        if model.masks() > 0 {
            let masks = model.masks();
            return bad(format!(
                "adapters are laid over a model without mask predictors; this one has {masks}"
            ));
        }
        let distance = config.base.distance(base);
        let Some(distance) = distance.filter(|distance| *distance <= NEAR) else {
            let apart = distance.map_or("its sizes differ".to_string(), |apart| {
                format!(
                    "its values differ by {:.1} %, at most {:.0} % is another number type",
                    apart * 100.0,
                    NEAR * 100.0
                )
            });
            return bad(format!(
                "these adapters were trained for {}; the model is {}: {apart}. Give the model \
                 they were trained \
                 for, or train anew: s3d train --model MODEL --corpus self --prompts FILE --out \
                 DIR",
                config.base.words(),
                base.words()
            ));
        };
        let source = Checkpoint::open_added(folder)?;
        Ok(Self { folder: folder.to_path_buf(), config, source, distance })
    }

    /// Refuses adapters of another rank or number.
    ///
    /// # Errors
    /// What was found and what is wanted.
    pub fn check_kind(&self, masks: usize, adapters: Option<AdapterConfig>) -> Result<()> {
        let S3dConfig { masks: found_masks, adapters: found, .. } = &self.config.s3d;
        if (*found_masks, *found) == (masks, adapters) {
            return Ok(());
        }
        let rank = |adapters: Option<AdapterConfig>| adapters.map_or(0, |adapters| adapters.rank);
        Err(Error::malformed(
            &self.folder,
            format!(
                "holds adapters of rank {} for {} drafts; rank {} and {} drafts were asked for \
                 (--rank, --gamma-max)",
                rank(*found),
                found_masks + 1,
                rank(adapters),
                masks + 1
            ),
        ))
    }

    /// A text that tells these adapters from others.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn content_hash(&self) -> Result<String> {
        self.source.content_hash()
    }
}

/// The configuration of the checkpoint at `path` with the adapters of `folder` laid over it, and
/// how far it is from the one that they were trained for.
///
/// # Errors
/// Files that are missing or damaged; another base.
pub fn config_with(path: &Path, folder: &Path) -> Result<(ModelConfig, f64)> {
    let (opened, distance) = Opened::new(path, &TokenizerFrom::Nowhere)?.lay(folder)?;
    Ok((opened.config, distance))
}

/// A base with what was added laid over it.
struct Laid {
    base: Box<dyn WeightSource>,
    added: Checkpoint,
}

impl Laid {
    fn of(&self, name: &str) -> &dyn WeightSource {
        if name.starts_with("s3d.") { &self.added } else { &*self.base }
    }
}

impl WeightSource for Laid {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.of(name).tensor(name, shape)
    }

    fn matrix(&self, name: &str, shape: [usize; 2], wanted: Dtype) -> Result<Matrix> {
        self.of(name).matrix(name, shape, wanted)
    }

    fn rows(
        &self,
        name: &str,
        shape: [usize; 2],
        rows: Range<usize>,
        wanted: Dtype,
    ) -> Result<Option<Matrix>> {
        self.of(name).rows(name, shape, rows, wanted)
    }

    fn draft_vocabulary(&self, count: usize, vocab: usize) -> Result<DraftVocabulary> {
        self.added.draft_vocabulary(count, vocab)
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.base.names();
        names.extend(self.added.names());
        names
    }

    fn content_hash(&self) -> Result<String> {
        let both = [self.base.content_hash()?, self.added.content_hash()?].join("+");
        Ok(Sha256::digest(both).iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl Opened {
    /// Lays the adapters of `folder` over the checkpoint; returns how far it is from the one they
    /// were trained for.
    ///
    /// # Errors
    /// As [`Added::open`].
    pub(crate) fn lay(self, folder: &Path) -> Result<(Self, f64)> {
        let base = BaseIdentity::of(&self.name, &self.config, &*self.source)?;
        let added = Added::open(folder, &self.config, &base)?;
        let config = ModelConfig { s3d: Some(added.config.s3d), ..self.config };
        let source = Laid { base: self.source, added: added.source };
        Ok((Self { config, source: Box::new(source), ..self }, added.distance))
    }
}
