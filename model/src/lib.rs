//! The S3D engine: turns tokens into tokens. It knows neither time nor statistics.
//!
//! A [`Model`] is a Llama-style decoder that can leave out any of its layers. [`Generation`] decodes a
//! prompt step by step: plainly, one full-depth pass per token, or speculatively (S3D, arXiv
//! 2405.20314): a draft pass without some middle layers guesses several tokens at once, at mask
//! positions, and one full-depth pass verifies them all. The tokens are the same either way; not
//! almost, but by construction, because a row's numbers never depend on the pass it sits in (see
//! [`kernels`]). With [`Sampling`] the tokens are drawn, and their distribution is the same either way.
//!
//! Models come from Hugging Face folders and GGUF files ([`checkpoint`], [`weights`]).
//!
//! Reading order: [`config`], [`transformer`] (the forward pass), [`draft`], [`sample`], [`verify`], [`generate`];
//! below them [`ops`] (tensors) and [`kernels`] (slices); beside them [`shadow`], which answers for every
//! position of a text how many drafts would have been accepted there.
//!
//! ```
//! use s3d_model::{Generation, Limits, LoadOptions, Model, ModelConfig, Silent};
//! let config = ModelConfig { num_hidden_layers: 4, hidden_size: 32, intermediate_size: 48, ..ModelConfig::story() };
//! let model = Model::random(&config, 7, &LoadOptions::default())?;
//! let decode = |plan: &str| {
//!     let plan = plan.parse()?;
//!     Generation::new(&model, &[1, 2, 3], &plan, Limits::tokens(20), &mut Silent)?.finish()
//! };
//! assert_eq!(decode("plain")?, decode("1..3:4")?);
//! # Ok::<(), s3d_model::Error>(())
//! ```

pub mod adapter;
pub mod chat;
pub mod checkpoint;
mod composed;
pub mod config;
pub mod corpus;
pub mod device;
pub mod draft;
mod embedding;
mod error;
mod files;
mod fused;
pub mod generate;
pub mod impose;
pub mod kernels;
mod kv_cache;
pub mod linear;
mod load;
mod loops;
mod model;
mod observe;
pub mod ops;
pub mod presets;
pub mod raw;
mod repeated;
pub mod sample;
pub mod shadow;
pub mod tokenizer;
pub mod train;
pub mod transformer;
pub mod verify;
pub mod weights;
pub mod widen;

pub use config::ModelConfig;
pub use draft::DraftThreshold;
pub use error::{Error, Result};
pub use generate::{Finish, Generation, Limits, Step};
pub use impose::{Imposed, Peek};
pub use kv_cache::KvCache;
pub use loops::loop_cut;
pub use model::{LoadOptions, Model, TokenizerFrom};
pub use observe::{Event, Mark, Observer, Silent};
pub use sample::Sampling;
pub use shadow::{TextTrace, trace_text};
pub use tokenizer::{TextStream, Tokenizer};
pub use transformer::argmax_rows;
pub use verify::verify_greedy;
