//! The S3D engine: turns tokens into tokens. It knows neither time nor statistics.
//!
//! A [`Model`] is a Llama-style decoder that can leave out any of its layers. [`Generation`]
//! decodes a prompt step by step: plainly, one full-depth pass per token, or speculatively (S3D,
//! arXiv 2405.20314): a draft pass without some middle layers guesses several tokens at once, at
//! mask positions, and one full-depth pass verifies them all. The tokens are the same either way;
//! not almost, but by construction, because a row's numbers never depend on the pass it sits in
//! (see [`s3d_kernels`]). With [`Sampling`] the tokens are drawn, and their distribution is the
//! same either way.
//!
//! Models come from Hugging Face folders and GGUF files ([`weights`]).
//!
//! Reading order: [`config`], [`weights`], [`tokenizer`]; `backend` (the operations of a pass, and
//! who computes them), [`device`]; `model` (a loaded model and its forward pass); `decode`
//! ([`Generation`], and [`trace_text`], which answers for every position of a text how many drafts
//! would have been accepted there).
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

#![warn(unreachable_pub)]

mod backend;
pub mod config;
mod decode;
pub mod device;
mod error;
mod files;
mod model;
#[cfg(test)]
mod test_numbers;
pub mod tokenizer;
pub mod weights;

pub use backend::kv_cache::KvCache;
pub use backend::logits::{Logits, argmax_rows};
pub use config::{ModelConfig, presets};
pub use decode::batch::{Lockstep, Order, Written, decode_together};
pub use decode::draft::DraftThreshold;
pub use decode::forced_acceptance::{Imposed, Peek};
pub use decode::generate::{Finish, Generation, Limits, Step};
pub use decode::loop_detector::loop_cut;
pub use decode::observer::{Event, Mark, Observer, Silent};
pub use decode::policy::DraftPolicy;
pub use decode::sample::{self, Sampling};
pub use decode::trace_text::{TextTrace, trace_drawn_text, trace_text, trace_text_with_ranks};
pub use decode::verify::{self, verify_greedy};
pub use error::{Error, Result};
pub use model::Model;
pub use model::options::LoadOptions;
pub use tokenizer::{TextStream, Tokenizer, TokenizerFrom, chat};
pub use weights::{checkpoint, widen};
