//! Weights: where they come from, and the forms that files hold them in.

pub(crate) mod added;
pub(crate) mod base_identity;
pub mod blocks;
pub mod checkpoint;
pub(crate) mod draft_vocabulary;
pub(crate) mod encoded;
pub(crate) mod gguf;
pub(crate) mod safetensors;
pub(crate) mod source;
mod stored;
pub mod widen;

pub use crate::config::DraftOver;
pub use added::{Added, AddedConfig, config_with};
pub use base_identity::{BaseIdentity, NEAR};
pub use draft_vocabulary::{DRAFT_VOCABULARY, DraftVocabulary};
pub use encoded::{Matrix, RawTensor, encode_row};
pub use gguf::GgufFile;
pub use safetensors::{ADDED_FILE, Checkpoint};
pub use source::{HEAD, Seeded, WeightSource};
